import math
import re

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from sklearn.decomposition import PCA
from torch import nn

from models import Batch
from models.shared.likelihood import gaussian_kl
from models.vae import Config, Model, reparameterize

TINY = Config(image_px=8, width=8, channel_multipliers=(1, 2), num_groups=4, latent_channels=2)


def tiny() -> tuple[Model, Batch]:
    torch.manual_seed(0)
    return Model(TINY, {}), {"image": images(4)}


def images(count: int, px: int = 8) -> torch.Tensor:
    values = torch.randint(0, 256, (count, 3, px, px), generator=torch.Generator().manual_seed(1))
    return values / 127.5 - 1


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def our_name(name: str, config: Config) -> str:
    """The name that a parameter of diffusers' AutoencoderKL has in ours."""
    num_levels, num_res_blocks = len(config.channel_multipliers), config.num_res_blocks
    encoder_end = num_levels * (num_res_blocks + 1)

    def down(match: re.Match[str]) -> str:
        level, kind, index = int(match[1]), match[2], int(match[3])
        place = num_res_blocks if kind == "downsamplers" else index
        return f"encoder.{1 + level * (num_res_blocks + 1) + place}"

    def up(match: re.Match[str]) -> str:
        level, kind, index = int(match[1]), match[2], int(match[3])
        place = num_res_blocks + 1 if kind == "upsamplers" else index
        return f"decoder.{2 + level * (num_res_blocks + 2) + place}"

    name = re.sub(r"^encoder\.down_blocks\.(\d+)\.(resnets|downsamplers)\.(\d+)", down, name)
    name = re.sub(r"^decoder\.up_blocks\.(\d+)\.(resnets|upsamplers)\.(\d+)", up, name)
    decoder_end = 1 + num_levels * (num_res_blocks + 2)
    plain = {
        r"^(en|de)coder\.conv_in": r"\1coder.0",
        r"^encoder\.mid_block": f"encoder.{encoder_end}",
        r"^decoder\.mid_block": "decoder.1",
        r"^encoder\.conv_norm_out": f"encoder.{encoder_end + 1}.norm",
        r"^encoder\.conv_out": f"encoder.{encoder_end + 1}.conv",
        r"^decoder\.conv_norm_out": f"decoder.{decoder_end}.norm",
        r"^decoder\.conv_out": f"decoder.{decoder_end}.conv",
        r"resnets\.0": "block1",
        r"resnets\.1": "block2",
        r"attentions\.0": "attention",
        "conv_shortcut": "skip",
        "group_norm": "norm",
        "to_q": "query",
        "to_k": "key",
        "to_v": "value",
        r"to_out\.0": "out",
    }
    for theirs, ours in plain.items():
        name = re.sub(theirs, ours, name)
    return name


