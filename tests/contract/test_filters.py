"""What every filter must do, for every module in the folder."""

import importlib
import pickle
from dataclasses import fields

import numpy as np
import pytest

from pipelines.filters import Fitting
from pipelines.shared.files import digest_file
from pipelines.shared.params import plugin_names
from pipelines.shared.records import REASON
from tests.contract.hostile import HALVES, TEXTS

NAMES = plugin_names("pipelines.filters")
# settings of a module whose Config has fields without a default; a new one states its own here
SETTINGS = {
    "caption_patterns": {"patterns": ("^a",)},
    "combination": {
        "keep": "any",
        "rules": {
            "frequent": {"module": "max_caption_count", "max_count": 45},
            "none": {
                "module": "combination",
                "keep": "none",
                "rules": {"few": {"module": "min_words", "min_words": 9}},
            },
        },
    },
    "known_word": {"file": "words.txt"},
    "language": {"languages": ("en",), "min_confidence": 0.5},
    "listed": {"column": "num_frames", "values": tuple(range(50))},
    "listed_words": {"file": "words.txt", "max_frac": 0.4},
    "max_aspect": {"max_aspect": 2.0},
    "max_caption_count": {"max_count": 45},
    "min_side": {"min_side_px": 50},
    "min_words": {"min_words": 2},
    "score_threshold": {"column": "entropy_bits", "top_frac": 0.5},
}
ROWS = 200


@pytest.fixture(params=NAMES)
def module(request):
    return importlib.import_module(f"pipelines.filters.{request.param}")


@pytest.fixture
def rule(module, tmp_path):
    settings = {**SETTINGS.get(module.__name__.rpartition(".")[2], {})}
    if "file" in settings:
        path = tmp_path / settings["file"]
        path.write_text("fox\nowl\n")
        settings |= {"file": str(path), "sha256": digest_file(path)}
    filter_ = module.Filter(module.Config(**settings))
    if isinstance(filter_, Fitting) and not filter_.is_fitted:
        filter_ = filter_.fitted(columns(filter_))
    return filter_


def columns(rule):
    rng = np.random.default_rng(0)
    texts = {"caption_text": ["a fox", "an owl", "the hen", ""], "caption_language": ["en", "de"]}
    return {
        name: rng.choice(np.array(texts[name], dtype=object), ROWS) if name in texts else rng.integers(0, 100, ROWS)
        for name in rule.columns
    }


def test_module(module):
    assert module.__doc__ and module.Config.__doc__ and module.Filter.__doc__
    assert module.Config.__dataclass_params__.frozen
    assert all(field.kw_only for field in fields(module.Config))


def test_what_the_stage_needs(rule):
    assert rule.scope in ("sample", "caption")
    assert rule.columns and all(isinstance(name, str) for name in rule.columns)
    assert REASON.fullmatch(rule.reason) and ":" not in rule.reason


def test_keep_is_a_bool_per_row_and_both_happen(rule):
    keep = rule.keep(columns(rule))
    assert keep.dtype == bool and keep.shape == (ROWS,)
    assert 0 < keep.sum() < ROWS


def test_a_row_depends_on_itself_alone_and_nothing_is_changed(rule):
    given = columns(rule)
    before = {name: values.copy() for name, values in given.items()}
    keep = rule.keep(given)
    assert all((given[name] == before[name]).all() for name in given)
    halves = [
        rule.keep({name: values[half] for name, values in given.items()}) for half in (slice(90), slice(90, None))
    ]
    assert np.concatenate(halves).tolist() == keep.tolist()
    assert rule.keep({name: values[::-1] for name, values in given.items()})[::-1].tolist() == keep.tolist()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_hostile_values_raise_nothing_and_change_no_other_row(rule):
    given = columns(rule)
    texts = [*TEXTS.values(), *HALVES.values()]
    numbers = [np.nan, 0.0, -1.0, 1e15]
    if "num_frames" not in rule.columns:  # whole numbers in every crawl
        numbers += [np.inf, -np.inf, 1e308, -1e308, 5e-324]
    broken = {}
    for name, values in given.items():
        broken[name] = values.copy() if values.dtype == object else values.astype(np.float64)
        wrong = texts if values.dtype == object else numbers
        broken[name][: len(texts)] = [wrong[row % len(wrong)] for row in range(len(texts))]
    found = rule.keep(broken)
    assert found.dtype == bool and found.shape == (ROWS,)
    assert found[len(texts) :].tolist() == rule.keep(given)[len(texts) :].tolist()


def test_no_rows(rule):
    assert rule.keep({name: values[:0] for name, values in columns(rule).items()}).shape == (0,)


def test_it_can_be_sent_to_a_worker(rule):
    again = pickle.loads(pickle.dumps(rule))
    assert again.keep(columns(rule)).tolist() == rule.keep(columns(rule)).tolist()
