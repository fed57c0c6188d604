"""`Frozen`: invisible to training and checkpoints, visible to device and dtype moves."""

import copy

import pytest
import torch
from torch import nn

from models.shared.frozen import Frozen


class Owner(nn.Module):
    """One trained layer on top of a frozen one that has parameters, buffers, dropout and batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = Frozen(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)))
        self.head = nn.Linear(4, 2)


@pytest.fixture
def owner() -> Owner:
    torch.manual_seed(0)
    return Owner()


def test_checkpoint_holds_the_trained_part_only_and_loads_strictly(owner: Owner) -> None:
    assert set(owner.state_dict()) == {"head.weight", "head.bias"}
    owner.load_state_dict(owner.state_dict(), strict=True)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*tower\.module"):
        owner.load_state_dict(owner.state_dict() | {"tower.module.0.bias": torch.zeros(4)}, strict=True)


def test_loading_leaves_the_frozen_weights_alone(owner: Owner) -> None:
    before = copy.deepcopy(owner.tower.module.state_dict())
    owner.load_state_dict(Owner().state_dict(), strict=True)
    torch.testing.assert_close(owner.tower.module.state_dict(), before, rtol=0, atol=0)


def test_optimizers_see_the_trained_part_only(owner: Owner) -> None:
    assert [name for name, _ in owner.named_parameters()] == ["head.weight", "head.bias"]
    owner.requires_grad_(True)
    assert not any(parameter.requires_grad for parameter in owner.tower.module.parameters())


def test_train_mode_does_not_reach_it(owner: Owner) -> None:
    owner.train()
    x = torch.randn(8, 4)
    statistics = owner.tower.module[1].running_mean.clone()
    torch.testing.assert_close(owner.tower(x), owner.tower(x), rtol=0, atol=0)
    torch.testing.assert_close(owner.tower.module[1].running_mean, statistics, rtol=0, atol=0)
    assert owner.head.training and not owner.tower.module.training


def test_call_makes_no_graph_but_the_module_passes_gradient_to_inputs(owner: Owner) -> None:
    x = torch.randn(8, 4, requires_grad=True)
    assert not owner.tower(x).requires_grad
    owner.tower.module(x).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_follows_dtype_and_device(owner: Owner) -> None:
    owner.to(torch.float64)
    assert all(parameter.dtype == torch.float64 for parameter in owner.tower.module.parameters())
    assert owner.tower.module[1].running_mean.dtype == torch.float64
    owner.to("meta")
    assert all(tensor.is_meta for tensor in owner.tower.module.state_dict().values())


def test_deepcopy_is_independent(owner: Owner) -> None:
    twin = copy.deepcopy(owner)
    with torch.no_grad():
        twin.tower.module[0].weight.zero_()
    assert owner.tower.module[0].weight.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in twin.tower.module.parameters())
