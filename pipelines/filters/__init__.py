"""Filters: one module per rule, a pure predicate on stored columns, found by module name.

Every plug-in module has a `Config` (frozen, keyword-only dataclass; ranges checked in `__post_init__`) and a
`Filter(config)` as the protocols below say. A filter sees whole columns and nothing else: no pixels, no Beam, no files.
Columns are those of the crawl's facts and of the annotators, by name, and of the captions themselves: `caption_text`,
`caption_origin`, `caption_place`. A missing number is NaN; since NaN compares as False, a rule written as "keep if at
least" turns it away.
"""

from collections.abc import Mapping
from typing import Literal, Protocol, runtime_checkable

import numpy as np


class Filter(Protocol):
    """A rule.

    Attributes:
        scope: What it judges. A `sample` rule reads columns with a value per sample; a `caption` rule reads columns
            with a value per caption, all captions of all samples one after another, and rejects a sample by leaving it
            none.
        columns: Names of the columns that it reads.
        reason: Stable code of its rejections.
    """

    scope: Literal["sample", "caption"]
    columns: tuple[str, ...]
    reason: str

    def keep(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which rows to keep, bool [N], from columns of length N; a row's result depends on that row alone."""
        ...


@runtime_checkable
class Fitting(Protocol):
    """A rule that may have to see all rows of the filter's sources first, such as "the best 30 %".

    Attributes:
        is_fitted: Whether it can judge as it is.
    """

    is_fitted: bool

    def fitted(self, columns: Mapping[str, np.ndarray]) -> Filter:
        """The rule that no longer needs them, from the columns over all rows."""
        ...

    def thresholds(self) -> dict[str, float]:
        """The limits that hold, for the manifest."""
        ...
