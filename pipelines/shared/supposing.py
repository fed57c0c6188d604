"""What other settings of a filter would decide: both sides from stored columns, nothing written and no model run.

The decisions are those that the stage would publish: the same rules, duplicates and splits on the same columns, in one
process. A shard's columns are read once for both sides.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow

from pipelines.shared.columns import CAPTIONS, ShardLayers, source_layers, to_numpy
from pipelines.shared.decisions import LATE_REASONS, DecisionSettings, decide
from pipelines.shared.filtering import (
    NO_CAPTION,
    FilterEntry,
    Rule,
    check_columns,
    columns_of,
    fit_rules,
    fitted_thresholds,
    load_rules,
    verdict_table,
)
from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import read_manifest
from pipelines.shared.params import build, entry, read_value, suggestion
from pipelines.shared.reporting.dataset import Example
from pipelines.shared.reporting.thumbnails import thumbnails
from pipelines.shared.splits import SPLITS

KEPT = "kept"
RULES = "rules"


class Change(NamedTuple):
    """A setting of a filter's entry and its other value."""

    path: tuple[str, ...]
    value: Any


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a filter decides under some settings.

    Attributes:
        rules: Its fitted rules.
        reason: object [N], `kept` or the first reason against each link.
        split: object [N], `train`, `val`, `test`, or empty.
    """

    rules: tuple[Rule, ...]
    reason: np.ndarray
    split: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two outcomes on the same N links.

    Attributes:
        name: The filter's key.
        shards: Where the links' columns lie, in the order of the links.
        keys: object [N].
        before: With the settings of `params.yaml`.
        after: With the changes.
    """

    name: str
    shards: tuple[ShardLayers, ...]
    keys: np.ndarray
    before: Outcome
    after: Outcome

    @property
    def moves(self) -> dict[tuple[str, str], np.ndarray]:
        """Links whose reason changes, as positions in the order of their keys, by (before, after), most first."""
        changed = np.flatnonzero(self.before.reason != self.after.reason)
        changed = changed[np.argsort(self.keys[changed].astype(str))]
        found: dict[tuple[str, str], list[int]] = {}
        for row in changed.tolist():
            found.setdefault((self.before.reason[row], self.after.reason[row]), []).append(row)
        return {move: np.array(rows) for move, rows in sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))}

    @property
    def funnel(self) -> list[tuple[str, int, int]]:
        """Counts of links before and after: all, lost by each reason in the order of the stage, kept, each split."""
        before, after = (Counter(side.reason.tolist()) for side in (self.before, self.after))
        lost = sorted((before.keys() | after.keys()) - {KEPT}, key=self._place)
        rows = [("found", len(self.keys), len(self.keys))]
        rows += [(reason, before[reason], after[reason]) for reason in (*lost, KEPT)]
        splits = [Counter(side.split.tolist()) for side in (self.before, self.after)]
        return rows + [(name, splits[0][name], splits[1][name]) for name in SPLITS]

    @property
    def thresholds(self) -> list[tuple[str, float | None, float | None]]:
        """Limits that were fitted to all rows, before and after, by `rule.limit`; None where there is no such rule."""
        sides = [
            {
                f"{key}.{limit}": value
                for key, limits in fitted_thresholds(side.rules).items()
                for limit, value in limits.items()
            }
            for side in (self.before, self.after)
        ]
        return [(name, sides[0].get(name), sides[1].get(name)) for name in sorted(sides[0].keys() | sides[1].keys())]

    @property
    def num_split_moves(self) -> int:
        """Links that are kept on both sides but for another split."""
        both = (self.before.reason == KEPT) & (self.after.reason == KEPT)
        return int((both & (self.before.split != self.after.split)).sum())

    def _place(self, reason: str) -> tuple[int, str]:
        """Where in the stage's fixed order a reason stands."""
        rules = {rule.key: rule for rule in (*self.before.rules, *self.after.rules)}
        ordered = sorted(rules.values(), key=lambda rule: (rule.filter.scope != "caption", rule.key))
        known = [NO_CAPTION, *(rule.filter.reason for rule in ordered), *LATE_REASONS]
        return (known.index(reason) if reason in known else -1, reason)


def parse_change(text: str) -> Change:
    """A change from `rules.min-side.min_side_px=64`; the value is YAML.

    Raises:
        ValueError: There is no `=`, or what follows is not YAML.
    """
    name, equals, value = text.partition("=")
    path = tuple(name.strip().split("."))
    if not equals or not all(path):
        raise ValueError(f"--set must be SETTING=VALUE such as rules.min-side.min_side_px=64, got {text!r}")
    return Change(path, read_value(value, f"--set {name}"))


