"""Training shards from a filter's decisions: a plan of all output shards, and the work on one of them.

The plan is columns only. Samples stand in the order of their keys in each split, and an output shard covers a range of
keys that stays where it is when samples come and go (`ranges`); input shards do too, and an output shard's task streams
the few of every source that overlap its range, picks its samples by key and merges them. Pixels are decoded, resized
and encoded in that task and go nowhere else.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow
from PIL import Image

from pipelines.shared.columns import index_lists, lengths, to_numpy
from pipelines.shared.decode import clip_frames, encode_clip, encode_image, open_image
from pipelines.shared.files import digest_json
from pipelines.shared.isolating import SAMPLE_ERROR, Trouble
from pipelines.shared.jobs import Task
from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import Manifest, manifest_digest, read_manifest
from pipelines.shared.media import MediaError
from pipelines.shared.memory import REASON, is_out_of_memory
from pipelines.shared.provenance import code_identity
from pipelines.shared.ranges import key_ranges
from pipelines.shared.records import ORIGINS, Sample
from pipelines.shared.resize import ResizeMode, resized
from pipelines.shared.shards import FileInfo, check_storable, describe, read_shard, write_shard
from pipelines.shared.splits import SPLITS
from pipelines.shared.stage import DATA

OTHER_MEDIA, OTHER_ORIGINS = "other_media", "no_caption_of_origins"
PLAN_SETTINGS = ("filter", "origins", "samples_per_shard", "max_failed_frac")  # they decide which samples, not how
ORIGINAL_FACTS = ("source", "url", "page_url", "sha256")


@dataclass(frozen=True, kw_only=True, slots=True)
class PackEntry:
    """Settings of one pack.

    Attributes:
        filter: The filter whose decisions it follows.
        media: What it holds.
        size_px: Side of pictures and frames, see `resize`.
        resize: How they are brought to it.
        extension: Format of pictures; clips are always mp4.
        quality: Of JPEG and WebP, 1 to 100.
        samples_per_shard: Most samples of a shard; shards are half full to full (`ranges`).
        origins: Captions that are taken: `web`, `human`.
        max_frames: Most frames of a clip, evenly spaced; the rate falls so that it lasts as long.
        max_failed_frac: Share of undecodable samples at which the job fails.
    """

    filter: str
    size_px: int
    media: Literal["image", "video"] = "image"
    resize: ResizeMode = "border"
    extension: Literal["jpg", "png", "webp"] = "jpg"
    quality: int = 95
    samples_per_shard: int = 1000
    origins: tuple[str, ...] = ("web", "human")
    max_frames: int = 64
    max_failed_frac: float = 0.01

    def __post_init__(self) -> None:
        for name, low, high in (("size_px", 16, 4096), ("quality", 1, 100), ("samples_per_shard", 1, 10**6)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be from {low} to {high}, got {getattr(self, name)}")
        if self.media == "video" and self.size_px % 2:
            raise ValueError(f"size_px must be even for clips, got {self.size_px}")
        if self.max_frames < 1:
            raise ValueError(f"max_frames must be at least 1, got {self.max_frames}")
        if not self.origins or not set(self.origins) <= set(ORIGINS):
            raise ValueError(f"origins must be some of {', '.join(ORIGINS)}, got {list(self.origins)}")


@dataclass(frozen=True, slots=True)
class Part:
    """What an output shard takes from one input shard: captions, by position, of samples by key."""

    folder: Path
    shard: FileInfo
    picks: Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class OutputShard:
    """One output shard: its name, such as `train/48000.tar`, and where its samples are."""

    name: str
    parts: tuple[Part, ...]

    def task(self, decided: Any) -> Task:
        """The task that writes it; `decided` is a JSON value for all that decides it beside its parts."""
        parts = [[part.shard.sha256, sorted(part.picks.items())] for part in self.parts]
        name = self.name.replace("/", "-").removesuffix(".tar")
        return Task(name, self, digest_json([decided, self.name, parts]))


@dataclass(slots=True)
class Plan:
    """All output shards, and what was left out.

    Attributes:
        shards: The output shards.
        num_in: Samples that the filter kept.
        rejected: Those that are not for this pack, by reason.
        inputs: Digests of the manifests that were read, by name.
    """

    shards: list[OutputShard] = field(default_factory=list)
    num_in: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    inputs: dict[str, str] = field(default_factory=dict)

    def tasks(self, entry: PackEntry) -> list[Task]:
        """A task for each output shard."""
        settings = {name: value for name, value in asdict(entry).items() if name not in PLAN_SETTINGS}
        decided = [settings, code_identity(PackShard.__module__)]
        return [shard.task(decided) for shard in self.shards]


def plan_pack(entry: PackEntry) -> Plan:
    """Which sample goes where.

    Raises:
        ValueError: The filter has not run, or a source was crawled again since.
    """
    folder = DATA / "filter" / entry.filter
    decisions = read_manifest(folder)
    plan = Plan(inputs={f"filter/{entry.filter}": manifest_digest(folder)})
    candidates = []
    for source in dict.fromkeys(layer.name.split("/")[0] for layer in decisions.layers):
        crawl_folder = DATA / "crawl" / source
        crawl = _matching_crawl(decisions, source, crawl_folder)
        plan.inputs[f"crawl/{source}"] = decisions.inputs[f"crawl/{source}"]
        layers = decisions.files(f"{source}/")
        for shard, facts, layer in zip(crawl.shards, crawl.layers, layers, strict=True):
            table = read_layer(folder, layer)
            picked = _picked(read_layer(crawl_folder, facts, ("key", "media", "captions")), table, entry, plan)
            candidates.append((crawl_folder, shard, picked))
    _cut(plan, candidates, entry.samples_per_shard)
    return plan


def _matching_crawl(decisions: Manifest, source: str, folder: Path) -> Manifest:
    if manifest_digest(folder) != decisions.inputs[f"crawl/{source}"]:
        raise ValueError(f"{folder} is not what filter {decisions.instance} judged: run that filter again")
    return read_manifest(folder)


def _picked(facts: pyarrow.Table, decisions: pyarrow.Table, entry: PackEntry, plan: Plan) -> pyarrow.Table:
    """Key, split and captions to take of one shard's samples that are for this pack; counts the others."""
    kept = decisions["kept"].combine_chunks()
    facts, decisions = facts.filter(kept), decisions.filter(kept)
    assert facts["key"].equals(decisions["key"]), "decisions do not follow the facts layer"
    right_media = to_numpy(facts["media"].combine_chunks()) == entry.media
    captions, passing = facts["captions"].combine_chunks(), decisions["captions_kept"].combine_chunks()
    num_captions = lengths(captions)
    starts = np.repeat(np.cumsum(num_captions) - num_captions, lengths(passing))
    chosen = np.zeros(int(num_captions.sum()), dtype=bool)
    chosen[starts + to_numpy(passing.flatten())] = True
    chosen &= np.isin(to_numpy(captions.flatten().field("origin")).astype(str), entry.origins)
    picks = index_lists(chosen, num_captions)
    has_caption = lengths(picks) > 0
    plan.num_in += len(right_media)
    plan.rejected[OTHER_MEDIA] += int((~right_media).sum())
    plan.rejected[OTHER_ORIGINS] += int((right_media & ~has_caption).sum())
    table = pyarrow.table({"key": decisions["key"], "split": decisions["split"], "picks": picks})
    return table.filter(pyarrow.array(right_media & has_caption))