def test_networks_equal_diffusers_autoencoder():
    config = Config(image_px=16, width=8, channel_multipliers=(1, 2, 2), num_res_blocks=2, num_groups=4)
    widths = tuple(config.widths)
    peer = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=widths,
        layers_per_block=config.num_res_blocks,
        latent_channels=config.latent_channels,
        norm_num_groups=config.num_groups,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()
    ours = Model(config, {})
    generator, expected = torch.Generator().manual_seed(0), ours.state_dict()
    state = {name: expected[name] for name in ("log_sigma", "num_steps")}
    for theirs, parameter in peer.named_parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
        name = our_name(theirs, config)
        state[name] = parameter.data.reshape(expected[name].shape)
    ours.load_state_dict(state)
    image = images(2, 16)
    posterior = peer.encode(image).latent_dist
    mean, log_variance = ours.posterior(image)
    torch.testing.assert_close(mean, posterior.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(log_variance, posterior.logvar, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.decoder(mean), peer.decode(mean).sample, rtol=1e-4, atol=1e-3)


def test_reparameterized_gradients_are_the_closed_form():
    generator = torch.Generator().manual_seed(0)
    mean, log_variance, noise, upstream = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    mean.requires_grad_(), log_variance.requires_grad_()
    (reparameterize(mean, log_variance, noise) * upstream).sum().backward()
    torch.testing.assert_close(mean.grad, upstream)
    torch.testing.assert_close(log_variance.grad, upstream * 0.5 * (log_variance / 2).exp().detach() * noise)


class LinearEncoder(nn.Module):
    """The exact posterior of probabilistic PCA with orthogonal loadings, as mean and log-variance."""

    def __init__(self, loadings: torch.Tensor, mean: torch.Tensor, variance: float) -> None:
        super().__init__()
        self.loadings, self.mean = loadings, mean
        self.precision = (loadings**2).sum(0) + variance
        self.log_variance = (variance / self.precision).log()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        mean = (image.flatten(1) - self.mean) @ self.loadings / self.precision
        return torch.cat([mean, self.log_variance.expand_as(mean)], dim=1)[:, :, None, None]


class LinearDecoder(nn.Module):
    def __init__(self, loadings: torch.Tensor, mean: torch.Tensor, px: int) -> None:
        super().__init__()
        self.loadings, self.mean, self.px = loadings, mean, px

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return (z.flatten(1) @ self.loadings.T + self.mean).unflatten(1, (3, self.px, self.px))


@pytest.fixture(scope="module")
def ppca() -> tuple[Model, torch.Tensor, np.ndarray]:
    """A VAE whose networks are linear and whose posterior is exact, images, and sklearn's log-density of them."""
    px, rank = 4, 3
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(400, rank, generator=generator) @ (0.15 * torch.randn(rank, 3 * px * px, generator=generator))
    pixels = (factors + 0.2 * torch.randn(400, 3 * px * px, generator=generator)).clamp(-0.98, 0.98)
    pixels = (pixels * 127.5 + 127.5).round() / 127.5 - 1
    pca = PCA(rank, svd_solver="full").fit(pixels.double().numpy())
    variance = float(pca.noise_variance_)
    loadings = torch.from_numpy(pca.components_.T * np.sqrt(pca.explained_variance_ - variance)).float()
    mean = torch.from_numpy(pca.mean_).float()
    model = Model(Config(image_px=px, width=4, channel_multipliers=(1, 1, 1), num_groups=4, latent_channels=rank), {})
    model.encoder, model.decoder = LinearEncoder(loadings, mean, variance), LinearDecoder(loadings, mean, px)
    model.log_sigma.data.fill_(0.5 * math.log(variance))
    # A bin holds its width, 2/255, times the density at its centre (the curvature is negligible at this sigma).
    log_prob = pca.score_samples(pixels.double().numpy()) + 3 * px * px * math.log(2 / 255)
    return model, pixels.unflatten(1, (3, px, px)), log_prob


def test_likelihood_with_the_exact_posterior_is_that_of_ppca(ppca):
    """Every importance weight is then p(x) itself, so one sample is enough."""
    model, image, expected = ppca
    found = model.log_likelihood(image[:50], seeded(*range(50)))
    np.testing.assert_allclose(found.numpy(), expected[:50], rtol=0, atol=0.05)
    many = model.log_likelihood(image[:5], seeded(*range(5)), num_samples=8)
    np.testing.assert_allclose(many.numpy(), expected[:5], rtol=0, atol=0.05)


def test_loss_with_the_exact_posterior_is_the_entropy_of_ppca_and_any_other_is_worse(ppca):
    model, image, log_prob = ppca
    expected = -log_prob.mean() / (48 * math.log(2))
    losses = [model.training_step({"image": image}, g)["main"].item() for g in seeded(*range(20))]
    standard_error = np.std(losses) / math.sqrt(len(losses))
    assert abs(np.mean(losses) - expected) < 4 * standard_error + 1e-3
    right = model.encoder.log_variance.clone()
    for factor in (0.5, 2.0):
        model.encoder.log_variance = right + math.log(factor)
        assert np.mean([model.training_step({"image": image}, g)["main"].item() for g in seeded(*range(20))]) > expected
    model.encoder.log_variance = right


def test_importance_bound_tightens_with_more_samples(ppca):
    model, image, expected = ppca
    right = model.encoder.log_variance.clone()
    model.encoder.log_variance = right + math.log(3.0)
    bounds = [model.log_likelihood(image, seeded(*range(400)), num_samples=k).mean().item() for k in (1, 4, 16, 64)]
    model.encoder.log_variance = right
    assert bounds == sorted(bounds)
    assert bounds[-1] < expected.mean() + 0.01
    assert expected.mean() - bounds[-1] < 0.5 * (expected.mean() - bounds[0])


def test_loss_is_distortion_plus_weighted_rate():
    torch.manual_seed(0)
    model, image = Model(TINY, {}), images(4)
    losses = model.training_step({"image": image}, *seeded(0))
    mean, log_variance = model.posterior(image)
    kl_nats = gaussian_kl(mean, log_variance, torch.zeros(()), torch.zeros(())).sum() / 4
    assert losses["main/rate"].item() == pytest.approx(kl_nats.item() / (192 * math.log(2)), rel=1e-5)
    assert losses["main"].item() == pytest.approx((losses["main/distortion"] + losses["main/rate"]).item(), rel=1e-6)


def test_loss_is_on_average_the_negative_bound_that_evaluation_reports():
    torch.manual_seed(0)
    model, image = Model(TINY, {}), images(2).repeat(200, 1, 1, 1)
    with torch.no_grad():
        loss = model.training_step({"image": image}, *seeded(0))["main"].item()
    bound = model.log_likelihood(image, seeded(*range(400))).mean().item()
    assert loss == pytest.approx(-bound / (192 * math.log(2)), rel=0.03)


def test_collapsed_latents_are_counted():
    torch.manual_seed(0)
    model = Model(TINY, {})
    nn.init.zeros_(model.encoder[-1].conv.weight)
    assert model.training_step({"image": images(2)}, *seeded(0))["main/collapsed_frac"] == 1
    model.encoder[-1].conv.bias.data[0] = 3.0  # the mean of the first of two channels
    assert model.training_step({"image": images(2)}, *seeded(0))["main/collapsed_frac"] == 0.5


def test_kl_weight_warms_up_with_optimizer_steps_and_is_part_of_the_state():
    config = Config(image_px=8, width=8, channel_multipliers=(1,), num_groups=4, beta=2.0, kl_warmup_steps=4)
    model = Model(config, {})
    weights = []
    for _ in range(6):
        weights.append(model.kl_weight().item())
        model.after_step()
    assert weights == [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]
    other = Model(config, {})
    other.load_state_dict(model.state_dict())
    assert other.num_steps == 6
    assert Model(TINY, {}).kl_weight() == 1


def test_latents_have_the_stated_shape_and_decode_to_images():
    model, batch = tiny()
    z = model.encode_latent(batch["image"])
    assert z.shape == (4, model.latent_channels, model.latent_px, model.latent_px) == (4, 2, 4, 4)
    assert not z.requires_grad
    assert torch.equal(model.decode_latent(z), model.reconstruct(batch["image"]))
    assert model.decode_latent(100 * z).abs().max() <= 1


def test_generated_image_depends_on_its_generator_alone():
    model, _ = tiny()
    together = model.generate(["a", "b", "c"], seeded(1, 2, 3))
    torch.testing.assert_close(model.generate(["other"], seeded(2)), together[1:2], rtol=0, atol=1e-5)
    assert not torch.allclose(together[0], together[1])
    with pytest.raises(ValueError, match=r"sampling settings must be empty for vae, got \['eta'\]"):
        model.generate(["a"], seeded(1), eta=0.5)


def test_learns_to_reconstruct_two_images():
    torch.manual_seed(0)
    model = Model(TINY, {})
    left = torch.ones(3, 8, 8)
    left[:, :, 4:] = -0.6
    image = torch.stack([left, left.flip(2)])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    before = (model.reconstruct(image) - image).abs().mean()
    for generator in seeded(*range(100)):
        optimizer.zero_grad()
        losses = model.training_step({"image": image}, generator)
        losses["main"].backward()
        optimizer.step()
    assert (model.reconstruct(image) - image).abs().mean() < 0.1 < before
    assert losses["main"] < 4 < 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_px": 24}, "image_px must be a power of two"),
        ({"image_px": 2, "channel_multipliers": (1, 1, 1)}, r"at least 2\^\(levels - 1\) = 4, got 2"),
        ({"width": 12, "num_groups": 8}, "width must be a positive multiple of num_groups = 8, got 12"),
        ({"beta": -1.0}, "beta must be at least 0, got -1.0"),
        ({"kl_warmup_steps": -1}, "kl_warmup_steps must be at least 0"),
        ({"initial_sigma": 0.0}, "initial_sigma must be positive"),
        ({"latent_channels": 0}, "latent_channels must be positive"),
        ({"channel_multipliers": (1, 0)}, "channel_multipliers must be positive integers"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Config(**change)


def test_bases_are_refused():
    with pytest.raises(ValueError, match=r"bases must be empty for vae, got \['text'\]"):
        Model(TINY, {"text": nn.Identity()})
