"""The Vendi score against closed forms, its own package, and a simulation of the interval."""

import numpy as np
import pytest
import torch
from vendi_score import vendi

from metrics.shared.bootstrap import group_labels, jackknife
from metrics.vendi import Config, Metric, chosen, vendi_jackknife

GENERATED, REFERENCE = "vendi_random-vgg", "vendi_reference_random-vgg"


def rows(num_rows: int, seed: int, width: int = 64) -> torch.Tensor:
    return torch.randn(num_rows, width, generator=torch.Generator().manual_seed(seed))


def scored(reference: torch.Tensor, generated: torch.Tensor, **settings) -> Metric:
    metric = Metric(Config(detector="random-vgg", **settings))
    metric.update(reference_features=reference, generated_features=generated)
    return metric


def score(features: torch.Tensor) -> float:
    return vendi_jackknife(features, 5, (0, 0))[0]


@pytest.mark.parametrize(("num_rows", "width"), [(40, 64), (64, 64), (100, 16)])
def test_equal_to_the_definition_on_either_side(num_rows, width):
    """By the eigenvalues of the whole n x n matrix, whichever of the two is smaller."""
    features = rows(num_rows, 0, width).double()
    unit = (features / features.norm(dim=1, keepdim=True)).numpy()
    eigenvalues = np.linalg.eigvalsh(unit @ unit.T / num_rows)
    eigenvalues = eigenvalues[eigenvalues > 1e-12]
    assert score(features) == pytest.approx(np.exp(-(eigenvalues * np.log(eigenvalues)).sum()), rel=1e-9)


@pytest.mark.parametrize(("num_rows", "width"), [(40, 64), (100, 16)])
def test_equal_to_the_package(num_rows, width):
    features = rows(num_rows, 0, width).double()
    assert score(features) == pytest.approx(vendi.score_dual(features.numpy()), rel=1e-9)


def test_closed_forms():
    """All alike: 1. All orthogonal: n. Kinds of equal size: their number. Two of shares p: exp of the entropy of p."""
    directions = torch.eye(64)
    assert score(torch.ones(30, 64) * torch.linspace(1, 5, 30)[:, None]) == pytest.approx(1, abs=1e-6)
    assert score(directions) == pytest.approx(64)
    assert score(directions[torch.arange(40) % 4]) == pytest.approx(4)
    shares = np.array([0.3, 0.7])
    assert score(directions[(torch.arange(100) >= 30).long()]) == pytest.approx(
        np.exp(-(shares * np.log(shares)).sum())
    )


@pytest.mark.parametrize("width", [16, 64])
def test_each_group_left_out_is_a_new_computation(width):
    features = rows(50, 0, width)
    _, left_out = vendi_jackknife(features, 5, (3, 1))
    labels = torch.from_numpy(group_labels(50, 5, (3, 1)))
    for group in range(5):
        assert left_out[group] == pytest.approx(score(features[labels != group]), rel=1e-9)


@pytest.mark.parametrize("width", [8, 64])
def test_interval_holds_the_expected_value(width):
    results = [jackknife(*vendi_jackknife(rows(60, seed, width) + 0.3, 10, (seed, 0))) for seed in range(80)]
    truth = np.mean([each.value for each in results])
    assert sum(abs(each.value - truth) <= each.half_width for each in results) >= 69  # 76 expected


def test_both_are_of_equally_many_images():
    """The score grows with the number of images: 60 of a distribution are not less varied than 300 of it."""
    reference, generated = rows(60, 0), rows(300, 1)
    metric = scored(reference, generated)
    estimates = metric.compute()
    assert {estimate.n for estimate in estimates.values()} == {60}
    assert metric.protocol()["num_compared"] == 60
    assert estimates[GENERATED].value == pytest.approx(estimates[REFERENCE].value, rel=0.05)
    assert score(generated) > 1.3 * estimates[GENERATED].value


def test_which_set_is_generated():
    kinds = torch.eye(64)
    estimates = scored(kinds[torch.arange(60) % 6], kinds[torch.arange(60) % 2]).compute()
    assert estimates[REFERENCE].value == pytest.approx(6)
    assert estimates[GENERATED].value == pytest.approx(2)


def test_the_choice_is_seeded_and_keeps_the_order():
    numbers = torch.arange(100.0)[:, None]
    picked = chosen(numbers, 30, (0, 1))[:, 0]
    assert torch.equal(picked, picked.sort().values)
    assert len(set(picked.tolist())) == 30
    assert torch.equal(picked, chosen(numbers, 30, (0, 1))[:, 0])
    assert not torch.equal(picked, chosen(numbers, 30, (1, 1))[:, 0])
    assert torch.equal(chosen(numbers, 100, (0, 1)), numbers)


def test_left_out_values_make_the_intervals_and_batches_may_be_empty():
    reference, generated = rows(40, 0), rows(50, 1)
    metric = scored(reference, generated)
    for key, estimate in metric.compute().items():
        left_out = metric.per_sample()[f"{key}_leave_one_group_out"]
        assert estimate.high - estimate.value == pytest.approx(jackknife(estimate.value, left_out).half_width)
    parts = Metric(Config(detector="random-vgg"))
    parts.update(reference_features=reference[:0], generated_features=generated[:20])
    parts.update(reference_features=reference, generated_features=generated[20:])
    assert parts.compute() == metric.compute()
