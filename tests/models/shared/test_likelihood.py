import math

import pytest
import torch

from models.shared.likelihood import (
    bits_per_dim,
    diffusion_bound,
    discretized_gaussian_log_prob,
    gaussian_kl,
)
from models.shared.samplers import VARIANCES, plan
from models.shared.schedules import NoiseSchedule, linear_betas, to_denoised

TABLE = NoiseSchedule(linear_betas(1000)).alpha_bars
ALL_STEPS = plan(TABLE, list(range(1000))[::-1])
LEVELS = torch.arange(256, dtype=torch.float64) / 127.5 - 1


def gaussian_denoiser(x, timestep, data_variance=0.25):
    alpha_bar = TABLE[timestep].item()
    x0 = math.sqrt(alpha_bar) * data_variance / (alpha_bar * data_variance + 1 - alpha_bar) * x
    return to_denoised("x0", x0, x, math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar))


def quadrature():
    """Points and noise with E x = E n = E xn = 0, E x^2 = 0.25 and E n^2 = 1: exact for quadratic terms."""
    x0 = torch.tensor([0.5, -0.5, 0.5, -0.5], dtype=torch.float64).reshape(1, 1, 2, 2)
    noise = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64).reshape(1, 1, 2, 2)
    return x0, noise


def test_kl_equals_torch_distributions():
    generator = torch.Generator().manual_seed(0)
    mean, log_variance, other_mean, other_log_variance = torch.randn(4, 50, generator=generator, dtype=torch.float64)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (log_variance / 2).exp()),
        torch.distributions.Normal(other_mean, (other_log_variance / 2).exp()),
    )
    torch.testing.assert_close(gaussian_kl(mean, log_variance, other_mean, other_log_variance), expected)


