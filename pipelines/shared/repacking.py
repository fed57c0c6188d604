"""A pack with other captions: the same samples in the same shards with the same pixels, byte for byte.

Captions are those candidates of a recaption round that were kept and whose origin is asked for, in the layer's order:
first the texts that the sample had, then the new ones. The test split is the pack's own, untouched.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.shared.files import digest_json, link_or_copy
from pipelines.shared.jobs import Task
from pipelines.shared.keeping import decide
from pipelines.shared.layers import read_layer
from pipelines.shared.packing import Tally
from pipelines.shared.records import ORIGINS, Caption, Sample
from pipelines.shared.shards import FileInfo, describe, read_shard, write_shard

NO_CAPTION_KEPT = "no_caption_kept"


@dataclass(frozen=True, kw_only=True, slots=True)
class RepackEntry:
    """Settings of one repack.

    Attributes:
        pack: The pack whose pixels it takes.
        recaption: The round whose captions it takes.
        origins: Captions that are taken, among those that were kept.
        threshold: Instead of what the round kept: captions of people, and of the others all those with at least this
            match probability, in [0, 1]; 0 takes them unfiltered.
    """

    pack: str
    recaption: str
    origins: tuple[str, ...] = ORIGINS
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1] or absent, got {self.threshold}")
        if not self.origins or not set(self.origins) <= set(ORIGINS):
            raise ValueError(f"origins must be some of {', '.join(ORIGINS)}, got {list(self.origins)}")


@dataclass(frozen=True, slots=True)
class RepackedShard:
    """One shard of the pack, and the layer with its captions; no layer for a shard that stays as it is."""

    shard: FileInfo
    candidates: FileInfo | None

    def task(self, decided: Any) -> Task:
        """The task that writes it; `decided` is a JSON value for all that decides it beside the two files."""
        candidates = self.candidates.sha256 if self.candidates else ""
        name = self.shard.name.replace("/", "-").removesuffix(".tar")
        return Task(name, self, digest_json([decided, self.shard.name, self.shard.sha256, candidates]))


@dataclass(frozen=True, kw_only=True, slots=True)
class RepackShard:
    """The work on one shard; picklable.

    Attributes:
        entry: The repack's settings.
        pack_folder: The pack's folder.
        recaption_folder: The round's folder.
    """

    entry: RepackEntry
    pack_folder: Path
    recaption_folder: Path

    def __call__(self, value: RepackedShard, scratch: Path) -> dict[str, Any]:
        """Write one shard under the name that it has in the pack.

        Returns:
            Its `FileInfo`, the key of its first sample, counts of its captions by origin, and of rejections by reason.
        """
        tally, rejected = Tally(), Counter[str]()
        path = scratch / value.shard.name
        samples = read_shard(self.pack_folder, value.shard)
        if value.candidates is None:
            link_or_copy(self.pack_folder / value.shard.name, path)
            count = sum(1 for _ in tally.seen(samples))
        else:
            rows = read_layer(self.recaption_folder, value.candidates).to_pylist()
            count = write_shard(path, tally.seen(self._recaptioned(samples, rows, rejected)))
        return {"shard": describe(path, scratch, count).as_dict(), **tally.as_dict(), "rejected": dict(rejected)}

    def reads(self, value: RepackedShard, scratch: Path) -> tuple[FileInfo, ...]:
        """The pack's shard, and the layer with its captions."""
        layers = (value.candidates.inside(self.recaption_folder),) if value.candidates else ()
        return (value.shard.inside(self.pack_folder), *layers)

    def _recaptioned(
        self, samples: Iterator[Sample], rows: Sequence[dict[str, Any]], rejected: Counter[str]
    ) -> Iterator[Sample]:
        for sample, row in zip(samples, rows, strict=True):
            assert sample.key == row["key"], f"the candidates are not in the pack's order at {sample.key}"
            captions = chosen_captions(row["candidates"], self.entry)
            if captions:
                yield replace(sample, captions=captions)
            else:
                rejected[NO_CAPTION_KEPT] += 1


def chosen_captions(candidates: Sequence[dict[str, Any]], entry: RepackEntry) -> tuple[Caption, ...]:
    """The candidates that a repack takes, as captions with their scores."""
    kept = [candidate["kept"] for candidate in candidates]
    if entry.threshold is not None:
        kept = decide([{**each, "scores": dict(each["scores"])} for each in candidates], entry.threshold)
    return tuple(
        Caption(
            text=candidate["text"],
            origin=candidate["origin"],
            place=candidate["place"],
            model_sha256=candidate["model_sha256"],
            scores=dict(candidate["scores"]),
        )
        for candidate, is_kept in zip(candidates, kept, strict=True)
        if is_kept and candidate["origin"] in entry.origins
    )