def _cut(plan: Plan, candidates: Sequence[tuple[Path, FileInfo, pyarrow.Table]], samples_per_shard: int) -> None:
    """Fill the plan: samples in the order of their keys, at most so many per shard, for each split."""
    origins = np.repeat(np.arange(len(candidates)), [table.num_rows for _, _, table in candidates])
    table = pyarrow.concat_tables([table for _, _, table in candidates]) if candidates else None
    if table is None:
        return
    keys, splits = (to_numpy(table[name].combine_chunks()).astype(str) for name in ("key", "split"))
    by_key = np.argsort(keys)
    for split in SPLITS:
        rows = by_key[splits[by_key] == split]
        for start, members in key_ranges(rows, lambda row: str(keys[row]), samples_per_shard):
            picks = table["picks"].take(members).to_pylist()
            parts: dict[int, dict[str, list[int]]] = {}
            for row, own in zip(members, picks, strict=True):
                parts.setdefault(int(origins[row]), {})[str(keys[row])] = own
            name = f"{split}/{start}.tar"
            plan.shards.append(OutputShard(name, tuple(Part(*candidates[at][:2], parts[at]) for at in sorted(parts))))


@dataclass(frozen=True, slots=True)
class PackShard:
    """The work on one output shard; picklable."""

    entry: PackEntry

    def __call__(self, output: OutputShard, scratch: Path) -> dict[str, Any]:
        """Write one output shard under its name.

        Returns:
            Its `FileInfo`, the key of its first sample, counts of its captions by origin, and of failures by reason.
        """
        tally = Tally()
        path = scratch / output.name
        count = write_shard(path, tally.seen(self._samples(output, tally.failed)))
        return {"shard": describe(path, scratch, count).as_dict(), **tally.as_dict()}

    def reads(self, output: OutputShard, scratch: Path) -> tuple[FileInfo, ...]:
        """The input shards."""
        return tuple(part.shard.inside(part.folder) for part in output.parts)

    def _samples(self, output: OutputShard, failed: Counter[str]) -> Iterator[Sample]:
        streams, trouble = [_stream(part) for part in output.parts], Trouble()
        for sample, picks in heapq.merge(*streams, key=lambda item: item[0].key):
            try:
                result = packed(sample, picks, self.entry)
                check_storable(result)
            except Exception as error:
                failed[_reason(sample, error, trouble)] += 1
            else:
                yield result


