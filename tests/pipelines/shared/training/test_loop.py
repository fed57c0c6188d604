import math
import os
import signal

import pytest
import torch

from pipelines.shared.training.checkpoint import RESUME_FILE
from pipelines.shared.training.data import TrainLoader
from pipelines.shared.training.distributed import World
from pipelines.shared.training.gradients import Stepper
from pipelines.shared.training.loop import fit, uses_bfloat16
from pipelines.shared.training.settings import TrainingSettings


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def kill_after(job, step):
    """Ends the run without warning while it computes the gradients of the step after `step`."""
    real = Stepper.gradients

    def dying(self, batches, now):
        if now == step:
            raise Killed
        return real(self, batches, now)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Stepper, "gradients", dying)
        fit(job)


def bits(state):
    """All that a run leaves: weights, average, optimizer states, history."""
    tensors = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    if state.average:
        tensors |= {f"average.{name}": value for name, value in state.average.average.items()}
    for name, optimizer in state.optimizers.items():
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{key}": value for key, value in values.items()}
    return {name: value.clone() for name, value in tensors.items()}, list(state.rows)


def assert_same(first, second):
    assert first[1] == second[1]
    assert set(first[0]) == set(second[0])
    for name, value in first[0].items():
        assert torch.equal(value, second[0][name]), name


@pytest.mark.parametrize(
    ("module", "settings"),
    [
        ("fake_plain", {"ema": 0.9, "flip": True}),
        ("fake_plain", {"accumulation": 2, "precision": "bfloat16"}),
        ("fake_contrastive", {"accumulation": 2}),
        ("fake_gan", {"captions": {}}),
    ],
)
def test_resume_at_every_step_is_exact(make_job, module, settings):
    settings = {**settings, "steps": 6}
    straight = bits(fit(make_job(module, folder="straight", **settings)))
    for step in range(1, 6):
        kill_after(make_job(module, folder=f"k{step}", checkpoint_every_sec=0.0, **settings), step)
        assert_same(bits(fit(make_job(module, folder=f"k{step}", **settings))), straight)


def test_resume_loses_only_what_was_not_saved(make_job):
    kill_after(make_job("fake_plain", folder="k", checkpoint_every_sec=1e9), 5)
    straight = bits(fit(make_job("fake_plain", folder="straight")))
    assert_same(bits(fit(make_job("fake_plain", folder="k"))), straight)


def test_a_finished_run_is_not_trained_again(make_job, monkeypatch):
    first = bits(fit(make_job("fake_plain")))
    monkeypatch.setattr(Stepper, "gradients", lambda *_: pytest.fail("trained again"))
    assert_same(bits(fit(make_job("fake_plain"))), first)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops(make_job, monkeypatch, number):
    job = make_job("fake_plain", folder="stopped", checkpoint_every_sec=1e9)
    real = Stepper.gradients

    def signalled(self, batches, step):
        if step == 2:
            os.kill(os.getpid(), number)
        return real(self, batches, step)

    monkeypatch.setattr(Stepper, "gradients", signalled)
    with pytest.raises(KeyboardInterrupt):
        fit(job)
    monkeypatch.setattr(Stepper, "gradients", real)
    assert torch.load(job.folder / RESUME_FILE, weights_only=True)["step"] == 3
    straight = bits(fit(make_job("fake_plain", folder="straight")))
    assert_same(bits(fit(make_job("fake_plain", folder="stopped"))), straight)


def test_workers_and_cache_change_nothing(make_job):
    straight = bits(fit(make_job("fake_plain", folder="straight")))
    decoding = make_job("fake_plain", folder="decoding", num_workers=2, pixel_cache_bytes=0)
    assert_same(bits(fit(decoding)), straight)


def test_nan_names_the_step_and_keeps_the_last_good_state(make_job):
    job = make_job("fake_plain", config={"nan_at_step": 4}, checkpoint_every_sec=0.0)
    with pytest.raises(ValueError, match=r"train tested: main is nan at step 5; a lower learning_rate"):
        fit(job)
    document = torch.load(job.folder / RESUME_FILE, weights_only=True)
    assert document["step"] == 4
    assert all(torch.isfinite(value).all() for value in document["model"].values())


def test_rows(make_job):
    state = fit(make_job("fake_plain"))
    assert [row["step"] for row in state.rows] == [3, 4, 6, 8]
    assert [row["num_samples"] for row in state.rows] == [24, 32, 48, 64]
    assert ["val/loss" in row for row in state.rows] == [False, True, False, True]
    assert {"train/loss", "train/length", "train/grad_norm", "learning_rate"} <= set(state.rows[0])
    assert all(math.isfinite(value) for row in state.rows for value in row.values())


