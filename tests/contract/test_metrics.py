"""What every metric must do, for every module in the folder."""

import importlib
import pickle
import pkgutil
import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import fields

import numpy as np
import pytest
import torch
import torchmetrics

import metrics
from metrics.shared.detectors import DetectorSpec
from metrics.shared.estimates import Estimate
from metrics.shared.evidence import NEEDS

NAMES = sorted(module.name for module in pkgutil.iter_modules(metrics.__path__) if not module.ispkg)
NUM_SAMPLES, NUM_CAPTIONS, NUM_PAIRS, NUM_CLASSES, WIDTH, SIDE_PX = 200, 400, 300, 10, 16, 16
PLAIN = (str, int, float, bool, tuple, dict)


@pytest.fixture(autouse=True)
def _one_thread():
    """Small matrices are slower on two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=NAMES)
def plugin(request):
    return importlib.import_module(f"metrics.{request.param}")


def evidence(metric: torchmetrics.Metric) -> dict[str, torch.Tensor | list[str]]:
    """Every kind of evidence, for 200 samples with two captions each, 300 pairs and 10 classes."""
    generator = torch.Generator().manual_seed(0)
    detector = getattr(metric, "detector", None)
    num_features = detector.num_features if detector else 1

    def rows(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    def pictures() -> torch.Tensor:
        return torch.randint(0, 256, (NUM_SAMPLES, 3, SIDE_PX, SIDE_PX), dtype=torch.uint8, generator=generator)

    def texts(count: int) -> list[str]:
        words = ["red", "green", "heart", "face", "cat", "dog", "with", "a", "smiling", "and"]
        rows = torch.randint(0, len(words), (count, 6), generator=generator).tolist()
        return [" ".join(words[word] for word in row[: 3 + index % 4]) for index, row in enumerate(rows)]

    everything = {
        "image_embeddings": rows(NUM_SAMPLES, WIDTH),
        "video_embeddings": rows(NUM_SAMPLES, WIDTH),
        "text_embeddings": rows(NUM_CAPTIONS, WIDTH),
        "text_owner": torch.arange(NUM_CAPTIONS) // 2,
        "images": pictures(),
        "reconstructions": pictures(),
        "pair_image_embeddings": rows(NUM_PAIRS, WIDTH),
        "pair_text_embeddings": rows(NUM_PAIRS, WIDTH),
        "pair_owner": torch.arange(NUM_PAIRS) // 3,
        "reference_features": rows(NUM_SAMPLES, num_features),
        "generated_features": rows(NUM_SAMPLES, num_features),
        "train_features": rows(NUM_PAIRS, num_features),
        "written_captions": texts(NUM_SAMPLES),
        "reference_captions": texts(NUM_CAPTIONS),
        "reference_text_embeddings": rows(NUM_CAPTIONS, WIDTH),
        "class_embeddings": rows(NUM_CLASSES, WIDTH),
        "image_class": torch.arange(NUM_SAMPLES) % (NUM_CLASSES + 1) - 1,
        "log_likelihoods": rows(NUM_SAMPLES).double() * 30 - 2000,
        "num_values": torch.full((NUM_SAMPLES,), 768),
        "codes": torch.randint(0, 64, (NUM_SAMPLES, 16), generator=generator),
        "codebook_size": torch.tensor([64]),
    }
    assert set(everything) == set(NEEDS)
    return {name: everything[name] for name in metric.inputs}


def split(rows: torch.Tensor | list[str], num_batches: int) -> Sequence[torch.Tensor | list[str]]:
    if isinstance(rows, torch.Tensor):
        return rows.tensor_split(num_batches)
    places = torch.arange(len(rows)).tensor_split(num_batches)
    return [[rows[place] for place in part] for part in places]


def fed(metric: torchmetrics.Metric, num_batches: int = 1) -> torchmetrics.Metric:
    chunks = {name: split(rows, num_batches) for name, rows in evidence(metric).items()}
    for batch in range(num_batches):
        metric.update(**{name: parts[batch] for name, parts in chunks.items()})
    return metric


@pytest.fixture
def metric(plugin):
    return plugin.Metric(plugin.Config())


def test_there_are_metrics():
    assert {"clip_score", "fid", "reconstruction", "retrieval"} <= set(NAMES)


def test_module_says_what_it_is_and_from_where(plugin):
    assert re.search(r"^Sources?: .*(19|20)\d\d", plugin.__doc__, flags=re.MULTILINE), "a source with its year"
    assert plugin.Metric.__doc__ and plugin.Config.__doc__


def test_config_is_frozen_and_plain(plugin):
    config = plugin.Config()
    assert plugin.Config.__dataclass_params__.frozen
    for field in fields(config):
        assert field.kw_only
        assert isinstance(getattr(config, field.name), PLAIN), field.name
    assert config.seed == 0, "every metric has a seed"


def test_inputs_are_known_evidence(metric):
    assert isinstance(metric, torchmetrics.Metric)
    assert set(metric.inputs) <= set(NEEDS)
    if any(name.endswith("_features") for name in metric.inputs):
        assert isinstance(metric.detector, DetectorSpec)


def test_a_metric_is_cheap_to_hold(metric):
    """No network inside: many are made, copied and sent to other processes."""
    assert not list(metric.children())
    assert len(pickle.dumps(metric)) < 20_000


def test_results_have_their_form(metric):
    fed(metric)
    for key, estimate in metric.compute().items():
        assert isinstance(estimate, Estimate)
        assert re.fullmatch(r"[a-z0-9@_-]+", key)
        assert np.isfinite([estimate.value, estimate.low, estimate.high]).all()
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.n >= 100
        assert estimate.interval in {"bootstrap", "jackknife", "exact"}
    assert all(values.ndim == 1 and len(values) for values in metric.per_sample().values())
    assert all(isinstance(value, str | int | float) for value in metric.protocol().values())
    assert metric.protocol()["seed"] == 0
    assert "estimator" in metric.protocol()


def test_same_seed_same_result_for_any_batching(plugin, metric):
    fed(metric)
    again = fed(plugin.Metric(plugin.Config()), num_batches=7)
    assert again.compute() == metric.compute()
    assert again.protocol() == metric.protocol()
    for name, values in metric.per_sample().items():
        assert np.array_equal(values, again.per_sample()[name]), name


def test_another_seed_is_another_interval(plugin, metric):
    other = fed(plugin.Metric(plugin.Config(seed=1)))
    assert other.protocol() != fed(metric).protocol()
    assert any(other.compute()[key].low != estimate.low for key, estimate in metric.compute().items())


def test_copies_and_pickles_keep_the_evidence(metric):
    fed(metric)
    for copy in (deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert copy.compute() == metric.compute()


def test_reset_forgets_the_evidence(metric):
    fed(metric)
    expected = metric.compute()
    metric.reset()
    fed(metric)
    assert metric.compute() == expected


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_no_evidence_is_a_users_error(metric):
    with pytest.raises(ValueError, match="were given, a score needs some"):
        metric.compute()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_an_error_and_no_score(plugin, wrong):
    for name, rows in evidence(plugin.Metric(plugin.Config())).items():
        if isinstance(rows, torch.Tensor) and rows.is_floating_point():
            metric, given = plugin.Metric(plugin.Config()), evidence(plugin.Metric(plugin.Config()))
            given[name] = rows.clone()
            given[name].view(-1)[3] = wrong
            with pytest.raises((AssertionError, ValueError), match=r"finite|log-likelihood"):
                metric.update(**given)
                metric.compute()


@pytest.mark.filterwarnings("ignore")
def test_equal_rows_give_finite_scores_or_an_error(plugin):
    """Every picture, vector and text is the same one."""
    metric, given = plugin.Metric(plugin.Config()), evidence(plugin.Metric(plugin.Config()))
    for name, rows in given.items():
        if not name.endswith(("owner", "class", "size")):
            given[name] = [rows[0]] * len(rows) if isinstance(rows, list) else rows[:1].expand_as(rows).clone()
    try:
        metric.update(**given)
        scores = metric.compute()
    except ValueError:
        return
    for estimate in scores.values():
        assert torch.isfinite(torch.tensor([estimate.value, estimate.low, estimate.high])).all()
