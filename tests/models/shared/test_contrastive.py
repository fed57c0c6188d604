"""The contrastive loss against open_clip, a loop, and its own symmetries."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.shared.contrastive import ContrastiveModel, symmetric_loss


def rows(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(count, 8, dtype=torch.float64, generator=generator), dim=1)


@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_equals_open_clip(scale: float) -> None:
    from open_clip import ClipLoss

    ours = [rows(6, 0).requires_grad_(), rows(6, 1).requires_grad_()]
    theirs = [rows(6, 0).requires_grad_(), rows(6, 1).requires_grad_()]
    loss = symmetric_loss(*ours, torch.tensor(scale))
    expected = ClipLoss()(*theirs, torch.tensor(scale))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_gradient_equals_finite_differences() -> None:
    inputs = (rows(3, 0).requires_grad_(), rows(3, 1).requires_grad_())
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(symmetric_loss, (*inputs, scale), atol=1e-5)


@pytest.mark.parametrize("repeated", ["text", "visual"])
def test_repetitions_need_no_spread_targets(repeated: str) -> None:
    """With equal rows, targets spread over them change neither the loss nor what reaches the encoders."""
    distinct = {"visual": rows(5, 0).requires_grad_(), "text": rows(5, 1).requires_grad_()}
    pick = torch.tensor([0, 1, 0, 3, 0])
    sides = {**distinct, repeated: distinct[repeated][pick]}
    scale = torch.tensor(7.0, dtype=torch.float64, requires_grad=True)
    target = (pick[:, None] == pick).double()
    target = target / target.sum(dim=1, keepdim=True)
    logits = scale * sides["visual"] @ sides["text"].T
    spread = (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
    plain = symmetric_loss(sides["visual"], sides["text"], scale)
    torch.testing.assert_close(plain, spread)
    inputs = (*distinct.values(), scale)
    gradients = torch.autograd.grad(plain, inputs, retain_graph=True)
    torch.testing.assert_close(gradients, torch.autograd.grad(spread, inputs))


def test_exchanging_the_sides_or_the_order_changes_nothing() -> None:
    visual, text, scale = rows(5, 0), rows(5, 1), torch.tensor(10.0)
    loss = symmetric_loss(visual, text, scale)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(symmetric_loss(text, visual, scale), loss)
    torch.testing.assert_close(symmetric_loss(visual[order], text[order], scale), loss)


@pytest.mark.parametrize("num_pairs", [2, 64])
def test_loss_of_a_model_that_knows_nothing_is_that_of_guessing(num_pairs: int) -> None:
    same = torch.ones(num_pairs, 1)
    assert float(symmetric_loss(same, same, torch.tensor(10.0))) == pytest.approx(math.log(num_pairs), rel=1e-5)


class Table(ContrastiveModel):
    """The smallest model: one trained vector per sample."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.vectors = nn.Parameter(rows(4, 0).float())

    @property
    def logit_scale(self) -> nn.Parameter:
        return self.scale

    def embed_pairs(self, batch: dict) -> tuple[Tensor, Tensor]:
        return functional.normalize(self.vectors, dim=1), functional.dropout(rows(4, 1).float(), 0.5)


def test_dropout_depends_on_the_given_generator_alone() -> None:
    model = Table()
    torch.manual_seed(1)
    first = model.embed({}, torch.Generator().manual_seed(0))["text"]
    torch.manual_seed(2)
    assert torch.equal(model.embed({}, torch.Generator().manual_seed(0))["text"], first)
    assert not torch.equal(model.embed({}, torch.Generator().manual_seed(1))["text"], first)


@pytest.mark.parametrize(("before", "after"), [(10.0, math.log(100)), (-1.0, 0.0), (2.0, 2.0)])
def test_scale_stays_between_1_and_100(before: float, after: float) -> None:
    model = Table()
    model.scale.data.fill_(before)
    model.after_step()
    assert model.scale.item() == pytest.approx(after)


def test_temperature_is_logged() -> None:
    losses = Table().training_step({}, torch.Generator().manual_seed(0))
    assert float(losses["main/temperature"]) == pytest.approx(math.exp(-2))
    assert not losses["main/temperature"].requires_grad
