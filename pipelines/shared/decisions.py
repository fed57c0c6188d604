"""From verdicts on shards to decisions: duplicates over all sources of a filter, clusters, splits.

One process on columns, not a Beam grouping. What must be grouped is a hash, a digest and a caption per sample. numpy
finds all pairs of 1,000,000 hashes within 4 bits in 4.2 s of one core; Beam's local runner took 8.7 s to group a tenth
of that by five bands, before a single comparison, and its groups would still have to be joined into clusters by one
process. Rules over columns are shards' work and run on Beam (`filtering`). 1,000,000 links, 620,000 of which pass the
rules, take 6.5 s of one core and a process of 1.7 GB: a machine of 32 GB decides on some 15,000,000.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow
import pyarrow.compute

from pipelines.shared.columns import to_numpy
from pipelines.shared.contamination import Decontamination, Texts, near_embeddings, near_hashes, near_texts
from pipelines.shared.cosine_pairs import EmbeddingDuplicates, cosine_pairs, embedding_rows
from pipelines.shared.duplicates import (
    GRID_BYTES,
    HASH_DIGITS,
    Groups,
    Looks,
    NearDuplicates,
    best_of,
    hash_values,
    near_duplicates,
)
from pipelines.shared.filtering import FilterEntry
from pipelines.shared.layers import layer_schema
from pipelines.shared.minhash import TextDuplicates, jaccard_pairs
from pipelines.shared.splits import SPLITS, assign_splits, equal_captions

EXACT, NEAR = "exact_duplicate", "near_duplicate"
EMBEDDING, TEXT, TEST = "embedding_duplicate", "text_duplicate", "near_test"
LATE_REASONS = (EXACT, NEAR, EMBEDDING, TEXT, TEST)
"""Reasons that are given after all rules, in their order."""
DECISIONS_SCHEMA = layer_schema(
    {
        "kept": pyarrow.bool_(),
        "reason": pyarrow.string(),
        "rule": pyarrow.string(),
        "split": pyarrow.string(),
        "cluster": pyarrow.string(),
        "captions_kept": pyarrow.list_(pyarrow.int32()),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionSettings:
    """What decides beyond the rules.

    Attributes:
        exact_duplicates: Whether of samples with equal bytes one is kept.
        near_duplicates: When two pictures are one.
        embedding_duplicates: When two samples are one by their embeddings.
        text_duplicates: When two samples are one by their captions.
        decontaminate: What is too near a sample of the test split.
        shares: Shares for validation and test by source, see `splits.SplitShares.of`.
        seed: The pipeline's seed.
    """

    exact_duplicates: bool
    near_duplicates: NearDuplicates
    embedding_duplicates: EmbeddingDuplicates
    text_duplicates: TextDuplicates
    decontaminate: Decontamination
    shares: tuple[np.ndarray, np.ndarray]
    seed: int

    @classmethod
    def of(cls, entry: FilterEntry, seed: int, where: str) -> "DecisionSettings":
        """Those of a filter's entry, whose place in `params.yaml` is `where`."""
        return cls(
            exact_duplicates=entry.exact_duplicates,
            near_duplicates=entry.near_duplicates,
            embedding_duplicates=entry.embedding_duplicates,
            text_duplicates=entry.text_duplicates,
            decontaminate=entry.decontaminate,
            shares=entry.split.of(entry.sources, f"{where}.split"),
            seed=seed,
        )


class Grouping(NamedTuple):
    """What N passing samples are to each other.

    Attributes:
        reason: object [N], the first of `LATE_REASONS` but the last one, or empty.
        cluster: str [N], key of the first member of each sample's cluster.
    """

    reason: np.ndarray
    cluster: np.ndarray


