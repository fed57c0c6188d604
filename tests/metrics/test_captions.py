"""The metric of captions against the COCO caption evaluation, brute force and what its parts should do."""

import hashlib
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from metrics.captions import BLEU_KEYS, DIVERSITY_KEYS, Config, Metric
from metrics.shared.bootstrap import group_labels
from metrics.shared.document_frequency import build_document_frequency, write_document_frequency
from metrics.shared.paired import PairedJackknife
from metrics.shared.ptb import tokenize

PARTS = (
    ["A man", "Two dogs", "The little girl", "A red bus", "An old woman's cat", "Some people"],
    ["is riding", "sits on", "isn't near", "looks at", "jumps over"],
    ["a wave", "the half-eaten pizza", "a T-shirt", "the St. James St. sign", "a bench", "its kid"],
    ["", "in the rain", "at 3:30 p.m.", "(again)", "on a sunny day"],
)


def sentence(rng: np.random.Generator, base: Sequence[str], change: float) -> str:
    parts = [
        str(rng.choice(options)) if rng.random() < change else part for part, options in zip(base, PARTS, strict=True)
    ]
    return " ".join(part for part in parts if part) + "."


def data(num_images: int = 60, seed: int = 0, change: float = 0.5) -> tuple[list[str], list[str], torch.Tensor]:
    """A written caption of each image, references in shuffled order, owners."""
    rng = np.random.default_rng(seed)
    owner = rng.permutation(np.repeat(np.arange(num_images), 3))
    bases = [[str(rng.choice(options)) for options in PARTS] for _ in range(num_images)]
    written = [sentence(rng, base, change) for base in bases]
    return written, [sentence(rng, bases[image], 0.4) for image in owner], torch.from_numpy(owner)


def fed(written, references, owner, **settings) -> Metric:
    metric = Metric(Config(**{"num_resamples": 200, **settings}))
    metric.update(written_captions=written, reference_captions=references, text_owner=owner)
    return metric


def frequency_file(folder: Path, captions: Sequence[Sequence[str]]) -> dict[str, str]:
    """Settings that name a new file."""
    path = folder / "frequency.json"
    write_document_frequency(build_document_frequency(captions), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"document_frequency": str(path), "document_frequency_sha256": digest}


def by_image(written, references, owner) -> list[tuple[list[str], list[list[str]]]]:
    """Words of each written caption and of its references."""
    return [
        (tokenize(text), [tokenize(each) for each, one in zip(references, owner.tolist(), strict=True) if one == image])
        for image, text in enumerate(written)
    ]


def test_values_are_those_of_the_coco_evaluation() -> None:
    written, references, owner = data()
    metric = fed(written, references, owner)
    values, per_sample = metric.compute(), metric.per_sample()
    images = by_image(written, references, owner)
    given = {image: [" ".join(each) for each in texts] for image, (_, texts) in enumerate(images)}
    ours = {image: [" ".join(text)] for image, (text, _) in enumerate(images)}
    of_set, _ = Bleu(4).compute_score(given, ours, verbose=0)
    for key, expected in zip(BLEU_KEYS, of_set, strict=True):
        assert values[key].value == pytest.approx(expected, rel=1e-10)
    for key, scorer in (("rouge_l", Rouge()), ("cider_d_self", Cider())):
        mean, each = scorer.compute_score(given, ours)
        assert values[key].value == pytest.approx(mean, rel=1e-12)
        assert per_sample[key] == pytest.approx(each, rel=1e-12, abs=1e-12)
        assert values[key].low < values[key].value < values[key].high


def test_diversity_by_counting() -> None:
    written, references, owner = data()
    values = fed(written, references, owner).compute()
    texts = [tokenize(text) for text in written]
    words = [word for text in texts for word in text]
    pairs = {pair for text in texts for pair in itertools.pairwise(text)}
    assert values["vocabulary"].value == len(set(words))
    assert values["distinct_1"].value == pytest.approx(len(set(words)) / len(words))
    assert values["distinct_2"].value == pytest.approx(len(pairs) / len(words)), "over words, as in the paper"
    assert values["mean_length"].value == pytest.approx(len(words) / len(texts))


