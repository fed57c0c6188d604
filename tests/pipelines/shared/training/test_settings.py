import pytest

from pipelines.shared.stage import StageRun
from pipelines.shared.training.settings import ModelEntry, TrainingSettings, read_plan

VALID = {"steps": 10, "batch_size": 8, "learning_rate": 0.1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", -1),
        ("batch_size", 0),
        ("batch_size", 9),
        ("learning_rate", 0.0),
        ("warmup_steps", 11),
        ("warmup_steps", -1),
        ("final_learning_rate_frac", 1.5),
        ("weight_decay", -0.1),
        ("betas", (0.9, 1.0)),
        ("epsilon", 0.0),
        ("grad_clip", -1.0),
        ("ema", 1.0),
        ("log_every", 0),
        ("validate_every", -1),
        ("num_workers", -1),
        ("pixel_cache_bytes", -1),
        ("checkpoint_every_sec", -1.0),
    ],
)
def test_ranges(name, value):
    with pytest.raises(ValueError, match=rf"training\.{name} must be .*, got"):
        TrainingSettings(**{**VALID, "accumulation": 2, name: value})


def test_a_run_without_training_needs_nothing_else():
    assert TrainingSettings(steps=0).steps == 0
    for name in ("batch_size", "learning_rate"):
        with pytest.raises(ValueError, match=rf"training\.{name} must be .*, got 0"):
            TrainingSettings(**{key: value for key, value in VALID.items() if key != name})


def test_execution_settings_do_not_decide():
    plain = TrainingSettings(**VALID)
    moved = TrainingSettings(**VALID, num_workers=3, checkpoint_every_sec=1.0, pixel_cache_bytes=0, device="cpu")
    assert plain.deciding() == moved.deciding()
    assert plain.deciding() != TrainingSettings(**VALID, ema=0.5).deciding()


@pytest.mark.parametrize(("captions", "message"), [({"webb": 1}, "did you mean web"), ({"web": 0}, "more than 0")])
def test_captions(captions, message):
    with pytest.raises(ValueError, match=message):
        ModelEntry(pack="p", training=TrainingSettings(**VALID), captions=captions)


def test_plan(fake_plugins, params):
    plan = read_plan(params("fake_plain", config={"width": 5}), "tested")
    assert (plan.module_name, plan.config.width, plan.base_role) == ("fake_plain", 5, "")
    assert plan.where == "models.tested"
    assert plan.entry.captions == {"web": 1, "human": 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": {**VALID, "stepz": 1}}, r"models\.tested\.training\.stepz is not a setting .*steps"),
        ({"widht": 1}, r"models\.tested\.widht is not a setting .*width"),
        ({"module": "fake_plan"}, "did you mean fake_plain"),
        ({"base": "other"}, "fake_plain builds on no run"),
    ],
)
def test_wrong_entries_are_refused(fake_plugins, params, change, message):
    wrong = params("fake_plain")
    wrong["models"]["tested"] |= change
    with pytest.raises(ValueError, match=message):
        read_plan(wrong, "tested")


def test_key_must_be_in_one_section(fake_plugins, params):
    both = params("fake_plain")
    both["stacked"] = dict(both["models"])
    with pytest.raises(ValueError, match="stands in models and in stacked"):
        read_plan(both, "tested")
    with pytest.raises(ValueError, match=r"testd does not exist .*did you mean tested"):
        read_plan(params("fake_plain"), "testd")


def test_seed_of_a_run_is_part_of_the_plan(fake_plugins, params):
    run = StageRun(stage="train", key="tested", params=params("fake_plain", seed=4))
    assert read_plan(run.params, run.key).entry.training.seed == 4
