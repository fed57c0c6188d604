"""PSNR and SSIM against scikit-image and torchmetrics."""

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import peak_signal_noise_ratio as pooled_psnr
from torchmetrics.functional.image import structural_similarity_index_measure

from metrics import reconstruction
from metrics.reconstruction import Config, Metric


def pairs(num_images: int = 6, height_px: int = 40, width_px: int = 56) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches of a photograph with more and more noise, uint8."""
    rng = np.random.default_rng(0)
    images = np.stack([data.astronaut()[20 * i : 20 * i + height_px, 100 : 100 + width_px] for i in range(num_images)])
    noise = rng.normal(size=images.shape) * np.linspace(2, 60, num_images)[:, None, None, None]
    noisy = (images + noise).round().clip(0, 255).astype(np.uint8)
    return tuple(torch.from_numpy(each).permute(0, 3, 1, 2) for each in (images, noisy))


def scored(images, reconstructions, **settings) -> Metric:
    metric = Metric(Config(**settings))
    metric.update(images=images, reconstructions=reconstructions)
    return metric


def test_scikit_image_agrees():
    images, noisy = pairs()
    per_sample = scored(images, noisy).per_sample()
    for index, (image, other) in enumerate(zip(images.numpy(), noisy.numpy(), strict=True)):
        ssim = structural_similarity(
            image,
            other,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=0,
        )
        assert per_sample["ssim"][index] == pytest.approx(ssim, abs=1e-12)
        psnr = peak_signal_noise_ratio(image, other, data_range=255)
        assert per_sample["psnr_per_image"][index] == pytest.approx(psnr)


def test_torchmetrics_agrees_inside_the_border():
    images, noisy = (each.double() for each in pairs())
    mean, full = structural_similarity_index_measure(
        noisy, images, data_range=255.0, reduction="none", return_full_image=True
    )
    ours = reconstruction.structural_similarity(images, noisy)
    assert torch.allclose(ours, full[..., 5:-5, 5:-5].mean((1, 2, 3)), atol=1e-6)
    assert (ours - mean).abs().max() > 1e-4, "with the mirrored border it is another number"


def test_pooled_psnr_is_not_the_mean_of_psnrs():
    images, noisy = pairs()
    values = scored(images, noisy).compute()
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
    values = scored(images, others).compute()
    assert values["psnr"].value == pytest.approx(23.18, abs=0.01)
    assert values["psnr_per_image"].value == pytest.approx((20.17 + 60.17) / 2, abs=0.01)


def test_equal_images_count_as_one_level_off():
    images, noisy = pairs()
    noisy[0] = images[0]
    noisy[1] = images[1]
    noisy[1, 0, 0, 0] ^= 1
    per_sample = scored(images, noisy).per_sample()
    assert per_sample["squared_error"][0] == 0
    assert per_sample["psnr_per_image"][0] == pytest.approx(per_sample["psnr_per_image"][1])
    equal = scored(images, images).compute()
    assert equal["ssim"].value == pytest.approx(1)
    assert np.isfinite([equal["psnr"].value, equal["psnr"].high, equal["psnr_per_image"].value]).all()


def test_constant_images_have_a_ssim():
    """From the means alone: (2 a b + C1) / (a^2 + b^2 + C1)."""
    images = torch.full((2, 3, 11, 11), 100, dtype=torch.uint8)
    ssim = scored(images, images + 50).compute()["ssim"].value
    assert ssim == pytest.approx((2 * 100 * 150 + 6.5025) / (100**2 + 150**2 + 6.5025))


def test_interval_of_psnr_is_that_of_the_mean_error():
    images, noisy = pairs(num_images=8)
    estimate = scored(images, noisy, num_resamples=400).compute()["psnr"]
    errors = scored(images, noisy).per_sample()["squared_error"]
    assert 10 * np.log10(255**2 / errors.max()) <= estimate.low < estimate.high <= 10 * np.log10(255**2 / errors.min())


def test_form_is_checked():
    images, noisy = pairs()
    with pytest.raises(AssertionError, match="must be uint8 of one shape"):
        scored(images, noisy.float())
    with pytest.raises(ValueError, match="images must be at least 11 px, got"):
        scored(images[..., :10], noisy[..., :10])
