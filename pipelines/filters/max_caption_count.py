"""Rejects captions that occur too often over all sources of the filter: stock texts say nothing of a picture.

The count is of captions, equal after `normalise_caption`, over every sample that the crawl took, whether or not other
rules keep it. LAION-400M (arXiv:2111.02114) drops repeated pairs of URL and text; stock texts with pictures of their
own pass there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipelines.shared.splits import normalise_caption


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        max_count: Most captions that may be equal, at least 1.
    """

    max_count: int

    def __post_init__(self) -> None:
        if self.max_count < 1:
            raise ValueError(f"max_count must be at least 1, got {self.max_count}")


class Filter:
    """Keeps captions that occur at most `max_count` times; must be fitted first."""

    scope: Literal["sample", "caption"] = "caption"
    columns = ("caption_text",)
    reason = "frequent_caption"

    def __init__(self, config: Config, frequent: frozenset[str] | None = None) -> None:
        """`frequent` are the normalised captions that occur more often; None if they are not known yet."""
        self.config = config
        self.frequent = frequent
        self.is_fitted = frequent is not None

    def fitted(self, columns: Mapping[str, np.ndarray]) -> "Filter":
        """The filter that knows which captions are frequent, from all captions of all sources."""
        texts, counts = np.unique(_normalised(columns["caption_text"]), return_counts=True)
        return Filter(self.config, frozenset(texts[counts > self.config.max_count].tolist()))

    def thresholds(self) -> dict[str, float]:
        """How often a caption may occur, and how many different ones occur more often."""
        assert self.frequent is not None, "it must be fitted first"
        return {"max_count": float(self.config.max_count), "num_frequent": float(len(self.frequent))}

    def keep(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which rows to keep, bool [N], from str [N]."""
        assert self.frequent is not None, "counts over all sources must be fitted before it can judge"
        texts = _normalised(columns["caption_text"])
        return np.fromiter((text not in self.frequent for text in texts.tolist()), dtype=bool, count=len(texts))


def _normalised(texts: np.ndarray) -> np.ndarray:
    return np.array([normalise_caption(text) for text in texts], dtype=object)
