"""The matcher of a recaption round tried on captions that are known to be right or wrong, shard by shard.

A sample with a caption of a person is shown to the matcher with that caption, which is right, and with one that a
person wrote for another sample of the shard, which is wrong. At the round's threshold this gives the recall (share of
right captions that are accepted) and the precision (share of right ones among the accepted, where there are as many
wrong as right ones). Samples are drawn by (seed, round, key). A wrong caption may fit by chance, so the precision is a
lower bound; and what the matcher was trained on it knows: the validation split counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.shared.isolating import isolated
from pipelines.shared.judging import Frames, Judge, sample_frames
from pipelines.shared.memory import in_batches_that_fit
from pipelines.shared.recaption_settings import RecaptionEntry
from pipelines.shared.records import Sample
from pipelines.shared.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class Planted:
    """A sample with a caption that is right and one that is wrong."""

    sample: Sample
    right: str
    wrong: str


def plant(samples: Sequence[Sample], most: int, seed: int, round_key: str) -> list[Planted]:
    """Samples for the audit, at most so many, each with the caption of the next one whose captions are all others."""
    texts = {sample.key: [each.text for each in sample.captions if each.origin == "human"] for sample in samples}
    drawn = sorted(
        (sample for sample in samples if texts[sample.key]),
        key=lambda sample: (derive_seed(seed, "audit", round_key, sample.key), sample.key),
    )
    planted = []
    for row, sample in enumerate(drawn[:most]):
        own = {text.casefold() for text in texts[sample.key]}
        others = (texts[other.key][0] for other in (*drawn[row + 1 :], *drawn[:row]))
        if wrong := next((text for text in others if text.casefold() not in own), ""):
            planted.append(Planted(sample, texts[sample.key][0], wrong))
    return planted


def audit_counts(judge: Judge, planted: Sequence[Planted], entry: RecaptionEntry) -> dict[str, int]:
    """How many planted samples were judged, and how many right and wrong captions were accepted."""

    def each_accepted(batch: Sequence[tuple[Planted, Frames]]) -> list[tuple[bool, bool] | None]:
        return isolated(batch, accepted, lambda each, error: None)

    def accepted(batch: Sequence[tuple[Planted, Frames]]) -> list[tuple[bool, bool] | None]:
        owners = [row for row in range(len(batch)) for _ in range(2)]
        texts = [text for each, _ in batch for text in (each.right, each.wrong)]
        scores = judge.match([frames for _, frames in batch], owners, texts)
        passed = [score >= entry.threshold for score in scores]
        return list(zip(passed[::2], passed[1::2], strict=True))

    readable = [(each, frames) for each in planted if (frames := _frames(each.sample, entry.num_frames))]
    found: list[tuple[bool, bool] | None] = []
    for start in range(0, len(readable), entry.batch_size):
        found += in_batches_that_fit(readable[start : start + entry.batch_size], each_accepted, lambda each: None)
    judged = [pair for pair in found if pair]
    return {
        "judged": len(judged),
        "right_accepted": sum(right for right, _ in judged),
        "wrong_accepted": sum(wrong for _, wrong in judged),
    }


def _frames(sample: Sample, num_frames: int) -> Frames:
    """What is seen of a sample; nothing where it does not decode, which its row says."""
    try:
        return sample_frames(sample, num_frames)
    except Exception:
        return ()