def changed_entry(
    values: Mapping[str, Any], changes: Sequence[Change], dropped: Sequence[str], where: str
) -> dict[str, Any]:
    """A filter's entry with other settings; the given one stays as it is.

    Args:
        values: The entry.
        changes: Settings with their values, the last one of a setting counts.
        dropped: Keys of rules that are left out.
        where: The entry's place in `params.yaml`, for messages.

    Raises:
        ValueError: A rule is not there, or what should hold a setting is not a mapping.
    """
    changed = dict(values)
    rules = {**changed.get(RULES, {})}
    for key in dropped:
        if key not in rules:
            raise ValueError(f"{where}.{RULES}: there is no rule {key!r} to drop{suggestion(key, rules)}")
        del rules[key]
    if dropped:
        changed[RULES] = rules
    for path, value in changes:
        if path[0] == "sources":
            raise ValueError(f"{where}.sources stay as they are: both sides must judge the same links")
        if path[0] == RULES and len(path) > 2 and path[1] not in changed.get(RULES, {}):
            known = changed.get(RULES, {})
            raise ValueError(f"{where}.{RULES}: there is no rule {path[1]!r}{suggestion(path[1], known)}")
        changed = _with(changed, path, value, where)
    return changed


def _with(values: Mapping[str, Any], path: Sequence[str], value: Any, where: str) -> dict[str, Any]:
    if len(path) == 1:
        return {**values, path[0]: value}
    inner = values.get(path[0], {})
    if not isinstance(inner, Mapping):
        raise ValueError(f"{where}.{path[0]} is {inner!r}, which has no setting {path[1]!r}")
    return {**values, path[0]: _with(inner, path[1:], value, f"{where}.{path[0]}")}


def suppose(params: Mapping[str, Any], name: str, changes: Sequence[Change], dropped: Sequence[str] = ()) -> Comparison:
    """What a filter decides with the settings of `params.yaml`, and with changes.

    Raises:
        ValueError: A setting is wrong, or a source was not crawled or annotated.
    """
    where = f"filters.{name}"
    values = entry(params, "filters", name)
    changed = changed_entry(values, changes, dropped, where)
    entries = [build(FilterEntry, each, where) for each in (values, changed)]
    shards = [shard for source in entries[0].sources for shard in source_layers(source)[0]]
    before, after, keys = _outcomes(entries, shards, params.get("seed", 0), where)
    return Comparison(name=name, shards=tuple(shards), keys=keys, before=before, after=after)


def _outcomes(
    entries: Sequence[FilterEntry], shards: Sequence[ShardLayers], seed: int, where: str
) -> tuple[Outcome, Outcome, np.ndarray]:
    """Both outcomes, and the keys of all links."""
    settings = [DecisionSettings.of(each, seed, where) for each in entries]
    rules = []
    for each in entries:
        loaded = load_rules(each.all_rules(where), f"{where}.rules")
        check_columns(loaded, each.identity, shards, where)
        rules.append(fit_rules(loaded, shards))
    names = sorted(
        {name for own, each in zip(rules, entries, strict=True) for name in (*columns_of(own), *each.identity.values())}
    )
    parts: tuple[list[pyarrow.Table], list[pyarrow.Table]] = ([], [])
    for shard in shards:
        layers = shard.read(names)
        for part, own, each in zip(parts, rules, entries, strict=True):
            part.append(verdict_table(*layers, own, each.identity))
    source_of = [np.full(shard.facts.num_samples, entries[0].sources.index(shard.source)) for shard in shards]
    tables = [
        decide(pyarrow.concat_tables(part), np.concatenate(source_of), each)
        for part, each in zip(parts, settings, strict=True)
    ]
    before, after = (_outcome(table, own) for table, own in zip(tables, rules, strict=True))
    return before, after, to_numpy(tables[0]["key"].combine_chunks())


def _outcome(decisions: pyarrow.Table, rules: tuple[Rule, ...]) -> Outcome:
    reason, split = (to_numpy(decisions[name].combine_chunks()) for name in ("reason", "split"))
    return Outcome(rules=rules, reason=np.where(reason == "", KEPT, reason), split=split)


def wall(comparison: Comparison, num_shown: int) -> dict[tuple[str, str], list[Example]]:
    """Of each move the links of the smallest keys, which are digests, with their pictures.

    Args:
        comparison: What moves.
        num_shown: Most links of a move.
    """
    chosen = {move: rows[:num_shown].tolist() for move, rows in comparison.moves.items()}
    starts = np.concatenate([[0], np.cumsum([shard.facts.num_samples for shard in comparison.shards])])
    wanted: dict[int, list[int]] = {}
    for row in sorted({row for rows in chosen.values() for row in rows}):
        wanted.setdefault(int(np.searchsorted(starts, row, side="right")) - 1, []).append(row)
    shown: dict[int, Example] = {}
    for number, rows in wanted.items():
        shard = comparison.shards[number]
        facts = read_layer(shard.crawl_folder, shard.facts, ("key", "url", CAPTIONS)).take(
            [row - starts[number] for row in rows]
        )
        stem = Path(shard.facts.name).stem
        tars = [info for info in read_manifest(shard.crawl_folder).shards if Path(info.name).stem == stem]
        pictures = thumbnails(shard.crawl_folder, tars, set(facts["key"].to_pylist()))
        for row, fact in zip(rows, facts.to_pylist(), strict=True):
            shown[row] = Example(
                key=fact["key"],
                source=shard.source,
                url=fact["url"],
                captions=tuple((caption["text"], caption["origin"]) for caption in fact[CAPTIONS]),
                picture=pictures.get(fact["key"], ""),
            )
    return {move: [shown[row] for row in rows] for move, rows in chosen.items()}
