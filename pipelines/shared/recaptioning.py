"""CapFilt on one shard of a pack: write captions, then judge web and synthetic texts alike.

Source: Li et al. 2022 (BLIP), arXiv:2201.12086, section 4.3. The captioner writes by nucleus sampling; the matcher,
fine-tuned separately, keeps a text whose match probability reaches the threshold. Differs from the paper: captions of
people are kept whatever the matcher says; nothing is overwritten, every text stays in the layer with its decision.

Texts depend on (seed, round, key, candidate) alone: randomness comes from one generator per text, and a worker computes
on one thread in batches whose members are fixed by the shard, so bundling and the number of workers change nothing.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow

from pipelines.shared.devices import choose_device, make_deterministic
from pipelines.shared.layers import CAPTION_TYPE, layer_schema, write_layer
from pipelines.shared.pixels import model_images
from pipelines.shared.records import Caption, Sample
from pipelines.shared.runs import LoadedRun, load_run
from pipelines.shared.seeds import derive_seed
from pipelines.shared.shards import FileInfo, describe, read_shard

CANDIDATE_TYPE = pyarrow.struct([*CAPTION_TYPE, pyarrow.field("kept", pyarrow.bool_())])
CANDIDATES_SCHEMA = layer_schema({"candidates": pyarrow.list_(CANDIDATE_TYPE)})


@dataclass(frozen=True, kw_only=True, slots=True)
class RecaptionEntry:
    """Settings of one round.

    Attributes:
        pack: The pack whose training and validation samples get captions.
        captioner: Run that writes, a model with `caption`.
        matcher: Run that judges, a model with `match`.
        clip: Run whose cosine (times 100) is kept as a further score, a model with `encode_image` and `encode_text`.
        num_candidates: Texts written for each picture.
        decoding: Passed to `caption`: `decoding`, `top_p`, `min_tokens`, `max_tokens`, ...
        threshold: A web or synthetic text is kept at this match probability or above, in [0, 1].
        batch_size: Pictures at a time.
    """

    pack: str
    captioner: str
    matcher: str
    clip: str
    num_candidates: int = 1
    decoding: Mapping[str, Any] = field(default_factory=lambda: {"decoding": "nucleus", "top_p": 0.9})
    threshold: float = 0.5
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.num_candidates < 1:
            raise ValueError(f"num_candidates must be at least 1, got {self.num_candidates}")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {self.threshold}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RecaptionShard:
    """The work on one shard; picklable."""

    entry: RecaptionEntry
    round: str
    seed: int
    pack_folder: Path

    def __call__(self, value: dict[str, Any], scratch: Path) -> dict[str, Any]:
        """Write the candidates layer of one shard.

        Args:
            value: The shard's `FileInfo` as a mapping.
            scratch: Where the layer goes, under the shard's name.

        Returns:
            The layer's `FileInfo` and counts of texts by origin: judged, and kept.
        """
        make_deterministic(choose_device("cpu", "recaption"), num_threads=1)
        shard = FileInfo(**value)
        samples = list(read_shard(self.pack_folder, shard))
        rows = []
        for start in range(0, len(samples), self.entry.batch_size):
            rows += self.rows(samples[start : start + self.entry.batch_size])
        path = scratch / Path(shard.name).with_suffix(".parquet")
        count = write_layer(path, rows, CANDIDATES_SCHEMA)
        return {"layer": describe(path, scratch, count).as_dict(), "texts": _text_counts(rows)}

    def rows(self, samples: Sequence[Sample]) -> list[dict[str, Any]]:
        """Candidates of a batch of samples: the texts that they had, then the new ones, all with scores."""
        captions = self.candidates(samples)
        owners = [index for index, texts in enumerate(captions) for _ in texts]
        texts = [caption.text for each in captions for caption in each]
        match, clip = self.judge(samples, owners, texts)
        rows: list[dict[str, Any]] = [{"key": sample.key, "candidates": []} for sample in samples]
        flat = [caption for each in captions for caption in each]
        for owner, caption, match_score, clip_score in zip(owners, flat, match, clip, strict=True):
            kept = caption.origin == "human" or match_score >= self.entry.threshold
            scores = {"match": match_score, "clip": clip_score}
            rows[owner]["candidates"].append({**caption.as_dict(), "scores": scores, "kept": kept})
        return rows

    def candidates(self, samples: Sequence[Sample]) -> list[list[Caption]]:
        """The texts that each sample had, and those that the captioner writes now."""
        import torch

        captioner = loaded(self.entry.captioner)
        image = model_images(samples, captioner.model.image_px)
        captions = [list(sample.captions) for sample in samples]
        owners = [row for row in range(len(samples)) for _ in range(self.entry.num_candidates)]
        generators = [
            torch.Generator().manual_seed(derive_seed(self.seed, "recaption", self.round, sample.key, candidate))
            for sample in samples
            for candidate in range(self.entry.num_candidates)
        ]
        with torch.no_grad():
            texts = captioner.model.caption(image, generators, **self.entry.decoding)
        for row, text in zip(owners, texts, strict=True):
            if text and text not in {caption.text for caption in captions[row]}:
                new = Caption(text=text, origin="synthetic", place="captioner", model_sha256=captioner.sha256)
                captions[row].append(new)
        return captions

    def judge(
        self, samples: Sequence[Sample], owners: Sequence[int], texts: Sequence[str]
    ) -> tuple[list[float], list[float]]:
        """Match probability and 100 times the cosine of each text with the picture of its owner."""
        import torch

        if not texts:
            return [], []
        matcher, clip = loaded(self.entry.matcher).model, loaded(self.entry.clip).model
        rows = torch.tensor(owners)
        with torch.no_grad():
            match = matcher.match(model_images(samples, matcher.image_px), list(texts), rows)
            pictures = clip.encode_image(model_images(samples, clip.image_px))[rows]
            cosine = (pictures * clip.encode_text(list(texts))).sum(dim=1)
        return [float(value) for value in match], [100 * float(value) for value in cosine]


@functools.cache
def loaded(key: str) -> LoadedRun:
    """A trained model, loaded once per process."""
    return load_run(key, device="cpu")


def _text_counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {"judged": {}, "kept": {}}
    for row in rows:
        for candidate in row["candidates"]:
            for name in ("judged", "kept") if candidate["kept"] else ("judged",):
                counts[name][candidate["origin"]] = counts[name].get(candidate["origin"], 0) + 1
    return counts