def test_validation_is_of_the_average_and_leaves_no_trace(make_job):
    with_validation = fit(make_job("fake_plain", folder="a", ema=0.9))
    without = fit(make_job("fake_plain", folder="b", ema=0.9, validate_every=0))
    for name, value in with_validation.model.state_dict().items():
        assert torch.equal(value, without.model.state_dict()[name])
    raw = fit(make_job("fake_plain", folder="c"))
    assert raw.rows[-1]["train/loss"] == with_validation.rows[-1]["train/loss"]
    assert raw.rows[-1]["val/loss"] != with_validation.rows[-1]["val/loss"]


def test_validation_loss_is_the_mean_over_samples(make_job):
    job = make_job("fake_plain", learning_rate=1e-9, weight_decay=0.0)
    state = fit(job)
    (batch,) = job.validation.parts(0, 7)
    losses = Stepper(model=job.model.eval(), groups={"main": []}, world=job.world, seed=job.seed).losses([batch], 0)
    assert state.rows[-1]["val/loss"] == pytest.approx(float(losses["main"]), rel=1e-5)
    assert state.rows[-1]["val/length"] == pytest.approx(sum(map(len, batch["caption"])) / len(batch["caption"]))


def test_training_lowers_the_loss(make_job):
    state = fit(make_job("fake_contrastive", steps=60, learning_rate=0.05, log_every=10, config={"dropout": 0.0}))
    assert state.rows[-1]["train/loss"] < 0.5 * state.rows[0]["train/loss"]


def test_groups_are_logged_apart(make_job):
    row = fit(make_job("fake_gan", captions={})).rows[0]
    assert {"train/generator/loss", "train/discriminator/loss", "train/generator/grad_norm"} <= set(row)


@pytest.mark.parametrize("accumulation", [2, 4])
def test_contrastive_accumulation_equals_the_big_batch(make_job, accumulation, monkeypatch):
    """No noise, no dropout: then the number of micro-batches must not matter."""
    monkeypatch.setattr(torch, "randn", lambda shape, **_: torch.zeros(shape))
    config = {"dropout": 0.0}
    whole = fit(make_job("fake_contrastive", folder="whole", config=config))
    parts = fit(make_job("fake_contrastive", folder="parts", config=config, accumulation=accumulation))
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    for one, two in zip(whole.rows, parts.rows, strict=True):
        assert two == pytest.approx(one, rel=1e-4)


def test_clips(make_job):
    state = fit(make_job("fake_video", pack="clips", batch_size=4, steps=3))
    assert state.rows[-1]["train/loss"] > 0


def test_frozen_features_stand_in_for_pixels(make_job):
    job = make_job("fake_frozen")
    (batch,) = list(job.train.batches(0, 1))
    assert set(batch) == {"image_feature", "text_feature", "caption"}
    type(job.model).calls.clear()
    fit(job)
    assert type(job.model).calls == []


def test_batches_of_a_job_start_where_it_resumes(make_job, monkeypatch):
    job = make_job("fake_plain", checkpoint_every_sec=0.0)
    kill_after(job, 5)
    started = []
    real = TrainLoader.batches
    monkeypatch.setattr(
        TrainLoader, "batches", lambda self, first, stop: started.append((first, stop)) or real(self, first, stop)
    )
    fit(make_job("fake_plain"))
    assert started == [(5, 8)]


@pytest.mark.parametrize(
    ("precision", "device", "expected"),
    [
        ("auto", "cpu", False),
        ("auto", "cuda", True),
        ("float32", "cuda", False),
        ("bfloat16", "cpu", True),
    ],
)
def test_precision(precision, device, expected):
    settings = TrainingSettings(steps=1, batch_size=1, learning_rate=1.0, precision=precision)
    assert uses_bfloat16(settings, torch.device(device)) == expected


def test_bar_shows_loss_and_time_left(make_job, capsys):
    state = fit(make_job("fake_plain", log_every=1))
    bar = capsys.readouterr().err.split("\r")[-1]
    assert "train tested: 100%" in bar
    assert "8/8" in bar
    assert f"loss {state.rows[-1]['train/loss']:.4g}" in bar


def test_other_processes_show_and_write_nothing(make_job, capsys, monkeypatch):
    monkeypatch.setattr(World, "is_first", False)
    job = make_job("fake_plain")
    capsys.readouterr()
    monkeypatch.setattr(World, "wait", lambda self: None)
    fit(job)
    assert "train tested" not in capsys.readouterr().err
    assert list(job.folder.iterdir()) == []
