"""CapFilt on one shard of a pack: write captions, then judge web and synthetic texts alike.

Source: Li et al. 2022 (BLIP), arXiv:2201.12086, section 4.3. The captioner writes by nucleus sampling; the matcher,
fine-tuned separately, keeps a text whose match probability reaches the threshold. Differs from the paper: captions of
people are kept whatever the matcher says; nothing is overwritten, every text stays in the layer with its decision;
several texts and several captioners, which the authors propose and did not run, are settings.

Texts depend on (seed, round, key, captioner, candidate) alone: randomness comes from one seed per text, and a worker
computes on one thread in batches whose members are fixed by the shard, so bundling and the number of workers change
nothing. A batch that memory does not suffice for, or on which something raises, is halved. A sample that does not
decode, that does not fit alone, on which a captioner or a judge fails, or that a captioner could not be asked about is
a row with the reason in `error`; the texts that it had stay, unjudged but in the last case. A layer has that column
where a sample of its shard failed. A `ValueError` on all samples of a shard is a setting that does not fit, and raised.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow

from pipelines.captioners import Captioner, CaptionerInput, Written
from pipelines.shared.auditing import audit_counts, plant
from pipelines.shared.devices import choose_device, make_deterministic
from pipelines.shared.files import canonical_json
from pipelines.shared.isolating import SAMPLE_ERROR, Trouble, isolated
from pipelines.shared.judging import Frames, Judge, model_frames, sample_frames
from pipelines.shared.keeping import decide
from pipelines.shared.layers import CAPTION_TYPE, layer_schema, write_layer
from pipelines.shared.media import MediaError
from pipelines.shared.memory import REASON, in_batches_that_fit, is_out_of_memory
from pipelines.shared.params import plugin_files
from pipelines.shared.recaption_settings import OWN, CaptionerSpec, RecaptionEntry
from pipelines.shared.records import Caption, Sample
from pipelines.shared.runs import LoadedRun, load_run, run_files
from pipelines.shared.seeds import derive_seed
from pipelines.shared.shards import FileInfo, describe, read_shard

KEPT = pyarrow.field("kept", pyarrow.bool_())
PROVENANCE = (pyarrow.field("decoding", pyarrow.string()), pyarrow.field("seed", pyarrow.int64()))
CANDIDATE_TYPE = pyarrow.struct([*CAPTION_TYPE, KEPT])
CANDIDATES_SCHEMA = layer_schema({"candidates": pyarrow.list_(CANDIDATE_TYPE)})
ERROR_COLUMN = "error"


def candidates_schema(*, has_provenance: bool, has_errors: bool) -> pyarrow.Schema:
    """The schema of a layer: with the decoding and the seed of each synthetic text, with the column `error`."""
    kind = pyarrow.struct([*CAPTION_TYPE, KEPT, *(PROVENANCE if has_provenance else ())])
    errors = {ERROR_COLUMN: pyarrow.string()} if has_errors else {}
    return layer_schema({"candidates": pyarrow.list_(kind), **errors})


@dataclass(frozen=True, slots=True)
class Seen:
    """A sample and its picture or frames."""

    sample: Sample
    frames: Frames


class Mistakes:
    """Which samples of a shard something raised on."""

    def __init__(self) -> None:
        """None yet."""
        self.trouble = Trouble()
        self.errors: dict[str, Exception] = {}

    def reason(self, sample: Sample, error: Exception) -> str:
        """The reason of a sample that captioners or judges fail on alone."""
        self.trouble.note(sample.key, "recaptioning", error)
        self.errors[sample.key] = error
        return SAMPLE_ERROR

    def check(self, num_samples: int) -> None:
        """Raise what is no sample's fault: a ValueError on every sample, as captioners raise of their settings."""
        errors = list(self.errors.values())
        if errors and len(errors) == num_samples and all(isinstance(error, ValueError) for error in errors):
            raise errors[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class RecaptionShard:
    """The work on one shard; picklable.

    Attributes:
        entry: The round's settings.
        round: Its key.
        seed: The pipeline's.
        pack_folder: The pack's folder.
        captioners: Further captioners than the run.
    """

    entry: RecaptionEntry
    round: str
    seed: int
    pack_folder: Path
    captioners: tuple[CaptionerSpec, ...] = ()

    def __call__(self, value: dict[str, Any], scratch: Path) -> dict[str, Any]:
        """Write the candidates layer of one shard.

        Args:
            value: The shard's `FileInfo` as a mapping.
            scratch: Where the layer goes, under the shard's name.

        Returns:
            The layer's `FileInfo`; counts of texts by origin, judged and kept; the same of synthetic ones by
            captioner; counts of failed samples by reason; and those of the audit.
        """
        make_deterministic(choose_device(self.entry.device, "recaption"), num_threads=1)
        shard, size = FileInfo(**value), self.entry.batch_size
        samples = list(read_shard(self.pack_folder, shard))
        rows, mistakes = [], Mistakes()

        def rows_of(batch: Sequence[Sample]) -> list[dict[str, Any]]:
            return isolated(
                batch, self.rows, lambda sample, error: self.unjudged(sample, mistakes.reason(sample, error))
            )

        for start in range(0, len(samples), size):
            batch = samples[start : start + size]
            rows += in_batches_that_fit(batch, rows_of, lambda sample: self.unjudged(sample, REASON))
        mistakes.check(len(samples))
        failed: dict[str, int] = {}
        for row in rows:
            if reason := row.get(ERROR_COLUMN):
                failed[reason] = failed.get(reason, 0) + 1
        path = scratch / Path(shard.name).with_suffix(".parquet")
        schema = candidates_schema(has_provenance=self.entry.has_provenance, has_errors=bool(failed))
        count = write_layer(path, rows, schema)
        return {
            "layer": describe(path, scratch, count).as_dict(),
            "texts": _text_counts(rows, "origin"),
            "writers": _text_counts(rows, "place", origins=("synthetic",)),
            "failed": failed,
            "audit": self.audit(samples),
        }

    def reads(self, value: dict[str, Any], scratch: Path) -> tuple[FileInfo, ...]:
        """The shard."""
        return (FileInfo(**value).inside(self.pack_folder),)

    def files(self) -> tuple[Path, ...]:
        """Files of the round's models."""
        own = (self.entry.captioner,) if self.entry.num_candidates else ()
        runs = dict.fromkeys(path for key in (*own, self.entry.matcher, self.entry.clip) for path in run_files(key))
        return (*runs, *plugin_files(spec.build() for spec in self.captioners))

    @property
    def has_models(self) -> bool:
        """Always: those that write and those that judge."""
        return True

    def load(self) -> None:
        """Load the models of the round, which the process keeps."""
        own = (self.entry.captioner,) if self.entry.num_candidates else ()
        for key in (*own, self.entry.matcher, self.entry.clip):
            loaded(key, self.entry.device)
        for spec in self.captioners:
            built(spec)

    def rows(self, samples: Sequence[Sample]) -> list[dict[str, Any]]:
        """Candidates of a batch of samples: the texts that they had, then the new ones, all with scores."""
        errors: dict[str, str] = {}
        seen = []
        for sample in samples:
            try:
                seen.append(Seen(sample, sample_frames(sample, self.entry.num_frames)))
            except MediaError as error:
                if is_out_of_memory(error):
                    raise
                errors[sample.key] = error.reason
        judged = {}
        for each, row in zip(seen, self.judged(seen, errors), strict=True):
            reason = errors.get(each.sample.key, "")
            judged[each.sample.key] = {**row, ERROR_COLUMN: reason} if reason else row
        return [
            judged[sample.key] if sample.key in judged else self.unjudged(sample, errors[sample.key])
            for sample in samples
        ]

    def judged(self, seen: Sequence[Seen], errors: dict[str, str]) -> list[dict[str, Any]]:
        """Rows of samples that decode; failures of captioners are added to `errors` by key."""
        candidates = self.candidates(seen, errors)
        owners = [index for index, own in enumerate(candidates) for _ in own]
        texts = [each["text"] for own in candidates for each in own]
        judge, frames = self.judge(), [each.frames for each in seen]
        match, clip = judge.match(frames, owners, texts), judge.cosine(frames, owners, texts)
        flat = [each for own in candidates for each in own]
        for each, match_score, clip_score in zip(flat, match, clip, strict=True):
            each["scores"] = {"match": match_score, "clip": clip_score}
        return [self._row(one.sample, own) for one, own in zip(seen, candidates, strict=True)]

    def unjudged(self, sample: Sample, error: str) -> dict[str, Any]:
        """The row of a sample that was not looked at: the captions of people stay."""
        own = [{**caption.as_dict(), "scores": {}} for caption in sample.captions]
        return {**self._row(sample, own), ERROR_COLUMN: error}

    def _row(self, sample: Sample, candidates: list[dict[str, Any]]) -> dict[str, Any]:
        kept = decide(candidates, self.entry.threshold, self.entry.best_by_clip, self.entry.ranked)
        pairs = zip(candidates, kept, strict=True)
        return {"key": sample.key, "candidates": [{**each, "kept": is_kept} for each, is_kept in pairs]}

    def candidates(self, seen: Sequence[Seen], errors: dict[str, str]) -> list[list[dict[str, Any]]]:
        """The texts that each sample had, and those that captioners write now; equal ones once, unjudged."""
        candidates = [[caption.as_dict() for caption in each.sample.captions] for each in seen]
        known = [{each["text"] for each in own} for own in candidates]
        for name, captioner, inputs in self.asked(seen):
            written = captioner.caption(inputs) if inputs else []
            decoding = canonical_json(captioner.decoding)
            for row, (given, found) in enumerate(zip(inputs, written, strict=True)):
                if found.error:
                    errors.setdefault(given.key, f"captioner:{found.error}")
                for text, seed in zip(found.texts, given.seeds if found.texts else (), strict=True):
                    text.encode()  # what no file can hold, half a surrogate pair, spoils its sample and not the layer
                    if text and text not in known[row]:
                        new = Caption(text=text, origin="synthetic", place=name, model_sha256=captioner.model)
                        provenance = {"decoding": decoding, "seed": seed} if self.entry.has_provenance else {}
                        candidates[row].append({**new.as_dict(), **provenance})
                        known[row].add(text)
        return candidates

    def asked(self, seen: Sequence[Seen]) -> list[tuple[str, Captioner, list[CaptionerInput]]]:
        """Captioners by name, the run first, with what each is asked about."""
        result: list[tuple[str, Captioner, list[CaptionerInput]]] = []
        if self.entry.num_candidates:
            own = RunCaptioner(self.run(self.entry.captioner), self.entry.decoding)
            result.append((OWN, own, [self._input(each, [], self.entry.num_candidates) for each in seen]))
        for spec in self.captioners:
            inputs = [self._input(each, [spec.name], spec.num_candidates) for each in seen]
            result.append((spec.name, built(spec), inputs))
        return result

    def _input(self, seen: Seen, captioner: Sequence[str], num_candidates: int) -> CaptionerInput:
        key = seen.sample.key
        parts = ("recaption", self.round, key, *captioner)
        seeds = tuple(derive_seed(self.seed, *parts, candidate) for candidate in range(num_candidates))
        return CaptionerInput(key=key, frames=tuple(seen.frames), seeds=seeds)

    def judge(self) -> Judge:
        """The round's matcher and CLIP."""
        return Judge(self.run(self.entry.matcher), self.run(self.entry.clip))

    def run(self, key: str) -> LoadedRun:
        """A trained model, on the round's device."""
        return loaded(key, self.entry.device)

    def audit(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """How the matcher judges right and planted wrong captions of this shard."""
        planted = plant(samples, self.entry.num_audited, self.seed, self.round)
        return audit_counts(self.judge(), planted, self.entry)


@dataclass(frozen=True, slots=True)
class RunCaptioner:
    """A model that we trained, as a captioner."""

    run: LoadedRun
    decoding: Mapping[str, Any]

    @property
    def model(self) -> str:
        """Digest of its weights."""
        return self.run.sha256

    def caption(self, samples: Sequence[CaptionerInput]) -> list[Written]:
        """Texts of each sample: a picture is encoded once for all of them, a clip's describe its frames one by one."""
        import torch

        is_pictures = all(len(sample.frames) == 1 for sample in samples)
        frames = [
            frame
            for sample in samples
            for frame in (sample.frames if is_pictures else map(sample.frame, range(len(sample.seeds))))
        ]
        generators = [torch.Generator().manual_seed(seed) for sample in samples for seed in sample.seeds]
        with torch.no_grad():
            image = model_frames(frames, self.run)
            texts = iter(self.run.model.caption(image, generators, **self.decoding))
        return [Written(texts=tuple(next(texts) for _ in sample.seeds)) for sample in samples]


@functools.cache
def loaded(key: str, device: str) -> LoadedRun:
    """A trained model, loaded once per process."""
    return load_run(key, device)


@functools.cache
def built(spec: CaptionerSpec) -> Captioner:
    """A captioner, made once per process."""
    return spec.build()


def _text_counts(rows: Sequence[Mapping[str, Any]], by: str, origins: Sequence[str] = ()) -> dict[str, dict[str, int]]:
    """Texts that were judged, and kept, by their origin or place."""
    counts: dict[str, dict[str, int]] = {"judged": {}, "kept": {}}
    for row in rows:
        for candidate in row["candidates"]:
            if candidate["scores"] and (not origins or candidate["origin"] in origins):
                for name in ("judged", "kept") if candidate["kept"] else ("judged",):
                    counts[name][candidate[by]] = counts[name].get(candidate[by], 0) + 1
    return counts
