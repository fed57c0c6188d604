"""From crawled to kept, with the reason for every loss."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import read_manifest

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Funnel:
    """The way of one source's samples through a filter.

    Attributes:
        source: Key of the source.
        found: Pictures and clips that the source points at.
        fetched: Those that the crawl could fetch and decode.
        kept: Those that every rule lets pass.
        losses: Count by reason, largest first; the crawl's reasons start with `crawl:`.
        splits: Kept samples by split.
    """

    source: str
    found: int
    fetched: int
    kept: int
    losses: tuple[tuple[str, int], ...]
    splits: Mapping[str, int]


def funnels(data: Path, filters: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Funnel]]:
    """Funnels by filter and source, from the decision layers."""
    return {name: [_funnel(data, name, source) for source in entry["sources"]] for name, entry in filters.items()}


def _funnel(data: Path, name: str, source: str) -> Funnel:
    folder = data / "filter" / name
    reasons: Counter[str] = Counter()
    splits: Counter[str] = Counter()
    found = kept = 0
    for info in read_manifest(folder).files(f"{source}/"):
        table = read_layer(folder, info, ("kept", "reason", "split"))
        found += table.num_rows
        for passes, reason, split in zip(*(table[column].to_pylist() for column in table.column_names), strict=True):
            kept += passes
            splits[split] += passes
            if not passes:
                reasons[reason] += 1
    crawled = sum(count for reason, count in reasons.items() if reason.startswith("crawl:"))
    return Funnel(
        source=source,
        found=found,
        fetched=found - crawled,
        kept=kept,
        losses=tuple(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        splits={split: splits[split] for split in SPLITS},
    )