@pytest.mark.parametrize("sigma", [0.003, 0.05, 0.5, 3.0])
@pytest.mark.parametrize("mean", [-1.3, -1.0, 0.1, 0.99, 2.0])
def test_probabilities_of_the_256_values_sum_to_one(mean, sigma):
    log_sigma = torch.tensor(math.log(sigma), dtype=torch.float64)
    log_prob = discretized_gaussian_log_prob(LEVELS, torch.full_like(LEVELS, mean), log_sigma)
    assert (log_prob <= 0).all()
    assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_agrees_with_cdf_differences():
    log_sigma = torch.tensor(math.log(0.2), dtype=torch.float64)
    normal = torch.distributions.Normal(torch.tensor(0.137, dtype=torch.float64), log_sigma.exp())
    below = normal.cdf(LEVELS[:-1] + 1 / 255)
    expected = torch.cat([below[:1], below.diff(), 1 - below[-1:]]).log()
    found = discretized_gaussian_log_prob(LEVELS, torch.full_like(LEVELS, 0.137), log_sigma)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    single = discretized_gaussian_log_prob(LEVELS.float(), torch.full((256,), 0.137), log_sigma.float())
    torch.testing.assert_close(single, expected.float(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("mean", [-40.0, -1.0, 0.0, 40.0])
@pytest.mark.parametrize("log_sigma", [-8.0, -3.0, 2.0])
def test_values_and_gradients_are_finite_in_the_tails(mean, log_sigma):
    means = torch.full((256,), mean, requires_grad=True)
    scale = torch.tensor(log_sigma, requires_grad=True)
    log_prob = discretized_gaussian_log_prob(LEVELS.float(), means, scale)
    log_prob.sum().backward()
    assert torch.isfinite(log_prob).all()
    assert torch.isfinite(means.grad).all()
    assert torch.isfinite(scale.grad)
    if abs(mean) == 40:  # so far out, the nearer edge of a closed bin is what counts
        edges = (LEVELS.float() - means).detach().abs() - 1 / 255
        expected = edges * math.exp(-2 * log_sigma)
        torch.testing.assert_close(means.grad.abs()[1:-1], expected[1:-1], rtol=0.04, atol=0)


def test_gradient_is_that_of_the_formula():
    x = LEVELS[[0, 3, 128, 255]]
    mean = torch.tensor([-0.9, -0.8, 0.2, 0.7], dtype=torch.float64, requires_grad=True)
    log_sigma = torch.tensor(-1.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m, s: discretized_gaussian_log_prob(x, m, s), (mean, log_sigma))


@pytest.mark.parametrize(("variance", "bits"), [(5.4531877e-5, 1.30538), (1e-4, 1.71285)])
def test_decoder_cost_when_the_mean_is_exact(variance, bits):
    x = LEVELS[1:-1]
    log_prob = discretized_gaussian_log_prob(x, x, torch.tensor(0.5 * math.log(variance), dtype=torch.float64))
    assert bits_per_dim(-log_prob.mean(), 1).item() == pytest.approx(bits, abs=1e-5)


def test_a_uniform_model_costs_eight_bits():
    nats = torch.tensor([3 * 4 * 4 * math.log(256)])
    assert bits_per_dim(nats, 3 * 4 * 4).item() == pytest.approx(8)


@pytest.mark.parametrize(("variance", "nats"), [("fixed_small", 1.295717), ("fixed_large", 0.840461)])
def test_bound_of_the_optimal_gaussian_denoiser(variance, nats):
    """All terms but the decoder, plus the density of a continuous decoder with the same mean and variance."""
    x0, noise = quadrature()
    terms = diffusion_bound(gaussian_denoiser, x0, ALL_STEPS, variance, lambda: noise)
    x_1 = math.sqrt(ALL_STEPS[-1].alpha_bar) * x0 + math.sqrt(1 - ALL_STEPS[-1].alpha_bar) * noise
    decoder = torch.distributions.Normal(gaussian_denoiser(x_1, 0).x0, math.sqrt(ALL_STEPS[-2].posterior_variance))
    bound = (terms.prior + terms.transitions.sum(1)).item() * math.log(2) - decoder.log_prob(x0).mean().item()
    assert bound == pytest.approx(nats, abs=2e-6)
    assert bound > 0.5 * math.log(2 * math.pi * math.e * 0.25)


@pytest.mark.parametrize(("mean_square", "bits"), [(0.25, 7.2787e-6), (0.5, 1.45568e-5), (1.0, 2.91129e-5)])
def test_prior_term(mean_square, bits):
    _, noise = quadrature()
    x0 = torch.full_like(noise, math.sqrt(mean_square))
    terms = diffusion_bound(gaussian_denoiser, x0, ALL_STEPS, "fixed_small", lambda: noise)
    assert terms.prior.item() == pytest.approx(bits, rel=1e-4)


def test_transition_weights_on_the_epsilon_error():
    """With sigma^2 the posterior variance, an epsilon error of 1 costs the known weight at each t."""
    x0, noise = quadrature()

    def off_by_one(x, timestep):
        alpha_bar = TABLE[timestep].item()
        return to_denoised("epsilon", noise + 1, x, math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar))

    terms = diffusion_bound(off_by_one, x0, ALL_STEPS, "fixed_small", lambda: noise)
    weights = terms.transitions[0] * math.log(2)
    assert terms.transitions.shape == (1, 999)
    expected = {2: 0.59967, 10: 0.086437, 100: 0.010267, 500: 0.0055082, 1000: 0.0102045}
    for t, weight in expected.items():
        assert weights[t - 2].item() == pytest.approx(weight, rel=1e-4)


@pytest.mark.parametrize("variance", VARIANCES)
def test_transition_terms_are_the_kl_of_the_two_normals(variance):
    x0, noise = quadrature()
    steps = plan(TABLE, [900, 500, 10])
    terms = diffusion_bound(gaussian_denoiser, x0, steps, variance, lambda: noise)
    step = steps[1]
    x_t = math.sqrt(step.alpha_bar) * x0 + math.sqrt(1 - step.alpha_bar) * noise

    def mean(clean):
        return (
            math.sqrt(step.alpha_bar_after) * step.beta * clean
            + math.sqrt(1 - step.beta) * (1 - step.alpha_bar_after) * x_t
        ) / (1 - step.alpha_bar)

    reverse = step.posterior_variance if variance == "fixed_small" else step.beta
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean(x0), math.sqrt(step.posterior_variance)),
        torch.distributions.Normal(mean(gaussian_denoiser(x_t, 500).x0), math.sqrt(reverse)),
    ).mean()
    assert terms.transitions[0, 0].item() * math.log(2) == pytest.approx(expected.item(), rel=1e-9)
    total = terms.prior + terms.transitions.sum(1) + terms.decoder
    torch.testing.assert_close(terms.total(), total)