def decide(verdicts: pyarrow.Table, sources: np.ndarray, settings: DecisionSettings) -> pyarrow.Table:
    """Decisions on all links of a filter's sources.

    Args:
        verdicts: Rows as `filtering.VERDICTS_SCHEMA` says, of all shards of all sources.
        sources: int64 [N], each row's source.
        settings: What decides beyond the rules.

    Returns:
        Rows as `DECISIONS_SCHEMA` says, in the same order. `cluster` is also given for duplicates that were left out.
    """
    passing = np.flatnonzero(to_numpy(pyarrow.compute.equal(verdicts["reason"], "").combine_chunks()))
    samples = verdicts.take(passing).combine_chunks()
    grouping = group(samples, settings)
    split = assign_splits(grouping.cluster, sources[passing], settings.shares, settings.seed)
    left = np.flatnonzero(grouping.reason == "")
    is_test = np.equal(split[left], SPLITS.index("test"))
    grouping.reason[left[near_test(samples.take(left), is_test, settings)]] = TEST
    reason = to_numpy(verdicts["reason"].combine_chunks()).copy()
    reason[passing] = grouping.reason
    kept = reason == ""
    cluster, names = np.full(len(reason), "", dtype=object), np.full(len(reason), "", dtype=object)
    cluster[passing] = grouping.cluster
    names[passing] = np.array(SPLITS, dtype=object)[split]
    names[~kept] = ""
    columns = {
        "key": verdicts["key"],
        "kept": pyarrow.array(kept),
        "reason": pyarrow.array(reason, pyarrow.string()),
        "rule": verdicts["rule"],
        "split": pyarrow.array(names, pyarrow.string()),
        "cluster": pyarrow.array(cluster, pyarrow.string()),
        "captions_kept": verdicts["captions_kept"],
    }
    return pyarrow.table([columns[name] for name in DECISIONS_SCHEMA.names], schema=DECISIONS_SCHEMA)


def group(samples: pyarrow.Table, settings: DecisionSettings) -> Grouping:
    """Duplicates and clusters among samples that passed the rules.

    Of equal bytes, then of each group of the same picture, then of those alike by embedding and by text, one of each
    medium is kept: a sample with a human caption before one without, the larger before the smaller, then the one of the
    smallest key.
    """
    keys = to_numpy(samples["key"].combine_chunks()).astype("S20")
    reason = np.full(len(keys), "", dtype=object)
    rank = preference(samples, keys)
    is_video = to_numpy(pyarrow.compute.equal(samples["media"], "video").combine_chunks())
    bytes_codes = to_numpy(samples["sha256"].combine_chunks().dictionary_encode().indices).astype(np.int64)
    clusters = Groups(len(keys))
    clusters.join_equal(bytes_codes)
    if settings.exact_duplicates:
        reason[~best_of(bytes_codes, rank)] = EXACT
    left = np.flatnonzero(reason == "")
    if settings.near_duplicates.enabled:
        same, linked = near_duplicates(looks_of(samples.take(left)), settings.near_duplicates)
        reason[left[~best_of(same, rank[left])]] = NEAR
        _bind(left, linked, clusters)
    if settings.embedding_duplicates.enabled:
        left = np.flatnonzero(reason == "")
        rows, owners = embedding_rows(samples["embedding"].take(left).to_pylist())
        alike = Groups(len(left))
        for first, second in cosine_pairs(rows, rows, settings.embedding_duplicates.min_cosine):
            alike.join(owners[first], owners[second])
        labels = alike.labels()
        reason[left[~best_of(2 * labels + is_video[left], rank[left])]] = EMBEDDING
        _bind(left, labels, clusters)
    if settings.text_duplicates.enabled:
        left = np.flatnonzero(reason == "")
        labels = alike_texts(texts_of(samples["texts"].take(left)), len(left), settings.text_duplicates).labels()
        reason[left[~best_of(2 * labels + is_video[left], rank[left])]] = TEXT
        _bind(left, labels, clusters)
    clusters.join(*equal_captions(samples["human_captions"].combine_chunks()))
    labels = clusters.labels()
    by_key = np.argsort(keys)
    _, first, inverse = np.unique(labels[by_key], return_index=True, return_inverse=True)
    cluster = np.empty_like(keys)
    cluster[by_key] = keys[by_key][first[inverse]]
    return Grouping(reason, cluster.astype(str))


