import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from pipelines.shared.training.optim import (
    MovingAverage,
    build_optimizers,
    clipped_norm,
    learning_rate,
    parameter_groups,
)
from pipelines.shared.training.settings import TrainingSettings


def settings(**changed):
    return TrainingSettings(**{"steps": 100, "batch_size": 8, "learning_rate": 0.5, **changed})


class Grouped(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

    def parameter_groups(self):
        return {"a": list(self.a.parameters()), "b": list(self.b.parameters())}


def test_groups():
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    model[0].bias.requires_grad_(False)
    assert [tuple(p.shape) for p in parameter_groups(model)["main"]] == [(3, 2), (3,), (3,)]
    assert set(parameter_groups(Grouped())) == {"a", "b"}
    with pytest.raises(ValueError, match="main has no parameter"):
        parameter_groups(model.requires_grad_(False))


def test_weight_decay_spares_vectors():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4))
    optimizer = build_optimizers(parameter_groups(model), settings(weight_decay=0.1))["main"]
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: decay[id(p)] for name, p in model.named_parameters()} == {
        "0.weight": 0.1,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
    }
    assert set(build_optimizers(parameter_groups(Grouped()), settings())) == {"a", "b"}


def test_learning_rate():
    cosine = settings(warmup_steps=10, final_learning_rate_frac=0.1)
    rates = [learning_rate(step, cosine) for step in range(100)]
    assert rates[:10] == pytest.approx([0.05 * (step + 1) for step in range(10)])
    assert rates[10] == 0.5
    assert rates[55] == pytest.approx(0.5 * (0.1 + 0.9 * 0.5))
    assert rates[99] == pytest.approx(0.5 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 89 / 90))))
    assert learning_rate(100, cosine) == pytest.approx(0.05)
    assert all(late <= early for early, late in pairwise(rates[10:]))
    constant = settings(warmup_steps=2, schedule="constant")
    assert [learning_rate(step, constant) for step in (0, 1, 2, 99)] == [0.25, 0.5, 0.5, 0.5]


def test_cosine_equals_torchs_schedule():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    for step in range(100):
        assert learning_rate(step, settings()) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        schedule.step()


def test_moving_average_is_the_weighted_sum_of_all_weights():
    model = nn.Linear(1, 1, bias=False).double()
    decay, values = 0.9, [float(step) ** 2 for step in range(200)]
    average = MovingAverage(model, decay)
    expected = float(model.weight.detach())
    for step, value in enumerate(values):
        model.weight.data.fill_(value)
        average.update(step)
        rate = min(decay, (1 + step) / (10 + step))
        expected = rate * expected + (1 - rate) * value
    assert float(average.average["weight"]) == pytest.approx(expected, rel=1e-12)
    # the start is forgotten: what is left is sum of (1 - d) d^k w_{n-k}
    tail = sum((1 - decay) * decay**k * values[-1 - k] for k in range(100))
    assert float(average.average["weight"]) == pytest.approx(tail, rel=1e-3)


def test_applied_swaps_and_gives_back():
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    average = MovingAverage(model, 0.5)
    assert set(average.average) == {"weight"}
    old = model.weight.detach().clone()
    model.weight.data.add_(1)
    with average.applied():
        assert torch.equal(model.weight, old)
    assert torch.equal(model.weight, old + 1)
    assert torch.equal(average.average["weight"], old)


@pytest.mark.parametrize("limit", [0.0, 1.0, 100.0])
def test_clipping(limit):
    parameters = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.0, 4.0])
    assert clipped_norm(parameters, limit) == pytest.approx(5.0)
    left = torch.cat([p.grad for p in parameters[:2]]).norm()
    assert float(left) == pytest.approx(1.0 if limit == 1.0 else 5.0, rel=1e-4)
