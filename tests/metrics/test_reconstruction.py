"""PSNR, SSIM and MS-SSIM of sets of images against scikit-image and torchmetrics."""

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import peak_signal_noise_ratio
from torchmetrics.functional.image import peak_signal_noise_ratio as pooled_psnr

from metrics import reconstruction
from metrics.reconstruction import Config, Metric
from metrics.shared.ssim import multiscale_structural_similarity, structural_similarity


def pairs(num_images: int = 6, height_px: int = 40, width_px: int = 56) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches of a photograph with more and more noise, uint8."""
    rng = np.random.default_rng(0)
    images = np.stack([data.astronaut()[20 * i : 20 * i + height_px, 100 : 100 + width_px] for i in range(num_images)])
    noise = rng.normal(size=images.shape) * np.linspace(2, 60, num_images)[:, None, None, None]
    noisy = (images + noise).round().clip(0, 255).astype(np.uint8)
    return tuple(torch.from_numpy(each).permute(0, 3, 1, 2) for each in (images, noisy))


def scored(*batches, **settings) -> Metric:
    metric = Metric(Config(**settings))
    for images, reconstructions in batches:
        metric.update(images=images, reconstructions=reconstructions)
    return metric


def test_values_per_image_are_those_of_scikit_image_and_of_the_arithmetic():
    images, noisy = pairs()
    per_sample = scored((images, noisy)).per_sample()
    for index, (image, other) in enumerate(zip(images.numpy(), noisy.numpy(), strict=True)):
        psnr = peak_signal_noise_ratio(image, other, data_range=255)
        assert per_sample["psnr_per_image"][index] == pytest.approx(psnr)
    assert np.allclose(per_sample["ssim"], structural_similarity(images.double(), noisy.double()))


def test_pooled_psnr_is_not_the_mean_of_psnrs():
    images, noisy = pairs()
    values = scored((images, noisy)).compute()
    expected = pooled_psnr(noisy.double(), images.double(), data_range=255.0).item()
    assert values["psnr"].value == pytest.approx(expected, abs=1e-4)
    assert values["psnr_per_image"].value > values["psnr"].value + 1
    assert tuple(values) == ("psnr", "psnr_per_image", "ssim")
    for estimate in values.values():
        assert estimate.low < estimate.value < estimate.high
        assert (estimate.n, estimate.higher_is_better) == (6, True)


def test_twenty_and_sixty_decibels():
    images = torch.full((2, 3, 16, 16), 100, dtype=torch.uint8)
    others = images.clone()
    others[0] += 25  # 20.2 dB
    others[1, :, 0, 0] += 4  # 60.2 dB
    values = scored((images, others)).compute()
    assert values["psnr"].value == pytest.approx(23.18, abs=0.01)
    assert values["psnr_per_image"].value == pytest.approx((20.17 + 60.17) / 2, abs=0.01)


def test_equal_images_count_as_one_level_off():
    images, noisy = pairs()
    noisy[0] = images[0]
    noisy[1] = images[1]
    noisy[1, 0, 0, 0] ^= 1
    per_sample = scored((images, noisy)).per_sample()
    assert per_sample["squared_error"][0] == 0
    assert per_sample["psnr_per_image"][0] == pytest.approx(per_sample["psnr_per_image"][1])
    equal = scored((images, images)).compute()
    assert equal["ssim"].value == pytest.approx(1)
    assert np.isfinite([equal["psnr"].value, equal["psnr"].high, equal["psnr_per_image"].value]).all()


def test_interval_of_psnr_is_that_of_the_mean_error():
    images, noisy = pairs(num_images=8)
    estimate = scored((images, noisy), num_resamples=400).compute()["psnr"]
    errors = scored((images, noisy)).per_sample()["squared_error"]
    assert 10 * np.log10(255**2 / errors.max()) <= estimate.low < estimate.high <= 10 * np.log10(255**2 / errors.min())


def test_large_images_have_five_scales():
    images, noisy = pairs(num_images=3, height_px=176, width_px=180)
    metric = scored((images, noisy))
    expected = multiscale_structural_similarity(images.double(), noisy.double())
    assert np.allclose(metric.per_sample()["ms_ssim"], expected)
    assert metric.compute()["ms_ssim"].value == pytest.approx(expected.mean().item())
    assert metric.protocol()["ms_ssim"] == "five scales"


def test_one_image_that_is_too_small_leaves_five_scales_out():
    """A mean over the others would be of another test set."""
    large, small = pairs(num_images=3, height_px=176, width_px=180), pairs(num_images=2, height_px=175, width_px=300)
    metric = scored(large, small)
    assert "ms_ssim" not in metric.compute() and "ms_ssim" not in metric.per_sample()
    assert metric.protocol()["ms_ssim"] == "left out, 2 images below 176 px"
    assert metric.compute()["ssim"].n == 5


def test_values_do_not_depend_on_how_many_are_compared_at_once(monkeypatch):
    images, noisy = pairs()
    expected = scored((images, noisy)).per_sample()
    monkeypatch.setattr(reconstruction, "BLOCK_VALUES", 1)
    for key, values in scored((images, noisy)).per_sample().items():
        assert np.array_equal(values, expected[key]), key


def test_form_is_checked():
    images, noisy = pairs()
    with pytest.raises(AssertionError, match="must be uint8 of one shape"):
        scored((images, noisy.float()))
    with pytest.raises(ValueError, match="images must be at least 11 px, got"):
        scored((images[..., :10], noisy[..., :10]))