def test_copies_are_found_in_any_spelling() -> None:
    written = ["A dog!", "a cat", "the sun", ""] * 5
    references = ["a dog", "The sun.", "the moon", "..."] * 5
    metric = fed(written, references, torch.arange(20))
    per_sample = metric.per_sample()
    assert per_sample["verbatim_own"].tolist() == [1, 0, 0, 0] * 5
    assert per_sample["verbatim_other"].tolist() == [0, 0, 1, 0] * 5
    assert metric.compute()["verbatim_own"].higher_is_better
    assert not metric.compute()["verbatim_other"].higher_is_better


def test_a_constant_caption_has_no_diversity() -> None:
    _, references, owner = data()
    values = fed(["a man on a bench"] * 60, references, owner).compute()
    assert values["vocabulary"].value == 4
    assert values["distinct_1"].value == pytest.approx(4 / 300)
    assert values["verbatim_own"].value == 0 and values["verbatim_own"].high > 0.03, "none of 60 is not none of all"


def test_references_as_captions_reach_the_maximum() -> None:
    _, references, owner = data()
    one, longest = torch.arange(60), [references[int(torch.nonzero(owner == image)[0, 0])] for image in range(60)]
    values = fed(longest, longest, one).compute()
    assert all(values[key].value == pytest.approx(1) for key in (*BLEU_KEYS, "rouge_l", "verbatim_own"))
    assert values["cider_d_self"].value == pytest.approx(10)


def test_given_frequencies_make_values_of_other_test_sets_one_scale(tmp_path: Path) -> None:
    """The same images among others: CIDEr-D with given frequencies stays, with their own it does not."""
    written, references, owner = data()
    file = frequency_file(tmp_path, [[f"A man near a bench {number}.", "Two dogs."] for number in range(50)])
    part = owner < 30
    some = (written[:30], [text for text, kept in zip(references, part.tolist(), strict=True) if kept], owner[part])
    for settings, key, is_equal in ((file, "cider_d", True), ({}, "cider_d_self", False)):
        everything, rest = fed(written, references, owner, **settings), fed(*some, **settings)
        assert key in everything.compute() and ({"cider_d", "cider_d_self"} - {key}).isdisjoint(everything.compute())
        assert np.allclose(everything.per_sample()[key][:30], rest.per_sample()[key], rtol=1e-12) == is_equal


def test_given_frequencies_of_the_references_are_their_own(tmp_path: Path) -> None:
    written, references, owner = data()
    images = [
        [text for text, one in zip(references, owner.tolist(), strict=True) if one == image] for image in range(60)
    ]
    given = fed(written, references, owner, **frequency_file(tmp_path, images))
    own = fed(written, references, owner)
    assert given.per_sample()["cider_d"] == pytest.approx(own.per_sample()["cider_d_self"], rel=1e-12)


def test_protocol_names_the_frequencies(tmp_path: Path) -> None:
    written, references, owner = data(num_images=20)
    file = frequency_file(tmp_path, [["a man"], ["a dog"], ["a man on a bench"]])
    protocol = fed(written, references, owner, **file).protocol()
    assert protocol["document_frequency"] == "of 3 given images"
    assert len(str(protocol["document_frequency_sha256"])) == 64
    alone = fed(written, references, owner).protocol()
    assert alone["document_frequency"] == "of the 20 images evaluated"
    assert "document_frequency_sha256" not in alone


def test_a_file_of_frequencies_must_be_the_one_that_is_meant(tmp_path: Path) -> None:
    written, references, owner = data(num_images=20)
    file = frequency_file(tmp_path, [["a man"], ["a dog"]])
    Path(file["document_frequency"]).write_text(Path(file["document_frequency"]).read_text() + "\n")
    with pytest.raises(ValueError, match=r"document_frequency .*frequency.json has sha256 \w{64}, .* is \w{64}"):
        fed(written, references, owner, **file).compute()
    with pytest.raises(ValueError, match=r"document_frequency .*none.json does not exist"):
        fed(written, references, owner, **{**file, "document_frequency": str(tmp_path / "none.json")}).compute()
    for settings in ({"document_frequency": "some.json"}, {"document_frequency_sha256": "0" * 64}):
        with pytest.raises(ValueError, match="document_frequency goes with document_frequency_sha256"):
            Config(**settings)