def _reason(sample: Sample, error: Exception, trouble: Trouble) -> str:
    """Why a sample is not packed."""
    if is_out_of_memory(error):
        return REASON
    if isinstance(error, MediaError):
        return error.reason
    trouble.note(sample.key, "packing", error)
    return SAMPLE_ERROR


class Tally:
    """Counts what goes into a shard."""

    def __init__(self) -> None:
        self.first_key = ""
        self.num_captions: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def seen(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        """The same samples, counted as they pass."""
        for sample in samples:
            self.first_key = self.first_key or sample.key
            self.num_captions.update(caption.origin for caption in sample.captions)
            yield sample

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "first_key": self.first_key,
            "num_captions": {origin: self.num_captions[origin] for origin in ORIGINS},
            "failed": dict(self.failed),
        }


def _stream(part: Part) -> Iterator[tuple[Sample, Sequence[int]]]:
    """The wanted samples of an input shard, in order; all of them must be there."""
    found = 0
    for sample in read_shard(part.folder, part.shard):
        if sample.key in part.picks:
            found += 1
            yield sample, part.picks[sample.key]
    assert found == len(part.picks), f"{part.folder / part.shard.name} lacks samples of its facts layer"


def packed(sample: Sample, picks: Sequence[int], entry: PackEntry) -> Sample:
    """A sample as the pack holds it; metadata of the original file, such as EXIF, never survives.

    Args:
        sample: As the crawl stored it.
        picks: Positions of the captions to take.
        entry: The pack's settings.

    Raises:
        MediaError: It does not decode.
    """
    if sample.is_video:
        extension, media, facts = "mp4", *_packed_clip(sample, entry)
    else:
        image = resized(open_image(sample.media), entry.size_px, entry.resize)
        extension, media = entry.extension, encode_image(image, entry.extension, entry.quality)
        facts = {"width": image.width, "height": image.height}
    originals = {name: sample.facts.get(name, "") for name in ORIGINAL_FACTS}
    sizes = {f"original_{name}": sample.facts[name] for name in ("width", "height")}
    captions = tuple(sample.captions[index] for index in picks)
    return Sample(
        key=sample.key, extension=extension, media=media, captions=captions, facts={**originals, **sizes, **facts}
    )


def _packed_clip(sample: Sample, entry: PackEntry) -> tuple[bytes, dict[str, Any]]:
    """The clip with at most `max_frames` frames of the pack's size, and facts about it."""
    frames, frames_per_sec = clip_frames(sample.media, entry.max_frames)
    total = int(sample.facts["num_frames"])
    if 1 < len(frames) < total:
        frames_per_sec *= (len(frames) - 1) / (total - 1)
    small = [np.asarray(resized(Image.fromarray(frame), entry.size_px, entry.resize)) for frame in frames]
    height, width = (side + side % 2 for side in small[0].shape[:2])
    facts = {
        "width": width,
        "height": height,
        "num_frames": len(small),
        "duration_sec": round(len(small) / frames_per_sec, 3),
    }
    return encode_clip(small, frames_per_sec), facts
