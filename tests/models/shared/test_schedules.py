import math

import pytest
import torch
from diffusers import DDPMScheduler

from models.shared.schedules import (
    PREDICTIONS,
    SCHEDULES,
    NoiseSchedule,
    clip_denoised,
    cosine_betas,
    linear_betas,
    min_snr_weight,
    prediction_target,
    to_denoised,
)


def noisy(alpha_bar: float):
    """x0, epsilon, x_t, alpha, sigma in float64."""
    generator = torch.Generator().manual_seed(0)
    x0 = torch.rand(2, 3, 4, 4, generator=generator, dtype=torch.float64) * 2 - 1
    epsilon = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    alpha, sigma = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    return x0, epsilon, alpha * x0 + sigma * epsilon, alpha, sigma


@pytest.mark.parametrize(
    ("name", "last", "first_log_snr"), [("linear", 4.0358298e-5, 9.2102), ("cosine", 2.4288e-9, 10.0950)]
)
def test_tables_match_published_ends(name, last, first_log_snr):
    schedule = NoiseSchedule(SCHEDULES[name](1000))
    assert schedule.alpha_bars[-1].item() == pytest.approx(last, rel=1e-4)
    assert schedule.snr(torch.tensor([0])).log().item() == pytest.approx(first_log_snr, abs=1e-4)


