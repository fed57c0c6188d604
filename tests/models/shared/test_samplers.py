import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from models.shared.samplers import (
    SPACINGS,
    VARIANCES,
    ancestral_step,
    ddim_step,
    guide,
    invert_ddim,
    plan,
    sample_ancestral,
    sample_ddim,
    timestep_grid,
)
from models.shared.schedules import Denoised, NoiseSchedule, linear_betas, to_denoised

TABLE = NoiseSchedule(linear_betas(1000)).alpha_bars
DATA_VARIANCE = 0.25


def gaussian_denoiser(x, timestep):
    """The optimal denoiser of data from N(0, 0.25)."""
    alpha_bar = TABLE[timestep].item()
    x0 = math.sqrt(alpha_bar) * DATA_VARIANCE / (alpha_bar * DATA_VARIANCE + 1 - alpha_bar) * x
    return to_denoised("x0", x0, x, math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar))


def normal_noise(shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator, dtype=dtype)


def no_noise():
    raise AssertionError("this step needs no noise")


def steps_for(num_steps, spacing="leading"):
    return plan(TABLE, timestep_grid(1000, num_steps, spacing))


def final_std(num_steps, sample, spacing="leading"):
    """Exact standard deviation: x_T and each draw get an axis of their own, so the norm adds up the variances."""
    draws = 0

    def axis():
        nonlocal draws
        draws += 1
        return torch.nn.functional.one_hot(torch.tensor([draws - 1]), num_steps + 1).double()

    return sample(axis(), steps_for(num_steps, spacing), axis).norm().item()


