"""LPIPS against torchmetrics' with the same weights, which the test makes."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
import torchvision
from skimage import data
from skimage.filters import gaussian
from torchmetrics.functional.image import lpips as theirs

from metrics import lpips
from metrics.lpips import NETWORKS, Config, Metric

NAMES = {"alexnet": "alex", "vgg16": "vgg"}


def pairs(num_images: int = 3, height_px: int = 64, width_px: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches of a photograph with more and more noise, uint8."""
    rng = np.random.default_rng(0)
    images = np.stack([data.astronaut()[20 * i : 20 * i + height_px, 100 : 100 + width_px] for i in range(num_images)])
    noise = rng.normal(size=images.shape) * np.linspace(5, 60, num_images)[:, None, None, None]
    noisy = (images + noise).round().clip(0, 255).astype(np.uint8)
    return tuple(torch.from_numpy(each).permute(0, 3, 1, 2) for each in (images, noisy))


def trunk(name: str) -> torch.nn.Sequential:
    """torchvision's layers without memory, so that the classifier behind them costs nothing."""
    with torch.device("meta"):
        return getattr(torchvision.models, name)(weights=None).features


@pytest.fixture(params=["alexnet", "vgg16"])
def trained(request, tmp_path):
    """Settings that name a file of weights, and torchmetrics' network with the same weights."""
    generator = torch.Generator().manual_seed(0)
    features = trunk(request.param)
    weights = {
        key: 0.1 * torch.randn(slot.shape, generator=generator)
        if slot.ndim == 1
        else torch.randn(slot.shape, generator=generator) * (2 / slot[0].numel()) ** 0.5
        for key, slot in features.state_dict().items()
    }
    path = tmp_path / "trunk.pth"
    torch.save({f"features.{key}": value for key, value in weights.items()}, path)
    config = Config(
        network=NAMES[request.param],
        weights_file=str(path),
        weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        num_resamples=100,
    )
    return config, peer(request.param, weights)


def peer(name: str, weights: dict[str, torch.Tensor], *, learned: bool = True) -> torch.nn.Module:
    def features(_net: str, _pretrained: bool = False) -> torch.nn.Sequential:
        layers = trunk(name)
        layers.load_state_dict(weights, assign=True)
        return layers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theirs, "_get_tv_model_features", features)
        network = theirs._LPIPS(net=NAMES[name], pretrained=learned, use_dropout=True)
    if not learned:
        for head in network.lins:
            torch.nn.init.ones_(head.model[-1].weight)
    return network


def scored(config: Config, images: torch.Tensor, reconstructions: torch.Tensor) -> Metric:
    metric = Metric(config)
    metric.update(images=images, reconstructions=reconstructions)
    return metric


