"""Every metric on values that are not finite, rows that are all alike, one sample, and owners that are too few.

It says so by an error, or gives numbers: never NaN.
"""

import importlib

import numpy as np
import pytest
import torch
import torchmetrics

from tests.contract.test_metrics import NAMES, evidence

OF_CAPTIONS = ("text_embeddings", "text_owner", "reference_captions", "reference_text_embeddings")
OF_PAIRS = ("pair_image_embeddings", "pair_text_embeddings", "pair_owner", "train_features")


@pytest.fixture(params=NAMES)
def metric(request: pytest.FixtureRequest) -> torchmetrics.Metric:
    plugin = importlib.import_module(f"metrics.{request.param}")
    return plugin.Metric(plugin.Config())


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small matrices are slower on two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scores(metric: torchmetrics.Metric, rows: dict) -> dict[str, tuple[float, float, float]] | str:
    """Value and interval of each score, or what was said against the rows."""
    try:
        metric.reset()
        metric.update(**rows)
        return {name: (each.value, each.low, each.high) for name, each in metric.compute().items()}
    except (ValueError, AssertionError) as error:
        assert str(error), "it says what is wrong"
        return str(error)


def is_honest(found: dict[str, tuple[float, float, float]] | str) -> bool:
    return isinstance(found, str) or bool(np.isfinite([value for each in found.values() for value in each]).all())


def test_values_that_are_not_finite_are_refused(metric: torchmetrics.Metric) -> None:
    rows = evidence(metric)
    for name in [name for name, each in rows.items() if isinstance(each, torch.Tensor) and each.is_floating_point()]:
        spoilt = rows[name].clone()
        spoilt.view(-1)[-1] = float("nan")
        found = scores(metric, {**rows, name: spoilt})
        assert isinstance(found, str), f"{name}: {found}"


def test_rows_that_are_all_alike(metric: torchmetrics.Metric) -> None:
    rows = {}
    for name, each in evidence(metric).items():
        if isinstance(each, list):
            rows[name] = [each[0]] * len(each)
        elif name.endswith("_owner") or name in ("image_class", "codebook_size"):
            rows[name] = each
        else:
            count = 20 if name in ("images", "reconstructions") else len(each)  # enough of the slow ones
            rows[name] = each[:1].repeat(count, *[1] * (each.ndim - 1))
    assert is_honest(scores(metric, rows))


def test_one_sample(metric: torchmetrics.Metric) -> None:
    rows = {}
    for name, each in evidence(metric).items():
        count = 2 if name in OF_CAPTIONS else 3 if name in OF_PAIRS else 1
        rows[name] = each if name in ("class_embeddings", "codebook_size") else each[:count]
    assert is_honest(scores(metric, rows))


def test_owners_that_are_too_few(metric: torchmetrics.Metric) -> None:
    rows = evidence(metric)
    for name in [name for name in rows if name.endswith("_owner")]:
        assert isinstance(scores(metric, {**rows, name: rows[name][:-1]}), str), name