def _bind(members: np.ndarray, labels: np.ndarray, clusters: Groups) -> None:
    """Put the members of equal labels into one cluster."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    clusters.join(members[first[inverse]], members)


def texts_of(captions: pyarrow.ChunkedArray) -> Texts:
    """The captions of N samples from `list<string>` [N]."""
    lists = captions.combine_chunks()
    codes = lists.flatten().dictionary_encode()
    owners = np.repeat(np.arange(len(lists)), to_numpy(pyarrow.compute.list_value_length(lists)))
    return Texts(codes.dictionary.to_pylist(), to_numpy(codes.indices).astype(np.int64), owners)


def alike_texts(texts: Texts, num_samples: int, settings: TextDuplicates) -> Groups:
    """Samples in groups by equal and by near captions."""
    groups = Groups(num_samples)
    _, first = np.unique(texts.codes, return_index=True)
    owner_of = texts.owners[first]
    groups.join(owner_of[texts.codes], texts.owners)
    for left, right in jaccard_pairs(texts.unique, settings):
        groups.join(owner_of[left], owner_of[right])
    return groups


def near_test(samples: pyarrow.Table, is_test: np.ndarray, settings: DecisionSettings) -> np.ndarray:
    """Which of N samples are too near one of the test split, bool [N]; none that is of it."""
    limits = settings.decontaminate
    near = np.zeros(len(is_test), dtype=bool)
    if limits.radius is not None:
        looks = looks_of(samples)
        taking = np.flatnonzero(looks.contrast >= settings.near_duplicates.min_contrast)
        hashes = np.concatenate([looks.phash[taking], looks.phash_first[taking]])
        near |= near_hashes(hashes, np.concatenate([taking, taking]), is_test, limits.radius)
    if limits.min_cosine is not None:
        near |= near_embeddings(samples["embedding"].to_pylist(), is_test, limits.min_cosine)
    if limits.min_jaccard is not None:
        near |= near_texts(texts_of(samples["texts"]), is_test, settings.text_duplicates, limits.min_jaccard)
    return near


def preference(samples: pyarrow.Table, keys: np.ndarray) -> np.ndarray:
    """int64 [N]: 0 for the sample that is kept before all others, and so on; no two are equal."""
    human = to_numpy(pyarrow.compute.list_value_length(samples["human_captions"].combine_chunks())) > 0
    area = to_numpy(samples["width"].combine_chunks()) * to_numpy(samples["height"].combine_chunks())
    rank = np.empty(len(keys), dtype=np.int64)
    rank[np.lexsort((keys, -area, ~human))] = np.arange(len(keys))
    return rank


def looks_of(samples: pyarrow.Table) -> Looks:
    """The columns that tell what samples look like, as arrays."""
    return Looks(
        phash=hash_values(fixed_bytes(samples["phash"], HASH_DIGITS)),
        phash_first=hash_values(fixed_bytes(samples["phash_first"], HASH_DIGITS)),
        is_video=to_numpy(pyarrow.compute.equal(samples["media"], "video").combine_chunks()),
        shape=to_numpy(samples["width"].combine_chunks()) / to_numpy(samples["height"].combine_chunks()),
        contrast=to_numpy(samples["phash_contrast"].combine_chunks()),
        grid=fixed_bytes(samples["colour_grid"], GRID_BYTES),
    )


def fixed_bytes(column: pyarrow.ChunkedArray, size: int) -> np.ndarray:
    """The bytes of N texts or byte strings of one size, uint8 [N, size]."""
    values = column.combine_chunks().cast(pyarrow.binary(size))
    start = values.offset * size
    flat = np.frombuffer(values.buffers()[1] or b"", dtype=np.uint8)
    return flat[start : start + len(values) * size].reshape(-1, size)