@pytest.mark.parametrize(("ours", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")])
def test_tables_equal_diffusers_to_its_float32(ours, theirs):
    peer = DDPMScheduler(beta_schedule=theirs).alphas_cumprod.double()
    torch.testing.assert_close(NoiseSchedule(SCHEDULES[ours](1000)).alpha_bars, peer, rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("num_timesteps", [21, 100, 1000, 4000])
def test_tables_are_decreasing_and_end_in_noise(name, num_timesteps):
    betas = SCHEDULES[name](num_timesteps)
    table = NoiseSchedule(betas).alpha_bars
    assert betas.dtype == table.dtype == torch.float64
    assert len(table) == num_timesteps
    assert ((betas > 0) & (betas < 1)).all()
    assert (table.diff() < 0).all()
    assert table[-1] / (1 - table[-1]) < 1e-2


def test_cosine_follows_the_squared_cosine_until_betas_are_capped():
    t = torch.arange(1, 901, dtype=torch.float64) / 1000
    level = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    expected = level / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    torch.testing.assert_close(NoiseSchedule(cosine_betas(1000)).alpha_bars[:900], expected, rtol=1e-10, atol=0)


def test_linear_refuses_too_few_timesteps():
    with pytest.raises(ValueError, match=r"num_timesteps must be at least 21 .* got 20"):
        linear_betas(20)


def test_snr_crosses_five_and_one_where_published():
    for name, five, one in [("linear", 130, 259), ("cosine", 261, 496)]:
        snr = NoiseSchedule(SCHEDULES[name](1000)).snr(torch.arange(1000))
        assert abs(int((snr > 5).sum()) - five) <= 1
        assert abs(int((snr > 1).sum()) - one) <= 1


def test_coefficients_equal_composed_single_steps():
    """Mean and variance of t one-step kernels, one after the other."""
    betas = linear_betas(1000)
    mean, variance = 1.0, 0.0
    for beta in betas[:300].tolist():
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
    alpha, sigma = NoiseSchedule(betas).coefficients(torch.tensor([299]))
    assert alpha.shape == sigma.shape == (1, 1, 1, 1)
    assert alpha.dtype == sigma.dtype == torch.float32
    assert alpha.item() == pytest.approx(mean, rel=1e-6)
    assert sigma.item() ** 2 == pytest.approx(variance, rel=1e-6)


def test_table_stays_float64_and_out_of_the_state_dict():
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), NoiseSchedule(linear_betas(100)))
    before = model[1].alpha_bars.clone()
    model.half()
    assert model[0].weight.dtype == torch.float16
    assert torch.equal(model[1].alpha_bars, before)
    assert model[1].alpha_bars.dtype == torch.float64
    assert set(model.state_dict()) == {"0.weight", "0.bias"}
    assert model.to("meta")[1].alpha_bars.device.type == "meta"


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("alpha_bar", [0.9999, 0.5, 1e-3])
def test_predictions_round_trip(prediction, alpha_bar):
    x0, epsilon, x_t, alpha, sigma = noisy(alpha_bar)
    output = prediction_target(prediction, x0, epsilon, alpha, sigma)
    denoised = to_denoised(prediction, output, x_t, alpha, sigma)
    torch.testing.assert_close(denoised.x0, x0, rtol=0, atol=1e-12)
    torch.testing.assert_close(denoised.epsilon, epsilon, rtol=0, atol=1e-12)


def test_v_equals_diffusers_velocity():
    peer = DDPMScheduler()
    x0, epsilon, *_ = noisy(0.5)
    alpha_bar = peer.alphas_cumprod[500].double()
    expected = peer.get_velocity(x0, epsilon, torch.tensor([500, 500]))
    ours = prediction_target("v", x0, epsilon, alpha_bar.sqrt(), (1 - alpha_bar).sqrt())
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("alpha_bar", [0.99, 0.7, 0.05])
def test_errors_of_the_predictions_relate_by_snr(alpha_bar):
    """||dv||^2 = (SNR + 1) ||dx0||^2 and ||d epsilon||^2 = SNR ||dx0||^2."""
    x0, epsilon, x_t, alpha, sigma = noisy(alpha_bar)
    wrong = to_denoised("x0", x0 + 0.1 * torch.sin(epsilon), x_t, alpha, sigma)
    snr = alpha_bar / (1 - alpha_bar)
    error_v = prediction_target("v", *wrong, alpha, sigma) - prediction_target("v", x0, epsilon, alpha, sigma)
    error_x0 = ((wrong.x0 - x0) ** 2).sum().item()
    assert (error_v**2).sum().item() == pytest.approx((snr + 1) * error_x0, rel=1e-10)
    assert ((wrong.epsilon - epsilon) ** 2).sum().item() == pytest.approx(snr * error_x0, rel=1e-10)


@pytest.mark.parametrize("alpha_bar", [0.999, 0.7, 0.05])
def test_min_snr_losses_are_one_loss_in_three_parametrisations(alpha_bar):
    x0, epsilon, x_t, alpha, sigma = noisy(alpha_bar)
    wrong = to_denoised("x0", x0 + 0.1 * torch.sin(epsilon), x_t, alpha, sigma)
    snr = torch.tensor([alpha_bar / (1 - alpha_bar)], dtype=torch.float64)
    expected = min(snr.item(), 5.0) * ((wrong.x0 - x0) ** 2).mean().item()
    for prediction in PREDICTIONS:
        error = prediction_target(prediction, *wrong, alpha, sigma)
        error = error - prediction_target(prediction, x0, epsilon, alpha, sigma)
        loss = min_snr_weight(prediction, snr, 5.0).item() * (error**2).mean().item()
        assert loss == pytest.approx(expected, rel=1e-6)


def test_clipping_keeps_the_two_estimates_consistent():
    x0, _, x_t, alpha, sigma = noisy(0.5)
    clipped = clip_denoised(to_denoised("x0", 1.5 * x0, x_t, alpha, sigma), x_t, alpha, sigma)
    assert clipped.x0.abs().max() == 1
    torch.testing.assert_close(alpha * clipped.x0 + sigma * clipped.epsilon, x_t, rtol=0, atol=1e-12)
    inside = to_denoised("x0", 0.9 * x0, x_t, alpha, sigma)
    torch.testing.assert_close(clip_denoised(inside, x_t, alpha, sigma).epsilon, inside.epsilon, rtol=0, atol=1e-12)
