import hashlib
import math
from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler
from torch import nn

from models import Batch, capabilities
from models.ddpm import Config, Model

TINY = Config(
    image_px=8,
    width=8,
    channel_multipliers=(1, 2),
    num_res_blocks=1,
    attention_px=(4,),
    num_groups=4,
    num_timesteps=100,
    sampling_steps=4,
)
CAPTIONS = ["a red circle", "a blue square", "a dog", "a cat"]


class WordHash(nn.Module):
    """A text encoder that needs no training: a random direction per caption, from its digest."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(16))

    def encode_text(self, captions) -> torch.Tensor:
        seeds = [int.from_bytes(hashlib.sha256(c.encode()).digest()[:6], "big") for c in captions]
        rows = torch.stack([torch.randn(16, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        return nn.functional.normalize(rows * self.scale, dim=1)


def tiny() -> tuple[Model, Batch]:
    return conditional(), {"image": images(4), "caption": CAPTIONS}


def images(count: int) -> torch.Tensor:
    values = torch.randint(0, 256, (count, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    return values / 127.5 - 1


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def unconditional(**changes) -> Model:
    torch.manual_seed(0)
    return Model(replace(TINY, **changes), {})


def conditional(**changes) -> Model:
    torch.manual_seed(0)
    return Model(replace(TINY, condition=True, **changes), {"text": WordHash()})


def randomized(model: Model) -> Model:
    """The model in eval mode with all parameters random, so that its output is not zero."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


@pytest.mark.parametrize(("schedule", "prediction"), [("linear", "epsilon"), ("cosine", "epsilon"), ("linear", "x0")])
def test_loss_of_the_zero_network_is_the_mean_square_of_the_target(schedule, prediction):
    model = unconditional(schedule=schedule, prediction=prediction)
    image = images(4).repeat(50, 1, 1, 1)
    loss = model.training_step({"image": image}, *seeded(0))["main"].item()
    expected = 1.0 if prediction == "epsilon" else image.square().mean().item()
    assert loss == pytest.approx(expected, rel=0.03)


