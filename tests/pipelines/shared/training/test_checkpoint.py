import pytest
import torch
from torch import nn

from pipelines.shared.training.checkpoint import RESUME_FILE, TrainingState
from pipelines.shared.training.optim import MovingAverage


def state(seed: int) -> TrainingState:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    return TrainingState(model, {"main": torch.optim.AdamW(model.parameters())}, MovingAverage(model, 0.9))


def advanced(seed: int) -> TrainingState:
    made = state(seed)
    for _ in range(3):
        made.model(torch.randn(4, 3)).sum().backward()
        made.optimizers["main"].step()
        made.average.update(made.step)
        made.step += 1
        made.averages.add({"main": 0.1 * made.step})
    made.rows = [{"step": 1, "train/loss": 0.5}]
    made.seconds = 1.5
    return made


def test_round_trip_is_exact(tmp_path):
    first, second = advanced(0), state(1)
    first.save(tmp_path)
    second.resume(tmp_path)
    for name, value in first.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], value)
    for name, value in first.average.average.items():
        assert torch.equal(second.average.average[name], value)
    ours, theirs = (each.optimizers["main"].state_dict()["state"] for each in (first, second))
    assert all(torch.equal(ours[i][name], theirs[i][name]) for i in ours for name in ours[i])
    assert (second.step, second.rows, second.seconds) == (3, first.rows, 1.5)
    assert (second.averages.sums, second.averages.count) == (first.averages.sums, 3)


def test_no_file_is_a_new_run(tmp_path):
    fresh = state(0)
    fresh.resume(tmp_path)
    assert fresh.step == 0


def test_file_loads_without_running_code(tmp_path):
    advanced(0).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [RESUME_FILE]
    document = torch.load(tmp_path / RESUME_FILE, weights_only=True)
    assert document["step"] == 3


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    made = advanced(0)
    made.save(tmp_path)
    before = (tmp_path / RESUME_FILE).read_bytes()

    def half(document, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    made.step = 4
    with pytest.raises(OSError, match="disk full"):
        made.save(tmp_path)
    assert (tmp_path / RESUME_FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [RESUME_FILE]


def test_another_model_is_refused(tmp_path):
    advanced(0).save(tmp_path)
    model = nn.Linear(3, 2)
    other = TrainingState(model, {"main": torch.optim.AdamW(model.parameters())}, None)
    with pytest.raises(RuntimeError, match="Missing key"):
        other.resume(tmp_path)
