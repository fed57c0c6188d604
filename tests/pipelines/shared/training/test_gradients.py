import importlib
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from pipelines.shared.training.distributed import World
from pipelines.shared.training.gradients import Stepper
from pipelines.shared.training.optim import parameter_groups

CPU = torch.device("cpu")


class Plain(nn.Module):
    """A loss that is a mean over samples, without randomness."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def training_step(self, batch, generator):
        return {"main": (self.layer(batch["x"]) ** 2).mean(), "main/seen": batch["x"].mean()}


class Noisy(nn.Module):
    """A loss that shows the random numbers."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def training_step(self, batch, generator):
        drawn, dropped = torch.rand(1, generator=generator), torch.rand(1)
        return {"main": (self.weight * (drawn + dropped)).sum()}


def stepper(model: nn.Module, world: World | None = None, seed: int = 0) -> Stepper:
    return Stepper(model=model, groups=parameter_groups(model), world=world or World(CPU), seed=seed)


def gradients(model: nn.Module, batches: Sequence[dict], step: int = 0) -> dict[str, torch.Tensor]:
    stepper(model).gradients(batches, step)
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def cut(batch: dict, parts: int) -> list[dict]:
    size = len(next(iter(batch.values()))) // parts
    return [{name: value[i * size : (i + 1) * size] for name, value in batch.items()} for i in range(parts)]


@pytest.fixture
def dual(fake_plugins):
    module = importlib.import_module("models.fake_contrastive")
    torch.manual_seed(0)
    model = module.Model(module.Config(dropout=0.0), {}).double()
    model.embed = noiseless(model)
    batch = {
        "image": torch.rand(12, 3, 8, 8, dtype=torch.float64) * 2 - 1,
        "caption": [f"{'x' * i} {i}" for i in range(12)],
        "group": torch.arange(12),
    }
    return model, batch


def noiseless(model):
    def embed(batch, generator):
        image = nn.functional.normalize(model.image(batch["image"].flatten(1)), dim=-1)
        return {"image": image, "text": model.encode_text(batch["caption"]), "group": batch["group"]}

    return embed


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_accumulated_plain_gradient_is_the_batchs(parts):
    torch.manual_seed(0)
    model, batch = Plain(), {"x": torch.randn(12, 4)}
    whole = gradients(model, [batch])
    for name, value in gradients(model, cut(batch, parts)).items():
        torch.testing.assert_close(value, whole[name], rtol=1e-6, atol=1e-7)


def test_losses_are_means_over_micro_batches():
    model, batch = Plain(), {"x": torch.randn(12, 4)}
    whole = stepper(model).gradients([batch], 0)
    parts = stepper(model).gradients(cut(batch, 3), 0)
    assert set(whole) == set(parts) == {"main", "main/seen"}
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name])


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_accumulated_contrastive_gradient_is_the_batchs(dual, parts):
    model, batch = dual
    loss = model.contrastive_loss(model.embed(batch, None))["main"]
    direct = dict(zip(model.state_dict(), torch.autograd.grad(loss, list(model.parameters())), strict=True))
    whole = gradients(model, [batch])
    accumulated = gradients(model, cut(batch, parts))
    for name in direct:
        torch.testing.assert_close(whole[name], direct[name], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(accumulated[name], direct[name], rtol=1e-10, atol=1e-12)
        assert direct[name].abs().max() > 1e-3


def test_second_pass_draws_the_same_numbers(fake_plugins):
    module = importlib.import_module("models.fake_contrastive")
    torch.manual_seed(0)
    model = module.Model(module.Config(dropout=0.5), {})
    seen = []
    real = model.embed
    model.embed = lambda batch, generator: seen.append(real(batch, generator)) or seen[-1]
    batch = {"image": torch.rand(8, 3, 8, 8), "caption": list("abcdefgh"), "group": torch.arange(8)}
    stepper(model).gradients(cut(batch, 2), 5)
    assert len(seen) == 4
    for first, second in ((0, 2), (1, 3)):
        assert torch.equal(seen[first]["image"], seen[second]["image"])
    assert not torch.equal(seen[0]["image"], seen[1]["image"])


def test_random_numbers_depend_on_seed_step_and_place_alone():
    def drawn(seed, step, rank=0, parts=1):
        model = Noisy()
        torch.manual_seed(rank)
        Stepper(model=model, groups=parameter_groups(model), world=World(CPU, rank), seed=seed).gradients(
            [{}] * parts, step
        )
        return float(model.weight.grad)

    assert drawn(0, 0) == drawn(0, 0)
    assert len({drawn(0, 0), drawn(0, 1), drawn(1, 0), drawn(0, 0, rank=1)}) == 4
    # two micro-batches of one process draw what one each of two processes draws
    assert drawn(0, 0, parts=2) == pytest.approx((drawn(0, 0) + drawn(0, 0, rank=1)) / 2, rel=1e-6)


def test_a_loss_reaches_its_own_group_alone(fake_plugins):
    module = importlib.import_module("models.fake_gan")
    torch.manual_seed(0)
    model = module.Model(module.Config(), {})
    batch = {"image": torch.rand(4, 3, 8, 8)}
    got = gradients(model, [batch])
    seed = torch.Generator()
    from pipelines.shared.seeds import derive_seed

    losses = model.training_step(batch, seed.manual_seed(derive_seed(0, "step", 0, 0)))
    for group, parameters in model.parameter_groups().items():
        wanted = torch.autograd.grad(losses[group], parameters, retain_graph=True)
        names = [name for name, _ in model.named_parameters() if name.startswith(group)]
        for name, value in zip(names, wanted, strict=True):
            torch.testing.assert_close(got[name], value)


def test_unknown_group_is_a_mistake_of_the_plugin():
    model = Plain()
    model.training_step = lambda batch, generator: {"other": model.layer.weight.sum()}
    with pytest.raises(AssertionError, match="other"):
        stepper(model).gradients([{}], 0)


def test_contrastive_model_has_one_group(dual):
    model, _ = dual
    with pytest.raises(ValueError, match="one optimizer group"):
        Stepper(model=model, groups={"a": [], "b": []}, world=World(CPU), seed=0)


def test_bfloat16_is_autocast_with_float32_gradients():
    torch.manual_seed(0)
    model, batch = Plain(), {"x": torch.randn(64, 4)}
    seen = []
    model.layer.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    exact = gradients(model, [batch])
    Stepper(model=model, groups=parameter_groups(model), world=World(CPU), seed=0, bfloat16=True).gradients([batch], 0)
    assert seen == [torch.float32, torch.bfloat16]
    assert model.layer.weight.grad.dtype == torch.float32
    torch.testing.assert_close(model.layer.weight.grad, exact["layer.weight"], rtol=0.05, atol=0.02)


def test_compiled_step_has_the_same_gradient(monkeypatch):
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: real(function, backend="aot_eager"))
    torch.manual_seed(0)
    model, batch = Plain(), {"x": torch.randn(12, 4)}
    whole = gradients(model, [batch])
    compiled = Stepper(model=model, groups=parameter_groups(model), world=World(CPU), seed=0, compiled=True)
    compiled.gradients(cut(batch, 2), 0)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, whole[name], rtol=1e-6, atol=1e-7)
