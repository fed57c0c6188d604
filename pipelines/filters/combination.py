"""All, any or none of other rules: boolean composition, to any depth.

An inner rule is any filter plug-in with its settings, a combination among them. All inner rules judge the same things,
samples or captions. Those that depend on all rows are fitted, each to the same rows as if it stood alone.
"""

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipelines.filters import Filter as Rule
from pipelines.filters import Fitting
from pipelines.shared.params import plugin_config
from pipelines.shared.records import REASON

PACKAGE = "pipelines.filters"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        keep: A row is kept if `all`, `any` or `none` of the inner rules would keep it.
        rules: Filter plug-ins with their settings, by a key for each.
        reason: Code of the rejections.
    """

    keep: Literal["all", "any", "none"]
    rules: Mapping[str, Mapping[str, Any]]
    reason: str = "combination"

    def __post_init__(self) -> None:
        if not self.rules:
            raise ValueError("rules must name at least one rule")
        if not REASON.fullmatch(self.reason) or ":" in self.reason:
            raise ValueError(f"reason must be a code of small letters, digits and underscores, got {self.reason!r}")


class Filter:
    """Keeps rows by what inner rules say of them."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.reason = config.reason
        self.inner: dict[str, Rule] = {}
        for key in sorted(config.rules):
            module, settings = plugin_config(PACKAGE, config.rules[key], f"rules.{key}")
            self.inner[key] = module.Filter(settings)
        scopes = {rule.scope for rule in self.inner.values()}
        if len(scopes) > 1:
            spelled = ", ".join(f"{key}: {rule.scope}" for key, rule in self.inner.items())
            raise ValueError(f"inner rules of a combination must all judge samples or all captions, got {spelled}")
        self.scope: Literal["sample", "caption"] = scopes.pop()
        self.columns = tuple(sorted({name for rule in self.inner.values() for name in rule.columns}))

    @property
    def is_fitted(self) -> bool:
        """Whether all inner rules can judge as they are."""
        return all(rule.is_fitted for rule in self.inner.values() if isinstance(rule, Fitting))

    def fitted(self, columns: Mapping[str, np.ndarray]) -> "Filter":
        """The combination with its inner rules fitted."""
        done = copy.copy(self)
        done.inner = {
            key: rule.fitted(columns) if isinstance(rule, Fitting) and not rule.is_fitted else rule
            for key, rule in self.inner.items()
        }
        return done

    def thresholds(self) -> dict[str, float]:
        """The limits of the inner rules, by `key.limit`."""
        return {
            f"{key}.{name}": value
            for key, rule in self.inner.items()
            if isinstance(rule, Fitting)
            for name, value in rule.thresholds().items()
        }

    def keep(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which rows to keep, bool [N], from the columns of all inner rules."""
        kept = [rule.keep(columns) for rule in self.inner.values()]
        if self.config.keep == "all":
            return functools.reduce(np.logical_and, kept)
        some = functools.reduce(np.logical_or, kept)
        return some if self.config.keep == "any" else ~some
