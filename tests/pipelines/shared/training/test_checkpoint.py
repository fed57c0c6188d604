import pickle
import re

import pytest
import torch
from torch import nn

from pipelines.shared.training.checkpoint import RESUME_FILE, TrainingState, state_digest
from pipelines.shared.training.optim import MovingAverage
from tests.models.weight_files import Payload


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


def test_every_flip_and_cut_is_refused_with_what_to_do(tmp_path):
    advanced(0).save(tmp_path)
    path = tmp_path / RESUME_FILE
    whole = path.read_bytes()
    wrong = [whole[:length] for length in range(0, len(whole), len(whole) // 12)]
    wrong += [b"", pickle.dumps({"step": Payload(tmp_path / "witness")}), pickle.dumps([1])]
    flipped = [whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :] for at in range(0, len(whole), 31)]
    reference = advanced(0)
    for content in wrong + flipped:
        path.write_bytes(content)
        fresh = state(1)
        try:
            fresh.resume(tmp_path)
        except ValueError as error:
            assert re.search(r"resume\.pt is damaged .*: remove it, and the training starts again", str(error))
            assert fresh.step == 0 and "\n" not in str(error)
        else:  # a byte of the archive that stands for nothing
            assert content not in wrong and fresh.step == 3
            assert all(torch.equal(a, b) for a, b in zip(weights(fresh), weights(reference), strict=True))
    assert not (tmp_path / "witness").exists(), "no code in a file runs"


def weights(each: TrainingState) -> list[torch.Tensor]:
    moments = each.optimizers["main"].state_dict()["state"].values()
    parts = [each.model.state_dict(), each.average.average, *moments]
    return [tensor for part in parts for tensor in part.values()]


def test_another_number_of_the_same_file_is_noticed(tmp_path):
    """What PyTorch reads of a flipped tensor is another number, without a word."""
    advanced(0).save(tmp_path)
    document = torch.load(tmp_path / RESUME_FILE, weights_only=True)
    document["model"]["0.weight"][1, 2] += 1e-3
    torch.save(document, tmp_path / RESUME_FILE)
    with pytest.raises(ValueError, match="its values are not those of its digest"):
        state(1).resume(tmp_path)


def test_the_digest_tells_states_apart():
    tensor = torch.tensor([1.0, 2.0])
    states = [{}, {"a": 1}, {"a": 1.0}, {"a": tensor}, {"a": tensor.double()}, {"a": tensor[:, None]}, {"a": [tensor]}]
    states += [{"a": {"b": tensor}}, {"a": tensor + 1}, {"a": None}, {"a": "None"}, {"a": tensor.bfloat16()}]
    states += [{"a": torch.tensor(3)}, {"a": torch.tensor([])}]
    digests = [state_digest(each) for each in states]
    assert len(set(digests)) == len(digests)
    assert state_digest({"a": tensor.clone(), "b": [1]}) == state_digest({"a": tensor, "b": (1,)})


def test_another_model_is_refused(tmp_path):
    advanced(0).save(tmp_path)
    model = nn.Linear(3, 2)
    other = TrainingState(model, {"main": torch.optim.AdamW(model.parameters())}, None)
    with pytest.raises(RuntimeError, match="Missing key"):
        other.resume(tmp_path)
