"""Rows of evidence over batches and over processes, one of which has none."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from metrics.shared.estimates import Estimate
from metrics.shared.metric import EvidenceMetric, Score, gather_rows, unit_rows


class Sums(EvidenceMetric):
    """Keeps rows of three forms and says what it saw."""

    inputs = ("matrix", "vector", "index")

    def __init__(self):
        super().__init__(*self.inputs)
        self.num_scored = 0

    def update(self, *, matrix, vector, index):
        self.append("matrix", matrix, torch.float32)
        self.append("vector", vector, torch.float64)
        self.append("index", index, torch.int64)

    def score(self):
        self.num_scored += 1
        rows = {name: self.rows(name) for name in self.inputs}
        value = float(rows["matrix"].sum())
        estimate = Estimate(
            value=value, low=value, high=value, n=len(rows["index"]), interval="bootstrap", higher_is_better=True
        )
        return Score(
            estimates={"sum": estimate},
            per_sample={name: value.numpy() for name, value in rows.items()},
            protocol={"n": len(rows["index"])},
        )


def evidence(num_rows: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "matrix": torch.randn(num_rows, 3, generator=generator),
        "vector": torch.randn(num_rows, generator=generator, dtype=torch.float64),
        "index": torch.arange(num_rows) + 2**53,
    }


def fed(metric: EvidenceMetric, rows: dict[str, torch.Tensor], *sizes: int) -> EvidenceMetric:
    split = {name: value.split(sizes) for name, value in rows.items()}
    for batch in range(len(sizes)):
        metric.update(**{name: parts[batch] for name, parts in split.items()})
    return metric


def test_score_is_made_once_and_again_after_an_update():
    metric = fed(Sums(), evidence(7), 4, 0, 3)
    assert metric.compute()["sum"].n == 7
    assert metric.protocol() == {"n": 7}
    assert np.array_equal(metric.per_sample()["index"], evidence(7)["index"])
    assert metric.num_scored == 1
    fed(metric, evidence(2), 2)
    assert metric.protocol() == {"n": 9}
    assert metric.num_scored == 2
    metric.reset()
    fed(metric, evidence(2), 2)
    assert metric.protocol() == {"n": 2}


def test_no_evidence_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="no matrix were given"):
        fed(Sums(), evidence(0), 0).compute()


def test_values_must_be_finite():
    rows = evidence(3)
    rows["matrix"][1, 1] = float("nan")
    with pytest.raises(AssertionError, match="matrix must be finite"):
        fed(Sums(), rows, 3)


def test_unit_rows():
    rows = unit_rows(torch.tensor([[3.0, 4], [1e-30, 0]]))
    assert rows.dtype == torch.float64
    assert torch.allclose(rows, torch.tensor([[0.6, 0.8], [1, 0]]).double(), atol=1e-7)
    with pytest.raises(AssertionError, match="no direction"):
        unit_rows(torch.zeros(1, 2))


def _rank(rank: int, store: str, sizes: tuple[int, ...], folder: str) -> None:
    torch.set_num_threads(1)  # the parent's threads do not exist after a fork
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=len(sizes))
    mine = {name: value.split(sizes)[rank] for name, value in evidence(sum(sizes)).items()}
    metric = Sums()
    if sizes[rank]:
        fed(metric, mine, 1, sizes[rank] - 1)
    else:
        metric._update_count = 1  # says "it is right that there was no update"
    torch.save({name: torch.from_numpy(value) for name, value in metric.per_sample().items()}, f"{folder}/{rank}.pt")
    empty = gather_rows(torch.tensor([]))
    assert [part.shape for part in empty] == [(0,)] * len(sizes)
    dist.destroy_process_group()


@pytest.mark.parametrize("sizes", [(5, 0, 4), (0, 3)])
def test_ranks_without_rows_change_nothing(tmp_path, sizes):
    arguments = (str(tmp_path / "store"), sizes, str(tmp_path))
    mp.start_processes(_rank, arguments, nprocs=len(sizes), start_method="fork")
    whole = fed(Sums(), evidence(sum(sizes)), sum(sizes)).per_sample()
    for rank in range(len(sizes)):
        gathered = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, values in whole.items():
            assert np.array_equal(gathered[name].numpy(), values), (rank, name)
            assert gathered[name].numpy().dtype == values.dtype
