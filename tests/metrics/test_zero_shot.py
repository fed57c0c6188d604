"""Zero-shot classification against scikit-learn, torchmetrics and closed forms."""

import warnings

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score
from torchmetrics.functional.classification import multiclass_accuracy

from metrics.zero_shot import RECALL, Config, Metric


def data(num_images: int = 300, num_classes: int = 12, noise: float = 0.5, seed: int = 0):
    """Images near their classes, of which the first are frequent, and classes."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.nn.functional.normalize(torch.randn(num_classes, 16, generator=generator), dim=1)
    label = (num_classes * torch.rand(num_images, generator=generator) ** 2).long()
    images = classes[label] + noise * torch.randn(num_images, 16, generator=generator)
    return images, classes, label


def scored(images, classes, label, **settings) -> Metric:
    metric = Metric(Config(**settings))
    metric.update(image_embeddings=images, class_embeddings=classes, image_class=label)
    return metric


def values(metric: Metric) -> dict[str, float]:
    return {key: estimate.value for key, estimate in metric.compute().items()}


def test_scikit_learn_and_torchmetrics_agree():
    images, classes, label = data()
    ours = values(scored(images, classes, label))
    logits = torch.nn.functional.normalize(images, dim=1) @ classes.T
    for k in (1, 5):
        theirs = top_k_accuracy_score(label, logits, k=k, labels=range(12))
        assert ours[f"zero_shot_accuracy@{k}"] == pytest.approx(theirs)
    assert ours[RECALL] == pytest.approx(balanced_accuracy_score(label, logits.argmax(1)))
    assert ours[RECALL] == pytest.approx(multiclass_accuracy(logits, label, 12, average="macro").item())
    at_1 = ours["zero_shot_accuracy@1"]
    assert 0.3 < at_1 < 0.8 and abs(ours[RECALL] - at_1) > 0.005, "or the test says nothing"


def test_images_without_a_class_are_left_out():
    images, classes, label = data()
    unknown = torch.arange(len(label)) % 4 == 1
    metric = scored(images, classes, torch.where(unknown, -1, label))
    assert values(metric) == values(scored(images[~unknown], classes, label[~unknown]))
    assert (metric.protocol()["num_images"], metric.protocol()["num_left_out"]) == (225, 75)
    assert np.array_equal(metric.per_sample()["owner"], torch.nonzero(~unknown)[:, 0])


def test_classes_without_images_are_wrong_answers_and_no_part_of_the_mean():
    images, classes, label = data()
    more = torch.cat([classes, classes[:4] + 0.05])
    metric = scored(images, more, label)
    logits = torch.nn.functional.normalize(images, dim=1) @ torch.nn.functional.normalize(more, dim=1).T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that are predicted and never right
        assert values(metric)[RECALL] == pytest.approx(balanced_accuracy_score(label, logits.argmax(1)))
    assert values(metric)[RECALL] < values(scored(images, classes, label))[RECALL]
    assert (metric.protocol()["num_classes"], metric.protocol()["num_classes_with_images"]) == (16, 12)


def test_a_constant_model_scores_the_chance_level():
    _, _, label = data()
    metric = scored(torch.ones(300, 4), torch.ones(12, 4), label)
    for key, value in values(metric).items():
        assert value == pytest.approx(metric.protocol()[f"{key}_chance"])
    assert metric.protocol()["zero_shot_accuracy@5_chance"] == 5 / 12


def test_per_sample_values_are_what_is_averaged():
    images, classes, label = data()
    metric = scored(images, classes, label)
    for key, value in values(metric).items():
        assert metric.per_sample()[key].mean() == pytest.approx(value)
    rare = label == 11
    assert metric.per_sample()[RECALL][rare].max() > metric.per_sample()[RECALL][label == 0].max()


def test_intervals_have_the_spread_of_repeated_data():
    keys = ("zero_shot_accuracy@1", RECALL)
    drawn, widths = {key: [] for key in keys}, {key: [] for key in keys}
    for seed in range(120):
        generator = torch.Generator().manual_seed(seed)
        images, classes, label = data(seed=0, noise=0)
        images = images + 0.5 * torch.randn(images.shape, generator=generator)
        found = scored(images, classes, label, num_resamples=200).compute()
        for key in keys:
            drawn[key].append(found[key].value)
            widths[key].append((found[key].high - found[key].low) / 3.92)
    for key in keys:
        assert np.mean(widths[key]) == pytest.approx(np.std(drawn[key]), rel=0.2), key
    assert np.mean(widths[RECALL]) > 1.1 * np.mean(widths["zero_shot_accuracy@1"]), "rare classes weigh more"


def test_a_class_with_one_image_has_an_interval():
    """Resampled within its class it would always be itself."""
    images, classes, _ = data(noise=0)
    classes = torch.nn.functional.normalize(torch.randn(100, 16, generator=torch.Generator().manual_seed(1)), dim=1)
    label = torch.arange(100)
    images = classes[label].clone()
    images[:20] = -images[:20]
    found = scored(images, classes, label).compute()
    assert found[RECALL].value == pytest.approx(0.8)
    expected = binomtest(80, 100).proportion_ci()
    assert (found[RECALL].low, found[RECALL].high) == pytest.approx((expected.low, expected.high), abs=0.02)
    assert found[RECALL] == pytest.approx(found["zero_shot_accuracy@1"])


@pytest.mark.parametrize("sign", [1, -1])
def test_a_value_at_an_edge_has_an_exact_interval(sign):
    classes = torch.eye(6)
    label = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    found = scored(sign * classes[label] + 0.1, classes, label).compute()
    accuracy_at_1, recall = found["zero_shot_accuracy@1"], found[RECALL]
    assert accuracy_at_1.value == recall.value == (sign > 0)
    assert accuracy_at_1.high - accuracy_at_1.low == pytest.approx(1 - 0.025 ** (1 / 100))
    assert recall.high - recall.low == pytest.approx(1 - 0.025 ** (1 / 60)), "3 classes of at least 20"
    assert recall.interval == "exact"


def test_the_exact_interval_of_the_mean_over_classes_is_a_bound_for_any_failures():
    """No failures per class are more likely than 2.5% to stay unseen, whose mean is beyond the interval."""
    rng = np.random.default_rng(0)
    counts = np.array([50, 30, 20])
    bound = 1 - 0.025 ** (1 / (3 * counts.min()))
    for failures in rng.dirichlet(np.full(3, 0.5), size=2000) * 3 * bound * 1.0001:
        if (failures < 1).all():
            assert np.prod((1 - failures) ** counts) <= 0.025


def test_evidence_is_checked():
    images, classes, label = data()
    with pytest.raises(ValueError, match="none of the 300 images has a class"):
        scored(images, classes, torch.full((300,), -1)).compute()
    with pytest.raises(ValueError, match="accuracy at 5 needs more than 5 classes, got 5"):
        scored(images, classes[:5], label % 5).compute()
    with pytest.raises(AssertionError, match=r"image_class must be in \[-1, 12\)"):
        scored(images, classes, label + 1).compute()
    with pytest.raises(AssertionError, match=r"image_class must be \[n\]"):
        scored(images, classes, label[:-1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accuracy_at": (5, 1)}, "accuracy_at must be ascending"),
        ({"accuracy_at": ()}, "accuracy_at must be ascending"),
        ({"num_resamples": 1}, "num_resamples must be at least 100"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(**settings)
