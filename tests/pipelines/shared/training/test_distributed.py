import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file
from torch import nn

from pipelines import train
from pipelines.shared.stage import StageRun
from pipelines.shared.training import distributed
from pipelines.shared.training.distributed import World, joined, num_processes

HERE = Path(__file__).parent
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def test_one_process_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert num_processes() == 1
    with joined(torch.device("cpu")) as world:
        assert (world.rank, world.size, world.is_first) == (0, 1, True)
        tensor = torch.ones(3)
        world.mean_([tensor])
        world.follow_first_(nn.BatchNorm1d(2))
        assert torch.equal(world.gather(tensor), torch.ones(3))
        assert world.from_first("here") == "here"
        with world.first_goes_ahead():
            world.wait()
    assert not torch.distributed.is_initialized()


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("module", ["fake_contrastive", "fake_plain"])
def test_two_processes_equal_two_micro_batches(project, params, module):
    """The weights and the whole history, but for what process 0 alone has seen."""
    settings = params(module, ema=0.9)
    with (project / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(json.loads(json.dumps(settings)), file)
    command = [sys.executable, "-m", *TORCHRUN, str(HERE / "run_stage.py"), "tested"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=380)
    assert done.returncode == 0, done.stderr[-3000:]
    together = (project / "runs/tested").rename(project / "together")
    assert json.loads((together / "config.json").read_text())["environment"]["num_processes"] == 2
    train.run(StageRun(stage="train", key="tested", params=params(module, ema=0.9, accumulation=2)))
    alone = project / "runs/tested"
    own = ("norm.running", "norm.num", "seen") if module == "fake_plain" else ()
    one, two = load_file(alone / "model.safetensors"), load_file(together / "model.safetensors")
    for name in one:
        if not name.startswith(own):
            torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=1e-6)
    for first, second in zip(rows(alone), rows(together), strict=True):
        for name in first:
            if first[name] and not (own and name.startswith("val/")):
                assert float(second[name]) == pytest.approx(float(first[name]), rel=1e-5)


def test_buckets_have_one_type_and_a_limit(monkeypatch):
    monkeypatch.setattr(distributed, "BUCKET_ELEMENTS", 10)
    sizes = [4, 4, 4, 25, 1]
    tensors = [torch.zeros(size) for size in sizes] + [torch.zeros(3, dtype=torch.int64)]
    made = distributed.buckets(iter(tensors))
    assert [[len(tensor) for tensor in bucket] for bucket in made] == [[4, 4], [4], [25], [1], [3]]
    assert all(len({tensor.dtype for tensor in bucket}) == 1 for bucket in made)
    assert distributed.buckets([]) == []


class Pair:
    """Stands for two processes that hold the same tensors but for process 1's, which are twice as large."""

    @staticmethod
    def all_reduce(flat):
        flat.mul_(3)

    @staticmethod
    def broadcast(flat, source):
        flat.fill_(7)


def test_flat_tensors_find_their_places_again(monkeypatch):
    monkeypatch.setattr(distributed, "dist", Pair)
    world = World(torch.device("cpu"), 0, 2)
    tensors = [torch.arange(6.0).reshape(2, 3), torch.ones(2, 2).T, torch.tensor(4.0)]
    expected = [tensor * 1.5 for tensor in tensors]
    world.mean_(tensors)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(tensors, expected, strict=True))
    model = nn.BatchNorm1d(2)
    world.follow_first_(model)
    assert model.running_mean.tolist() == [7, 7]
    assert int(model.num_batches_tracked) == 7
