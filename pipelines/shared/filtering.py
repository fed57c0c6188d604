"""Rules over one shard's columns: for every sample the first reason against it, in a fixed order.

The order of reasons is: lost by the crawl or not decodable; no caption left, under the caption rule that took the last
one; sample rules; duplicates by bytes, look, embedding and text; too near the test split (the last five are
`decisions`' work). Caption rules and sample rules are each taken by the order of their keys, not by their order in
`params.yaml`: DVC does not see when keys change places, and a rebuild must give the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.parquet

from pipelines.annotators import ERROR_COLUMN
from pipelines.filters import Filter, Fitting
from pipelines.shared.columns import (
    CAPTION_FIELDS,
    CAPTIONS,
    ColumnNames,
    Columns,
    ShardLayers,
    index_lists,
    judged_rows,
    read_columns,
    to_numpy,
)
from pipelines.shared.contamination import Decontamination
from pipelines.shared.cosine_pairs import EmbeddingDuplicates
from pipelines.shared.duplicates import NearDuplicates
from pipelines.shared.layers import layer_schema, write_table
from pipelines.shared.minhash import TextDuplicates
from pipelines.shared.params import plugin_config
from pipelines.shared.presets import preset_rules
from pipelines.shared.shards import FileInfo, describe
from pipelines.shared.splits import SplitShares, normalise_caption

PACKAGE = "pipelines.filters"
NO_CAPTION = "no_caption"
TEXT = "caption_text"
IDENTITY = ("media", "sha256", "width", "height")
LOOKS = ("phash", "phash_first", "phash_contrast", "colour_grid")
VERDICTS_SCHEMA = layer_schema(
    {
        "reason": pyarrow.string(),
        "rule": pyarrow.string(),
        "status": pyarrow.string(),
        "captions_kept": pyarrow.list_(pyarrow.int32()),
        "human_captions": pyarrow.list_(pyarrow.string()),
        "media": pyarrow.string(),
        "sha256": pyarrow.string(),
        "width": pyarrow.int64(),
        "height": pyarrow.int64(),
        "phash": pyarrow.string(),
        "phash_first": pyarrow.string(),
        "phash_contrast": pyarrow.float64(),
        "colour_grid": pyarrow.binary(),
        "embedding": pyarrow.binary(),
        "texts": pyarrow.list_(pyarrow.string()),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterEntry:
    """Settings of one filter.

    Attributes:
        sources: Keys of the sources whose links it judges.
        rules: Filter plug-ins with their settings, by a key for each.
        presets: Published sets of rules by name, with their settings (see `presets`). A rule's key there is
            `<preset>-<rule>`; one of `rules` under the same key takes its place.
        exact_duplicates: Whether of samples with equal bytes one is kept.
        near_duplicates: When two pictures are one.
        embedding_column: A `binary` column of float16 rows, for `embedding_duplicates` and `decontaminate`.
        embedding_duplicates: When two samples are one by their embeddings.
        text_duplicates: When two samples are one by a caption of each that rules let pass.
        decontaminate: What is too near a sample of the test split to be trained on.
        split: Shares for validation and test.
    """

    sources: tuple[str, ...]
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    exact_duplicates: bool = True
    near_duplicates: NearDuplicates = field(default_factory=NearDuplicates)
    embedding_column: str = ""
    embedding_duplicates: EmbeddingDuplicates = field(default_factory=EmbeddingDuplicates)
    text_duplicates: TextDuplicates = field(default_factory=TextDuplicates)
    decontaminate: Decontamination = field(default_factory=Decontamination)
    split: SplitShares = field(default_factory=SplitShares)

    def __post_init__(self) -> None:
        if not self.sources or len(set(self.sources)) != len(self.sources):
            raise ValueError(f"sources must name at least one source, each once, got {list(self.sources)}")
        if not self.embedding_column and self.reads_embeddings:
            raise ValueError("embedding_column must be given for duplicates or decontamination by embedding")

    def all_rules(self, where: str) -> dict[str, Mapping[str, Any]]:
        """The rules of the presets and the entry's own, by key; `where` is the entry's place in `params.yaml`.

        Raises:
            ValueError: A preset or a setting of one is unknown.
        """
        return {**preset_rules(self.presets, f"{where}.presets"), **self.rules}

    @property
    def reads_embeddings(self) -> bool:
        """Whether samples are compared by embedding."""
        return self.embedding_duplicates.enabled or self.decontaminate.min_cosine is not None

    @property
    def identity(self) -> dict[str, str]:
        """Columns that tell samples apart, by their names in the verdicts."""
        looks = LOOKS if self.near_duplicates.enabled or self.decontaminate.radius is not None else ()
        columns = {name: name for name in (*IDENTITY, *looks)}
        if self.reads_embeddings:
            columns["embedding"] = self.embedding_column
        if self.text_duplicates.enabled or self.decontaminate.min_jaccard is not None:
            columns["texts"] = TEXT
        return columns


@dataclass(frozen=True, slots=True)
class Rule:
    """A filter under its key of `params.yaml`."""

    key: str
    filter: Filter


@dataclass(frozen=True, slots=True)
class Verdict:
    """What rules say of N samples with C captions.

    Attributes:
        rule: int64 [N], index of the first rule against each sample, -1 for none, `len(rules)` where there never was a
            caption.
        captions: bool [C], captions that every caption rule lets pass.
        outcomes: By key of the rule: bool [N] or [C], what it lets pass taken alone.
    """

    rule: np.ndarray
    captions: np.ndarray
    outcomes: Mapping[str, np.ndarray]


def load_rules(entries: Mapping[str, Mapping[str, Any]], where: str) -> tuple[Rule, ...]:
    """The rules of an entry in the order in which they are applied.

    Raises:
        ValueError: A plug-in or a setting is unknown.
    """
    rules = []
    for key in sorted(entries):
        module, config = plugin_config(PACKAGE, entries[key], f"{where}.{key}")
        rules.append(Rule(key, module.Filter(config)))
    return tuple(sorted(rules, key=lambda rule: rule.filter.scope != "caption"))


def check_columns(
    rules: Sequence[Rule], identity: Mapping[str, str], shards: Sequence[ShardLayers], where: str
) -> None:
    """Raise ValueError if a rule, or the search for duplicates, reads a column that is not there."""
    for shard in shards:
        names = ColumnNames.of(
            pyarrow.parquet.read_schema(shard.crawl_folder / shard.facts.name),
            pyarrow.parquet.read_schema(shard.annotate_folder / shard.annotations.name),
        )
        for rule in rules:
            names.check(rule.filter.columns, rule.filter.scope, f"{where}.rules.{rule.key}")
        for field_name, name in identity.items():
            if name not in CAPTION_FIELDS:
                setting = "embedding_column" if field_name == "embedding" else "near_duplicates"
                names.check([name], "sample", f"{where}.{setting}")


def columns_of(rules: Sequence[Rule]) -> tuple[str, ...]:
    """Names of all columns that rules read."""
    return tuple(sorted({name for rule in rules for name in rule.filter.columns}))


def fit_rules(rules: Sequence[Rule], shards: Sequence[ShardLayers]) -> tuple[Rule, ...]:
    """The rules, with those that depend on all rows fitted to the columns of all shards."""
    waiting = [rule for rule in rules if isinstance(rule.filter, Fitting) and not rule.filter.is_fitted]
    if not waiting:
        return tuple(rules)
    names = columns_of(waiting)
    parts = [read_columns(*judged_rows(*shard.read(names)), names) for shard in shards]
    fitted = []
    for rule in rules:
        if rule in waiting:
            scope = rule.filter.scope
            columns = {name: np.concatenate([part.of(scope)[name] for part in parts]) for name in rule.filter.columns}
            rule = replace(rule, filter=rule.filter.fitted(columns))  # type: ignore[attr-defined]
        fitted.append(rule)
    return tuple(fitted)


def judge(columns: Columns, rules: Sequence[Rule]) -> Verdict:
    """Apply rules to columns; caption rules must come before sample rules, see `load_rules`."""
    first = np.where(columns.num_captions == 0, len(rules), -1)
    owners, num_samples = columns.owners, len(columns.num_captions)
    captions = np.ones(len(owners), dtype=bool)
    outcomes = {}
    for index, rule in enumerate(rules):
        keep = rule.filter.keep(columns.of(rule.filter.scope))
        outcomes[rule.key] = keep
        if rule.filter.scope == "caption":
            captions &= keep
            against = np.bincount(owners[captions], minlength=num_samples) == 0
        else:
            against = ~keep
        first[against & (first == -1)] = index
    return Verdict(first, captions, outcomes)


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeShard:
    """The work on one shard; picklable.

    Attributes:
        rules: Fitted rules.
        identity: What `decisions` needs, see `FilterEntry.identity`.
    """

    rules: tuple[Rule, ...]
    identity: Mapping[str, str]

    def __call__(self, shard: ShardLayers, scratch: Path) -> dict[str, Any]:
        """Write the verdicts on one shard: a row per link of its facts layer.

        Returns:
            The `FileInfo` of the verdicts.
        """
        names = columns_of(self.rules)
        facts, annotations = shard.read((*names, *self.identity.values()))
        table = verdict_table(facts, annotations, self.rules, self.identity)
        path = scratch / shard.source / shard.facts.name
        write_table(path, table)
        return {"verdicts": describe(path, scratch, table.num_rows).as_dict()}

    def reads(self, shard: ShardLayers, scratch: Path) -> tuple[FileInfo, ...]:
        """The two layers."""
        return shard.facts.inside(shard.crawl_folder), shard.annotations.inside(shard.annotate_folder)


def verdict_table(
    facts: pyarrow.Table, annotations: pyarrow.Table, rules: Sequence[Rule], identity: Mapping[str, str]
) -> pyarrow.Table:
    """Verdicts on all links of a shard, in its order, as `VERDICTS_SCHEMA` says.

    Only rows without a reason have values in the columns that tell samples apart.
    """
    taken, notes = judged_rows(facts, annotations)
    columns = read_columns(taken, notes, columns_of(rules))
    verdict = judge(columns, rules)
    reasons = np.array([*(rule.filter.reason for rule in rules), NO_CAPTION, ""], dtype=object)
    keys = np.array([*(rule.key for rule in rules), "", ""], dtype=object)
    judged = {
        "reason": pyarrow.array(reasons[verdict.rule], pyarrow.string()),
        "rule": pyarrow.array(keys[verdict.rule], pyarrow.string()),
        "captions_kept": index_lists(verdict.captions, columns.num_captions),
        "human_captions": _passing_texts(taken, columns.owners, verdict.captions, "human"),
    }
    if "texts" in identity:
        judged["texts"] = _passing_texts(taken, columns.owners, verdict.captions)
    rows = pyarrow.compute.index_in(facts["key"].combine_chunks(), value_set=taken["key"].combine_chunks())
    spread = {name: values.take(rows) for name, values in judged.items()}
    passing = pyarrow.compute.if_else(pyarrow.compute.equal(spread["reason"], ""), rows, None)
    for name, column in identity.items():
        if name != "texts":
            spread[name] = (taken if column in taken.column_names else notes)[column].combine_chunks().take(passing)
    lost = pyarrow.compute.is_null(rows)
    spread["reason"] = pyarrow.compute.if_else(lost, _losses(facts, annotations), spread["reason"])
    spread["rule"] = spread["rule"].fill_null("")
    for name in spread.keys() & {"captions_kept", "human_captions", "texts"}:
        spread[name] = pyarrow.compute.if_else(lost, pyarrow.scalar([], spread[name].type), spread[name])
    for name in ("key", "status"):
        spread[name] = facts[name].combine_chunks()
    missing = {field.name: pyarrow.nulls(facts.num_rows, field.type) for field in VERDICTS_SCHEMA}
    arrays = {**missing, **spread}
    return pyarrow.Table.from_arrays(
        [arrays[field.name].cast(field.type) for field in VERDICTS_SCHEMA], schema=VERDICTS_SCHEMA
    )


def _passing_texts(taken: pyarrow.Table, owners: np.ndarray, passing: np.ndarray, origin: str = "") -> pyarrow.Array:
    """For each of N samples its passing captions, of one origin or all, normalised, without empty ones.

    Returns:
        `list<string>` [N].
    """
    captions = taken[CAPTIONS].combine_chunks()
    flat = captions.flatten()
    chosen = passing & to_numpy(pyarrow.compute.equal(flat.field("origin"), origin)) if origin else passing
    texts = [normalise_caption(text) for text in flat.field("text").filter(pyarrow.array(chosen)).to_pylist()]
    filled = np.array([bool(text) for text in texts], dtype=bool)
    sizes = np.bincount(owners[chosen][filled], minlength=len(captions))
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pyarrow.ListArray.from_arrays(offsets, pyarrow.array([text for text in texts if text], pyarrow.string()))


def _losses(facts: pyarrow.Table, annotations: pyarrow.Table) -> pyarrow.Array:
    """`crawl:<reason>` or `annotate:<reason>` for every link; only those of lost links mean anything.

    A reason with a part of its own keeps it behind a full stop: `optout:noai` becomes `crawl:optout.noai`.
    """
    failed = annotations.filter(pyarrow.compute.not_equal(annotations[ERROR_COLUMN], ""))
    rows = pyarrow.compute.index_in(facts["key"].combine_chunks(), value_set=failed["key"].combine_chunks())
    decoding = failed[ERROR_COLUMN].combine_chunks().take(rows)
    stage = pyarrow.compute.if_else(pyarrow.compute.is_null(decoding), "crawl", "annotate")
    code = pyarrow.compute.coalesce(decoding, facts["reason"].combine_chunks())
    return pyarrow.compute.binary_join_element_wise(stage, pyarrow.compute.replace_substring(code, ":", "."), ":")


def fitted_thresholds(rules: Sequence[Rule]) -> dict[str, dict[str, float]]:
    """Limits of the rules that can be fitted, by key."""
    return {rule.key: rule.filter.thresholds() for rule in rules if isinstance(rule.filter, Fitting)}
