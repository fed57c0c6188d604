"""Captions that a model writes, compared with those that people gave: BLEU, ROUGE-L, CIDEr-D, diversity, copying.

Sources: Chen et al. 2015, arXiv:1504.00325 (the COCO caption evaluation, whose tokens and values these are); Papineni
et al. 2002 (BLEU); Lin 2004 (ROUGE-L); Vedantam et al. 2015, arXiv:1411.5726 (CIDEr-D); Li et al. 2016,
arXiv:1510.03055, section 5.3 (distinct-n).

Keys:

- `bleu_1` to `bleu_4`: of the whole set, nearest reference length, no smoothing, in [0, 1]. It is no mean over images;
  the BLEU-4 of a single caption is mostly 0. Its interval is from resampled images whose matches, totals and lengths
  are added up anew; two models are compared by its values with each group of images left out.
- `rouge_l`: mean over images, in [0, 1].
- `cider_d`: mean over images, in [0, 10], with the document frequencies of a file. They are given, so that neither
  value nor interval depends on which other images are tested.
- `cider_d_self`: the same with those of the references that are evaluated, as published code has it. It stands in
  place of `cider_d` where no file is set, and compares with no other test set: with a single image every n-gram weighs
  0, and even its own reference scores 0. Its interval holds these frequencies fixed.
- `distinct_1`, `distinct_2`: different words, or pairs of words, of all written captions over their number of words.
- `vocabulary`: number of different words in all written captions. It and distinct-n depend on the number of images,
  which is in the protocol, and their intervals are about the value to expect at that number. They are the jackknife's,
  because a resample repeats captions and so has fewer different words; in draws of 200 and of 1000 captions from
  20,000 they held the mean over draws in 94 to 97 of 100.
- `mean_length`: words of a caption. It has no direction of improvement.
- `verbatim_own`, `verbatim_other`: shares of captions that are, word for word, a reference of their own image, or of
  other images alone. Their sum is the share seen verbatim in the references.

Differs from the papers and the COCO evaluation: words are made without Java (`metrics.shared.ptb`); BLEU is not
smoothed, and an empty caption has a ROUGE-L of 0 (`metrics.shared.caption_scores`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.shared.bootstrap import (
    Resampling,
    bootstrap_estimate,
    group_labels,
    jackknife,
    proportion_estimate,
    resampled_means,
)
from metrics.shared.caption_scores import Captions, bleu, bleu_statistics, cider_d, rouge_l
from metrics.shared.document_frequency import idf, read_document_frequency
from metrics.shared.estimates import Estimate
from metrics.shared.metric import EvidenceMetric, Score
from metrics.shared.ptb import tokenize
from metrics.shared.texts import pack_texts, unpack_texts
from metrics.shared.weights import is_sha256

Floats = NDArray[np.float64]

BLEU_KEYS = ("bleu_1", "bleu_2", "bleu_3", "bleu_4")
DIVERSITY_KEYS = ("distinct_1", "distinct_2", "vocabulary")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Resampling):
    """Settings, besides those of the bootstrap.

    Attributes:
        document_frequency: A file for CIDEr-D that `vignette frequencies` wrote; with "", the evaluated references are
            counted.
        document_frequency_sha256: sha256 that this file must have, 64 hexadecimal digits.
        num_groups: Groups of the jackknife, at least 5.
    """

    document_frequency: str = ""
    document_frequency_sha256: str = ""
    num_groups: int = 10

    def __post_init__(self) -> None:
        Resampling.__post_init__(self)
        if self.num_groups < 5:
            raise ValueError(f"num_groups must be at least 5, got {self.num_groups}")
        if bool(self.document_frequency) != is_sha256(self.document_frequency_sha256):
            raise ValueError(
                "document_frequency goes with document_frequency_sha256 (64 lower-case hexadecimal digits), got "
                f"{self.document_frequency!r} and {self.document_frequency_sha256!r}"
            )


class Metric(EvidenceMetric):
    """BLEU, ROUGE-L, CIDEr-D, distinct-n, length, vocabulary and share of copies.

    Attributes:
        cider_key: Name of CIDEr-D.
    """

    inputs = ("written_captions", "reference_captions", "text_owner")

    def __init__(self, config: Config) -> None:
        super().__init__("written_captions", "written_lengths", "reference_captions", "reference_lengths", "text_owner")
        self.config = config
        self.cider_key = "cider_d" if config.document_frequency else "cider_d_self"

    def update(self, *, written_captions: Sequence[str], reference_captions: Sequence[str], text_owner: Tensor) -> None:
        """Adds captions and references; the batches of the two need not belong together.

        Args:
            written_captions: A caption of each test image; an empty one is a caption.
            reference_captions: m references.
            text_owner: int64 [m], the image of each reference, counted from 0 over all updates.
        """
        assert text_owner.shape == (len(reference_captions),), f"text_owner must be [m], got {tuple(text_owner.shape)}"
        for name, texts in (("written", written_captions), ("reference", reference_captions)):
            content, lengths = pack_texts([f"{text}\n" for text in texts])  # so that no text is without a byte
            self.append(f"{name}_captions", content, torch.int64)
            self.append(f"{name}_lengths", lengths, torch.int64)
        self.append("text_owner", text_owner, torch.int64)

    def score(self) -> Score:
        """All results; per image, the values that have a mean, and the others without each group of images."""
        captions = self._captions()
        num_images = len(captions.written)
        cider, frequencies = self._cider(captions)
        means = {
            "rouge_l": rouge_l(captions),
            self.cider_key: cider,
            "mean_length": captions.lengths.astype(np.float64),
            **verbatim(captions),
        }
        statistics = bleu_statistics(captions)
        images = np.arange(num_images)
        columns = np.concatenate([np.stack([*means.values()], axis=1), statistics], axis=1)
        resampled = resampled_means(columns, images, self.config)
        group = group_labels(num_images, self.config.num_groups, (self.config.seed,))
        everything, *without = (
            {**_bleu(statistics[rows]), **diversity(captions, rows)}
            for rows in (images, *(np.flatnonzero(group != one) for one in range(self.config.num_groups)))
        )
        left_out = {key: np.array([values[key] for values in without]) for key in everything}
        of_bleu = dict(zip(BLEU_KEYS, bleu(resampled[:, len(means) :]).T, strict=True))
        return Score(
            estimates={
                **{
                    key: bootstrap_estimate(everything[key], each, n=num_images, higher_is_better=True)
                    for key, each in of_bleu.items()
                },
                **{key: _mean(key, each, resampled[:, n]) for n, (key, each) in enumerate(means.items())},
                **{key: _jackknifed(everything[key], left_out[key], num_images) for key in DIVERSITY_KEYS},
            },
            per_sample={
                **means,
                **{f"{key}_leave_one_group_out": each for key, each in left_out.items()},
                "owner": images,
            },
            protocol={
                "metric": "captions",
                "estimator": "tokens of PTBTokenizer 3.4.1; BLEU of the set, nearest reference length, no smoothing; "
                "ROUGE-L beta 1.2; CIDEr-D sigma 6; percentile bootstrap of images with document frequencies fixed, "
                "exact proportions at 0 and 1; delete-a-group jackknife of distinct-n and vocabulary",
                **frequencies,
                "num_samples": num_images,
                "num_captions": len(captions.references),
                "num_groups": self.config.num_groups,
                "num_resamples": self.config.num_resamples,
                "seed": self.config.seed,
            },
        )

    def _captions(self) -> Captions:
        written, references = (
            unpack_texts(self.rows(f"{name}_captions"), self.rows(f"{name}_lengths"))
            for name in ("written", "reference")
        )
        owner = self.rows("text_owner").cpu().numpy()
        assert owner.min() >= 0 and owner.max() < len(written), f"text_owner must be in [0, {len(written)})"
        without = len(written) - len(np.unique(owner))
        if without:
            raise ValueError(f"captions: every test image needs a reference, {without} of {len(written)} have none")
        return Captions([tokenize(text) for text in written], [tokenize(text) for text in references], owner)

    def _cider(self, captions: Captions) -> tuple[Floats, dict[str, str | int | float]]:
        """CIDEr-D of each image, and what the protocol says of its document frequencies."""
        num_images = len(captions.written)
        if not self.config.document_frequency:
            own = [idf(ngrams.images_with(), num_images) for ngrams in captions.ngrams]
            return cider_d(captions, own), {"document_frequency": f"of the {num_images} images evaluated"}
        path, expected = Path(self.config.document_frequency), self.config.document_frequency_sha256
        frequency, sha256 = read_document_frequency(path)
        if sha256 != expected:
            raise ValueError(f"document_frequency {path} has sha256 {sha256}, document_frequency_sha256 is {expected}")
        given = [frequency.idf(ngrams.terms) for ngrams in captions.ngrams]
        return cider_d(captions, given), {
            "document_frequency": f"of {frequency.num_images} given images",
            "document_frequency_sha256": sha256,
        }


def diversity(captions: Captions, rows: NDArray[np.int64]) -> dict[str, float]:
    """Distinct-1, distinct-2 and number of different words of some of the written captions; 0 without a word.

    Args:
        captions: Of all images.
        rows: The images whose captions are taken.
    """
    words, pairs = (np.unique(ngrams.written[rows].indices).size for ngrams in captions.ngrams[:2])
    total = max(1, int(captions.lengths[rows].sum()))
    return dict(zip(DIVERSITY_KEYS, (words / total, pairs / total, float(words)), strict=True))


def verbatim(captions: Captions) -> dict[str, Floats]:
    """Whether each caption is a reference of its own image, or of others alone, 0 or 1; an empty one is neither."""
    own = set(zip(captions.owner.tolist(), map(tuple, captions.references), strict=True))
    anywhere = {words for _, words in own}
    written = [tuple(words) for words in captions.written]
    of_own = np.array([bool(words) and (image, words) in own for image, words in enumerate(written)])
    seen = np.array([bool(words) and words in anywhere for words in written])
    return {"verbatim_own": of_own.astype(np.float64), "verbatim_other": (seen & ~of_own).astype(np.float64)}


def _bleu(statistics: NDArray[np.int64]) -> dict[str, float]:
    return dict(zip(BLEU_KEYS, bleu(statistics.sum(axis=0)).tolist(), strict=True))


def _mean(key: str, values: Floats, resampled: Floats) -> Estimate:
    is_proportion = key == "rouge_l" or key.startswith("verbatim_")
    estimate = proportion_estimate if is_proportion else bootstrap_estimate
    return estimate(float(values.mean()), resampled, n=len(values), higher_is_better=key != "verbatim_other")


def _jackknifed(value: float, left_out: Floats, n: int) -> Estimate:
    half_width = jackknife(value, left_out).half_width
    return Estimate(
        value=value,
        low=max(0.0, value - half_width),
        high=value + half_width,
        n=n,
        interval="jackknife",
        higher_is_better=True,
    )