@pytest.mark.parametrize(
    ("num_steps", "eta", "std"),
    [
        (10, 0.0, 0.374128),
        (50, 0.0, 0.472439),
        (100, 0.0, 0.485981),
        (1000, 0.0, 0.498495),
        (10, 1.0, 0.333263),
        (50, 1.0, 0.444123),
        (100, 1.0, 0.468256),
        (1000, 1.0, 0.496110),
    ],
)
def test_ddim_reaches_the_known_std_of_gaussian_data(num_steps, eta, std):
    found = final_std(num_steps, lambda x, steps, draw: sample_ddim(gaussian_denoiser, x, steps, eta, draw))
    assert found == pytest.approx(std, abs=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("num_steps", [10, 1000])
def test_eta_one_is_ancestral_with_the_small_variance(num_steps, spacing):
    x = normal_noise((4, 8), seed=1)()
    ddim = sample_ddim(gaussian_denoiser, x, steps_for(num_steps, spacing), 1.0, normal_noise((4, 8)))
    ancestral = sample_ancestral(
        gaussian_denoiser, x, steps_for(num_steps, spacing), "fixed_small", normal_noise((4, 8))
    )
    torch.testing.assert_close(ddim, ancestral, rtol=0, atol=1e-11)


@pytest.mark.parametrize("variance", VARIANCES)
def test_full_ancestral_chain_recovers_the_data_variance(variance):
    found = final_std(1000, lambda x, steps, draw: sample_ancestral(gaussian_denoiser, x, steps, variance, draw))
    assert found == pytest.approx(0.5, abs=0.006)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("num_steps", [1, 3, 7, 10, 30, 999, 1000])
def test_grid_is_strictly_decreasing_of_the_asked_length_and_in_range(num_steps, spacing):
    grid = timestep_grid(1000, num_steps, spacing)
    assert len(grid) == num_steps
    assert all(a > b for a, b in pairwise(grid))
    assert grid[0] <= 999
    assert grid[-1] >= 0
    assert (0 in grid) if spacing == "leading" else (999 in grid)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("num_steps", [1, 10, 50, 1000])
def test_grid_equals_diffusers(num_steps, spacing):
    peer = DDIMScheduler(timestep_spacing=spacing)
    peer.set_timesteps(num_steps)
    assert timestep_grid(1000, num_steps, spacing) == peer.timesteps.tolist()


@pytest.mark.parametrize("num_steps", [0, 1001])
def test_grid_refuses_lengths_out_of_range(num_steps):
    with pytest.raises(ValueError, match=rf"sampling_steps must be in 1 .. num_timesteps = 1000, got {num_steps}"):
        timestep_grid(1000, num_steps, "leading")


@pytest.mark.parametrize("grid", [[], [5, 5], [1, 2], [1000, 3], [3, -1]])
def test_plan_refuses_bad_grids(grid):
    with pytest.raises(ValueError, match=r"strictly decreasing in 0 \.\. 999"):
        plan(TABLE, grid)


def test_plan_ends_at_the_data():
    steps = plan(TABLE, [900, 20, 3])
    assert [step.timestep for step in steps] == [900, 20, 3]
    assert [step.alpha_bar_after for step in steps] == [TABLE[20].item(), TABLE[3].item(), 1.0]
    assert steps[-1].posterior_variance == 0


@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("index", [0, 25, 49])
def test_ddim_step_equals_diffusers_with_its_table(prediction, eta, index):
    names = {"epsilon": "epsilon", "v": "v_prediction", "x0": "sample"}
    peer = DDIMScheduler(clip_sample=False, prediction_type=names[prediction])
    peer.alphas_cumprod, peer.final_alpha_cumprod = peer.alphas_cumprod.double(), torch.tensor(1.0).double()
    peer.set_timesteps(50)
    t = int(peer.timesteps[index])
    draw = normal_noise((2, 3, 4, 4))
    x_t, output, noise = draw(), draw(), draw()
    expected = peer.step(output, t, x_t, eta=eta, variance_noise=noise).prev_sample
    step = plan(peer.alphas_cumprod, peer.timesteps.tolist())[index]
    denoised = to_denoised(prediction, output, x_t, math.sqrt(step.alpha_bar), math.sqrt(1 - step.alpha_bar))
    torch.testing.assert_close(ddim_step(denoised, step, eta, lambda: noise), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("num_steps", [20, 1000])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_ancestral_step_equals_diffusers_with_its_table(variance, num_steps, share):
    peer = DDPMScheduler(clip_sample=False, variance_type=variance)
    peer.alphas_cumprod, peer.one = peer.alphas_cumprod.double(), torch.tensor(1.0).double()
    peer.set_timesteps(num_steps)
    index = int(share * (num_steps - 1))
    t = int(peer.timesteps[index])
    draw = normal_noise((2, 3, 4, 4))
    x_t, output = draw(), draw()
    peer_generator, our_generator = (torch.Generator().manual_seed(7) for _ in range(2))
    expected = peer.step(output, t, x_t, generator=peer_generator).prev_sample
    step = plan(peer.alphas_cumprod, peer.timesteps.tolist())[index]
    denoised = to_denoised("epsilon", output, x_t, math.sqrt(step.alpha_bar), math.sqrt(1 - step.alpha_bar))
    ours = ancestral_step(
        x_t, denoised, step, variance, lambda: torch.randn(x_t.shape, generator=our_generator, dtype=x_t.dtype)
    )
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)


def test_posterior_agrees_with_bayes_by_conditioning():
    """q(x_after | x_t, x_0) from the joint 2-D normal of (x_after, x_t) given x_0."""
    step = plan(TABLE, [700, 400])[0]
    x0, x_t = 0.3, -1.2
    mean_after, mean_t = math.sqrt(step.alpha_bar_after) * x0, math.sqrt(step.alpha_bar) * x0
    kept = math.sqrt(1 - step.beta)
    covariance = kept * (1 - step.alpha_bar_after)
    expected_mean = mean_after + covariance / (1 - step.alpha_bar) * (x_t - mean_t)
    expected_variance = 1 - step.alpha_bar_after - covariance**2 / (1 - step.alpha_bar)
    clean, noisy = torch.tensor([[x0], [x_t]], dtype=torch.float64)
    draws = [
        ancestral_step(noisy, Denoised(clean, noisy), step, "fixed_small", lambda z=z: torch.tensor([z]).double())
        for z in (0.0, 1.0)
    ]
    assert draws[0].item() == pytest.approx(expected_mean, abs=1e-12)
    assert (draws[1] - draws[0]).item() ** 2 == pytest.approx(expected_variance, rel=1e-12)


def test_deterministic_and_last_steps_draw_no_noise():
    x = normal_noise((2, 5))()
    first = sample_ddim(gaussian_denoiser, x, steps_for(20), 0.0, no_noise)
    assert torch.equal(first, sample_ddim(gaussian_denoiser, x, steps_for(20), 0.0, no_noise))
    last = steps_for(20)[-1:]
    assert torch.isfinite(sample_ddim(gaussian_denoiser, x, last, 1.0, no_noise)).all()
    for variance in VARIANCES:
        x0 = gaussian_denoiser(x, last[0].timestep).x0
        torch.testing.assert_close(sample_ancestral(gaussian_denoiser, x, last, variance, no_noise), x0)


def test_inversion_leads_back_to_the_images():
    x0 = 0.5 * normal_noise((4, 16))()
    errors = []
    for num_steps in (50, 1000):
        steps = steps_for(num_steps)
        noise = invert_ddim(gaussian_denoiser, x0, steps)
        errors.append(((sample_ddim(gaussian_denoiser, noise, steps, 0.0, no_noise) - x0) ** 2).mean().item())
    assert errors[1] < 1e-4
    assert errors[1] < errors[0]


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_mixture_of_two_points_is_sampled_in_its_proportions(eta):
    """Data are -0.5 (weight 0.3) and 0.5 (weight 0.7); the optimal denoiser is their posterior mean."""

    def denoise(x, timestep):
        alpha_bar = TABLE[timestep].item()
        alpha, variance = math.sqrt(alpha_bar), 1 - alpha_bar
        log_odds = math.log(0.7 / 0.3) + 2 * alpha * 0.5 * x / variance
        return to_denoised("x0", 0.5 * torch.tanh(log_odds / 2), x, alpha, math.sqrt(variance))

    samples = sample_ddim(denoise, normal_noise(20_000)(), steps_for(200), eta, normal_noise(20_000, seed=1)).numpy()
    assert np.abs(np.abs(samples) - 0.5).mean() < 0.02
    assert (samples > 0).mean() == pytest.approx(0.7, abs=0.015)


def test_guidance_identities():
    draw = normal_noise((2, 3, 4, 4))
    conditional, unconditional = draw(), draw()
    assert torch.equal(guide(conditional, unconditional, 0.0), unconditional)
    torch.testing.assert_close(guide(conditional, unconditional, 1.0), conditional)
    assert torch.equal(guide(conditional, conditional, 7.5), conditional)
    torch.testing.assert_close(
        guide(conditional, unconditional, 3.0), 3 * conditional - 2 * unconditional, rtol=1e-12, atol=1e-12
    )