def distances(network: torch.nn.Module, images: torch.Tensor, others: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return network(*(each.float() / 127.5 - 1 for each in (images, others))).flatten().numpy()


@pytest.mark.parametrize("sides", [(64, 64), (80, 97)])
def test_torchmetrics_agrees(trained, sides):
    config, network = trained
    images, noisy = pairs(2, *sides)
    metric = scored(config, images, noisy)
    key = f"lpips_{config.network}"
    expected = distances(network, images, noisy)
    assert metric.per_sample()[key] == pytest.approx(expected, rel=1e-4)
    assert metric.compute()[key].value == pytest.approx(expected.mean(), rel=1e-4)
    assert not metric.compute()[key].higher_is_better
    assert metric.protocol()["network_sha256"] == config.weights_sha256


def test_the_range_of_the_values_is_that_of_the_network(trained):
    """Values in [0, 1] where [-1, 1] is expected would be another distance."""
    config, network = trained
    images, noisy = pairs(1)
    ours = scored(config, *(each.expand(2, -1, -1, -1) for each in (images, noisy))).per_sample()
    with torch.no_grad():
        unit = network(*(each.float() / 255 for each in (images, noisy)))
        normalised = network(*(each.float() / 255 for each in (images, noisy)), normalize=True)
    value = ours[f"lpips_{config.network}"][0]
    assert value == pytest.approx(normalised.item(), rel=1e-4)
    assert value != pytest.approx(unit.item(), rel=1e-2)


@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_random_weights_are_another_score_with_all_channels_alike(name):
    config = Config(network=NAMES[name], num_resamples=100)
    images, noisy = pairs(2)
    metric = scored(config, images, noisy)
    assert list(metric.compute()) == [f"perceptual_random-{config.network}"]
    with torch.no_grad():
        loaded = lpips._load(config.network, "", "", torch.device("cpu")).features.state_dict()
    full = {key: loaded.get(key, torch.zeros(slot.shape)) for key, slot in trunk(name).state_dict().items()}
    expected = distances(peer(name, full, learned=False), images, noisy)
    assert metric.per_sample()[metric.key] == pytest.approx(expected, rel=1e-4)
    assert metric.protocol()["network_sha256"] == NETWORKS[config.network].random_sha256
    assert metric.protocol()["channel_weights"] == "1"


def test_distance_grows_with_the_damage():
    clean = data.astronaut()[100:164, 180:244]
    rng = np.random.default_rng(1)
    noisy = [clean + rng.normal(size=clean.shape) * level for level in (5, 20, 80)]
    blurred = [255 * gaussian(clean / 255, sigma, channel_axis=2) for sigma in (0.5, 1, 4)]
    others = torch.from_numpy(np.stack(noisy + blurred).round().clip(0, 255).astype(np.uint8)).permute(0, 3, 1, 2)
    images = torch.from_numpy(clean).permute(2, 0, 1).expand(6, -1, -1, -1)
    values = scored(Config(), images, others).per_sample()["perceptual_random-alex"]
    assert 0 < values[0] < values[1] < values[2]
    assert 0 < values[3] < values[4] < values[5]
    assert (scored(Config(), images, images).per_sample()["perceptual_random-alex"] == 0).all()


def test_small_images_are_enlarged():
    images, noisy = pairs(2, 16, 24)
    values = scored(Config(), images, noisy).per_sample()["perceptual_random-alex"]
    network = lpips._load("alex", "", "", torch.device("cpu"))
    large = [
        torch.nn.functional.interpolate(each.float(), size=(64, 96), mode="bilinear") / 127.5 - 1
        for each in (images, noisy)
    ]
    full = {
        key: network.features.state_dict().get(key, torch.zeros(slot.shape))
        for key, slot in trunk("alexnet").state_dict().items()
    }
    with torch.no_grad():
        expected = peer("alexnet", full, learned=False)(*large).flatten().numpy()
    assert values == pytest.approx(expected, rel=1e-4)


def test_the_network_is_loaded_once_and_not_kept_in_the_metric():
    lpips._load.cache_clear()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    images, noisy = pairs(2)
    for _ in range(3):
        metric = scored(Config(), images, noisy)
    assert lpips._load.cache_info().misses == 1
    assert not list(metric.children())
    assert len(pickle.dumps(metric)) < 20_000
    assert torch.equal(before, torch.get_rng_state()), "no draw from the global generator"


def test_files_are_checked(tmp_path):
    images, noisy = pairs(1)
    path = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=r"does not hold torchvision's alexnet: features.0.bias must be \[64\], got"):
        scored(Config(weights_file=str(path), weights_sha256=sha256), images, noisy)
    with pytest.raises(ValueError, match="must have sha256"):
        scored(Config(weights_file=str(path), weights_sha256="0" * 64), images, noisy)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network": "squeeze"}, "network must be one of alex, vgg, got 'squeeze'"),
        ({"weights_file": "a.pth"}, "must both be given, or neither"),
        ({"weights_sha256": "0" * 64}, "must both be given, or neither"),
        ({"weights_file": "a.pth", "weights_sha256": "0"}, "64 lower-case hexadecimal digits"),
        ({"num_resamples": 1}, "num_resamples must be at least 100"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(**settings)