def test_values_with_a_group_left_out_are_those_of_the_rest() -> None:
    written, references, owner = data()
    metric = fed(written, references, owner)
    left_out = metric.per_sample()
    for number in (0, 7):
        kept = np.flatnonzero(group_labels(60, 10, (0,)) != number)
        place = {image: row for row, image in enumerate(kept.tolist())}
        rest = [(text, place[image]) for text, image in zip(references, owner.tolist(), strict=True) if image in place]
        values = fed(
            [written[image] for image in kept], [text for text, _ in rest], torch.tensor([image for _, image in rest])
        ).compute()
        for key in (*BLEU_KEYS, *DIVERSITY_KEYS):
            assert left_out[f"{key}_leave_one_group_out"][number] == pytest.approx(values[key].value, rel=1e-12), key


def test_bleu_interval_is_that_of_resampled_captions() -> None:
    """Resampling the statistics of images is scoring resampled images."""
    written, references, owner = data(num_images=30)
    images = by_image(written, references, owner)
    rng, values = np.random.default_rng(0), []
    for _ in range(100):
        drawn = rng.integers(30, size=30).tolist()
        given = {row: [" ".join(each) for each in images[image][1]] for row, image in enumerate(drawn)}
        ours = {row: [" ".join(images[image][0])] for row, image in enumerate(drawn)}
        values.append(Bleu(4).compute_score(given, ours, verbose=0)[0][3])
    estimate = fed(written, references, owner, num_resamples=100).compute()["bleu_4"]
    assert (estimate.low, estimate.high) == pytest.approx(np.quantile(values, (0.025, 0.975)), rel=1e-8)


def test_a_better_model_is_told_from_a_worse_one() -> None:
    good, bad = (fed(*data(num_images=100, change=change)) for change in (0.2, 0.8))
    for key in ("bleu_4", "rouge_l", "cider_d_self"):
        assert good.compute()[key].low > bad.compute()[key].high, key
    left_out = [metric.per_sample()["bleu_4_leave_one_group_out"] for metric in (bad, good)]
    values = [metric.compute()["bleu_4"].value for metric in (bad, good)]
    paired = PairedJackknife((values[0], left_out[0]), (values[1], left_out[1]), n=100)
    assert paired.low > 0 and paired.p_value() < 1e-3


def test_batches_of_captions_and_references_need_not_belong_together() -> None:
    written, references, owner = data()
    expected = fed(written, references, owner)
    metric = Metric(Config(num_resamples=200))
    metric.update(written_captions=[], reference_captions=references[:100], text_owner=owner[:100])
    metric.update(written_captions=written[:59], reference_captions=[], text_owner=owner[:0])
    metric.update(written_captions=written[59:], reference_captions=references[100:], text_owner=owner[100:])
    assert metric.compute() == expected.compute()


def test_order_of_references_does_not_matter() -> None:
    written, references, owner = data()
    one, other = fed(written, references, owner), fed(written, references[::-1], owner.flip(0))
    for key, estimate in one.compute().items():
        assert other.compute()[key][:3] == pytest.approx(estimate[:3], rel=1e-12), key


@pytest.mark.parametrize("written", ["", " \n", "...", "\ud800", "😀"])
def test_captions_without_a_word_are_valid_and_bad(written: str) -> None:
    _, references, owner = data()
    values = fed([written] * 60, references, owner).compute()
    assert all(estimate.value == 0 for key, estimate in values.items())
    assert all(math.isfinite(number) for estimate in values.values() for number in estimate[:3])
    some = fed([*data()[0][:-1], written], references, owner).compute()
    assert some["rouge_l"].value > 0


def test_references_without_a_word_are_no_crash() -> None:
    values = fed(data()[0], ["!"] * 60, torch.arange(60)).compute()
    assert values["bleu_1"].value == values["rouge_l"].value == values["cider_d_self"].value == 0


def test_evidence_is_checked() -> None:
    written, references, owner = data(num_images=20)
    with pytest.raises(ValueError, match="every test image needs a reference, 1 of 21 have none"):
        fed([*written, "a dog"], references, owner).compute()
    with pytest.raises(AssertionError, match=r"text_owner must be in \[0, 19\)"):
        fed(written[:19], references, owner).compute()
    with pytest.raises(AssertionError, match=r"text_owner must be \[m\]"):
        fed(written, references, owner[1:])
    with pytest.raises(ValueError, match=r"num_groups must be at most half the number of samples \(2\)"):
        fed(["a dog", "a cat"], ["a dog", "a cat"], torch.arange(2)).compute()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"num_groups": 4}, "num_groups must be at least 5, got 4"), ({"seed": -1}, "seed must be at least 0")],
)
def test_settings_are_checked(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)