def test_min_snr_scales_each_image_by_its_timestep():
    """At zero output the x0 loss is the sum of min(SNR, gamma) x0^2 over the drawn timesteps."""
    model = unconditional(prediction="x0", loss_weighting="min_snr", min_snr_gamma=5.0)
    image = torch.ones(64, 3, 8, 8)
    t = torch.randint(100, (64,), generator=seeded(3)[0])
    expected = model.schedule.snr(t).clamp(max=5).mean().item()
    assert model.training_step({"image": image}, *seeded(3))["main"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0"])
def test_the_network_sees_x_t_and_is_asked_for_the_target(prediction):
    """An oracle in the network's place that knows x0 reaches a loss of 0 from x_t and t alone."""
    model = unconditional(prediction=prediction)
    image = images(4)

    class Oracle(nn.Module):
        def forward(self, x, t, condition=None):
            alpha_bar = model.schedule.alpha_bars[t].reshape(-1, 1, 1, 1)
            alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
            epsilon = (x - alpha * image) / sigma
            return {"epsilon": epsilon, "v": alpha * epsilon - sigma * image, "x0": image}[prediction]

    model.unet = Oracle()
    assert model.training_step({"image": image}, *seeded(0))["main"].item() < 1e-8


def test_dropout_is_a_function_of_the_generator():
    model = randomized(unconditional(dropout=0.5)).train()
    batch = {"image": images(4)}
    first, again = (model.training_step(batch, *seeded(5))["main"].item() for _ in range(2))
    assert first == again
    assert first != model.eval().training_step(batch, *seeded(5))["main"].item()


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_deterministic_sampling_equals_the_loop_of_diffusers(prediction):
    model = randomized(unconditional(prediction=prediction, num_timesteps=1000))
    peer = DDIMScheduler(
        clip_sample=False,
        prediction_type={"epsilon": "epsilon", "v": "v_prediction"}[prediction],
        timestep_spacing="trailing",
    )
    peer.alphas_cumprod, peer.final_alpha_cumprod = model.schedule.alpha_bars, torch.tensor(1.0).double()
    peer.set_timesteps(10)
    x = torch.randn(3, 8, 8, generator=seeded(1)[0])[None]
    with torch.no_grad():
        for t in peer.timesteps:
            x = peer.step(model.unet(x, t[None]), int(t), x, eta=0.0).prev_sample
    ours = model.generate(["any"], seeded(1), sampling_steps=10, clip=False)
    torch.testing.assert_close(ours, x.float().clamp(-1, 1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_generated_image_depends_on_its_generator_alone(sampler):
    model = randomized(conditional(sampler=sampler, eta=1.0, guidance=2.0))
    together = model.generate(CAPTIONS[:3], seeded(1, 2, 3))
    assert together.shape == (3, 3, 8, 8)
    assert together.abs().max() <= 1
    alone = model.generate(CAPTIONS[1:2], seeded(2))
    torch.testing.assert_close(alone, together[1:2], rtol=0, atol=1e-4)
    assert not torch.allclose(model.generate(CAPTIONS[1:2], seeded(9)), alone, atol=1e-2)


def test_eta_one_on_any_grid_equals_ancestral_with_the_small_variance():
    model = randomized(unconditional())
    ddim = model.generate([""], seeded(1), sampler="ddim", eta=1.0, sampling_steps=20)
    ddpm = model.generate([""], seeded(1), sampler="ddpm", variance="fixed_small", sampling_steps=20)
    torch.testing.assert_close(ddim, ddpm, rtol=0, atol=1e-4)
    assert not torch.allclose(ddpm, model.generate([""], seeded(1), sampler="ddpm", sampling_steps=20), atol=1e-2)


def test_overrides_are_checked_and_leave_the_settings():
    model = unconditional()
    model.generate([""], seeded(1), sampling_steps=2, spacing="leading", eta=0.3)
    assert model.config == TINY
    with pytest.raises(ValueError, match=r"sampling setting must be one of clip, eta, .* got 'steps'"):
        model.generate([""], seeded(1), steps=2)
    with pytest.raises(ValueError, match=r"sampling_steps must be in 1 .. num_timesteps = 100, got 101"):
        model.generate([""], seeded(1), sampling_steps=101)
    with pytest.raises(ValueError, match="guidance must be 1 for a model without condition, got 2"):
        model.generate([""], seeded(1), guidance=2)


def test_guidance_of_one_is_the_conditional_and_zero_the_unconditional_output():
    model = randomized(conditional())
    x, text = (
        torch.randn(2, 3, 8, 8, generator=seeded(0)[0]),
        model.frozen_features({"caption": CAPTIONS[:2]})["text_embedding"],
    )
    t, present = torch.tensor([50, 50]), torch.tensor([True, True])
    with torch.no_grad():
        conditional_output = model.unet(x, t, model.text_projection(text, present))
        unconditional_output = model.unet(x, t, model.text_projection(text, ~present))
        outputs = {scale: model.denoiser(text, scale, clip=False)(x, 50).epsilon for scale in (0.0, 1.0, 3.0)}
        other_text = {scale: model.denoiser(text.flip(0), scale, clip=False)(x, 50).epsilon for scale in (0.0, 1.0)}
    assert torch.equal(outputs[1.0], conditional_output)
    assert torch.equal(outputs[0.0], unconditional_output)
    expected = 3 * conditional_output - 2 * unconditional_output
    torch.testing.assert_close(outputs[3.0], expected, rtol=1e-5, atol=1e-4)
    assert torch.equal(other_text[0.0], outputs[0.0])
    assert not torch.allclose(other_text[1.0], outputs[1.0], atol=1e-3)


def test_captions_are_dropped_at_the_stated_rate():
    model = conditional(condition_dropout=0.25)
    nn.init.constant_(model.text_projection.absent, 7.0)
    text = model.frozen_features({"caption": CAPTIONS})["text_embedding"].repeat(1000, 1)
    condition = model._training_condition(text, *seeded(0))
    dropped = (condition == 7).all(dim=1).float().mean().item()
    assert dropped == pytest.approx(0.25, abs=0.03)
    kept = conditional(condition_dropout=0.0)._training_condition(text, *seeded(0))
    assert kept.abs().sum(1).min() > 0


def test_training_reads_the_frozen_features_of_the_captions():
    model = randomized(conditional())
    features = model.frozen_features({"caption": CAPTIONS})
    assert features["text_embedding"].shape == (4, 16)
    loss = model.training_step({"image": images(4), **features}, *seeded(0))["main"]
    other = model.frozen_features({"caption": CAPTIONS[::-1]})
    assert loss != model.training_step({"image": images(4), **other}, *seeded(0))["main"]
    assert unconditional().frozen_features({"image": images(4)}) == {}


def test_the_text_encoder_is_neither_trained_nor_saved_but_moves():
    model = conditional()
    names = set(model.state_dict()) | {name for name, _ in model.named_parameters()}
    assert not any(name.startswith("text.") or "scale" in name for name in names)
    features = model.frozen_features({"caption": CAPTIONS})
    model.training_step({"image": images(4), **features}, *seeded(0))["main"].backward()
    assert model.text.module.scale.grad is None
    assert model.to("meta").text.module.scale.device.type == "meta"


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_bound_terms_have_the_stated_shapes_and_sum_to_the_likelihood(variance):
    model = randomized(unconditional(variance=variance, num_timesteps=25))
    image = images(2)
    terms = model.variational_bound(image, seeded(1, 2))
    assert terms.prior.shape == terms.decoder.shape == (2,)
    assert terms.transitions.shape == (2, 24)
    assert (terms.transitions > 0).all()
    torch.testing.assert_close(model.log_likelihood(image, seeded(1, 2)), -terms.total() * 192 * math.log(2))
    alone = model.variational_bound(image[1:], seeded(2)).total()
    torch.testing.assert_close(alone, terms.total()[1:], rtol=1e-4, atol=1e-4)


def test_bound_of_a_network_that_knows_the_image_is_nearly_nothing_but_the_decoder():
    model = unconditional(prediction="x0", num_timesteps=1000)
    image = images(1)

    class Oracle(nn.Module):
        def forward(self, x, t, condition=None):
            return image

    model.unet = Oracle()
    terms = replace_variance(model, "fixed_small").variational_bound(image, seeded(0))
    assert terms.transitions.abs().max() < 1e-9
    assert terms.prior.item() < 3e-5
    assert terms.decoder.item() == pytest.approx(1.305, abs=0.03)


def replace_variance(model: Model, variance: str) -> Model:
    model.config = replace(model.config, variance=variance)
    return model


def test_conditional_bound_needs_captions():
    model = randomized(conditional(num_timesteps=21, sampling_steps=1))
    image = images(1)
    bounds = [model.variational_bound(image, seeded(0), [c]).total().item() for c in CAPTIONS[:2]]
    assert bounds[0] != bounds[1]
    with pytest.raises(AssertionError, match=r"log p\(image \| caption\)"):
        model.variational_bound(image, seeded(0))


def test_learns_two_images_and_which_caption_is_whose():
    torch.manual_seed(0)
    config = replace(
        TINY,
        channel_multipliers=(1,),
        attention_px=(),
        condition=True,
        dropout=0.0,
        prediction="v",
        schedule="cosine",
        sampling_steps=10,
    )
    model = Model(config, {"text": WordHash()})
    bright, dark = torch.full((3, 8, 8), 0.8), torch.full((3, 8, 8), -0.8)
    batch = {"image": torch.stack([bright, dark] * 4), "caption": ["bright", "dark"] * 4}
    batch |= model.frozen_features(batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for generator in seeded(*range(80)):
        optimizer.zero_grad()
        model.training_step(batch, generator)["main"].backward()
        optimizer.step()
    samples = model.eval().generate(["bright", "dark"] * 4, seeded(*range(8)))
    means = samples.mean(dim=(1, 2, 3))
    assert (means[0::2] > 0.5).all()
    assert (means[1::2] < -0.5).all()


def test_capabilities_and_batch_keys():
    assert capabilities(Model) == {"generate", "log_likelihood"}
    assert unconditional().batch_keys == ("image",)
    assert conditional().batch_keys == ("image", "text_embedding")
    assert conditional().conditional
    assert not unconditional().conditional


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": "sigmoid"}, "schedule must be one of cosine, linear, got 'sigmoid'"),
        (
            {"num_timesteps": 20, "sampling_steps": 5},
            "num_timesteps must be at least 21 for the linear schedule, got 20",
        ),
        ({"prediction": "eps"}, "prediction must be one of epsilon, v, x0, got 'eps'"),
        ({"loss_weighting": "p2"}, "loss_weighting must be one of min_snr, simple"),
        ({"min_snr_gamma": 0.0}, "min_snr_gamma must be positive"),
        ({"sampling_steps": 0}, "sampling_steps must be in 1 .. num_timesteps = 1000, got 0"),
        ({"eta": 1.5}, r"eta must be in \[0, 1\], got 1.5"),
        ({"variance": "learned"}, "variance must be one of fixed_large, fixed_small"),
        ({"spacing": "uniform"}, "spacing must be one of leading, trailing"),
        ({"guidance": 3.0}, "guidance must be 1 for a model without condition, got 3.0"),
        ({"condition_dropout": 1.0}, r"condition_dropout must be in \[0, 1\)"),
        ({"attention_px": (15,)}, r"attention_px must be among \[64, 32, 16, 8\]"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Config(**change)


def test_bases_must_fit_the_condition():
    with pytest.raises(ValueError, match=r"bases must be a text encoder named 'text', got \[\]"):
        Model(replace(TINY, condition=True), {})
    with pytest.raises(ValueError, match=r"bases must be empty without condition, got \['text'\]"):
        Model(TINY, {"text": WordHash()})
