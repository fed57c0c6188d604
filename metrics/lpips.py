"""LPIPS: distance of a reconstruction from its image in the features of a classification network.

Source: Zhang et al. 2018, arXiv:1801.03924, eq. 1: unit-length activations at each place of five layers, their squared
differences weighted by channel, mean over places, sum over layers. Lower is better.

Two keys, never one in place of the other:

- `lpips_<network>`, with `weights_file`: torchvision's AlexNet or VGG-16 trained on ImageNet, and the paper's learned
  channel weights (version 0.1), which torchmetrics ships. Most papers report `alex` and train with `vgg`.
- `perceptual_random-<network>`, without: the same network with random weights from a fixed seed, all channels weighted
  1 (the paper's distance before its weights are learned). It needs no file and owes nothing to ImageNet. It grows with
  noise and blur, but the paper found untrained networks to agree with people much less than trained ones: a check of
  other scores, not a measure of what people see.

Differs from the paper: images below 64 px, the size at which it was validated, are enlarged to 64 px (bilinear), where
AlexNet would have no map left. Its random networks are Gaussian, ours are He-uniform, without biases.

The network is not a part of the metric: it is loaded at the first update, once per process, and works on the device of
the images. Pairs are compared one by one, so that a value does not depend on its batch.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchmetrics
from torch import Tensor, nn
from torch.nn import functional as F

from metrics.shared.bootstrap import Resampling, bootstrap_estimate, resampled_means
from metrics.shared.metric import EvidenceMetric, Score
from metrics.shared.pairs import check_reconstructions
from metrics.shared.weights import check_digest, digest_weights, draw_weights, is_sha256, read_weights

MIN_PX = 64
RANDOM_KEY = 20180111
HEADS = Path("functional", "image", "lpips_models")
MEAN = (-0.030, -0.088, -0.188)  # of ImageNet, for values in [-1, 1]
DEVIATION = (0.458, 0.448, 0.450)
EPSILON = 1e-10


@dataclass(frozen=True, kw_only=True, slots=True)
class _Network:
    """What is known of a network without loading it.

    Attributes:
        maker: Its name in torchvision.
        layers: Places in its `features` whose output is compared.
        heads_sha256: Of the file with the learned channel weights.
        random_sha256: Of its random weights.
    """

    maker: str
    layers: tuple[int, ...]
    heads_sha256: str
    random_sha256: str


NETWORKS = {
    "alex": _Network(
        maker="alexnet",
        layers=(1, 4, 7, 9, 11),
        heads_sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        random_sha256="511fd285b11617f8fc60f7374073affd0ad5905c10e132c67af4ce724ec64aff",
    ),
    "vgg": _Network(
        maker="vgg16",
        layers=(3, 8, 15, 22, 29),
        heads_sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        random_sha256="85e49f9d867a1aa13de9510da5078e4b236c66ce508f9316ff1a49ba16fb3f9e",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Resampling):
    """Settings, besides those of the bootstrap.

    Attributes:
        network: `alex` or `vgg`.
        weights_file: torchvision's state dict of it, as `.pth` or `.safetensors`; empty for random weights.
        weights_sha256: sha256 that this file must have, 64 hexadecimal digits; empty for random weights.
    """

    network: str = "alex"
    weights_file: str = ""
    weights_sha256: str = ""

    def __post_init__(self) -> None:
        Resampling.__post_init__(self)
        if self.network not in NETWORKS:
            raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {self.network!r}")
        if (self.weights_file or self.weights_sha256) and not (self.weights_file and is_sha256(self.weights_sha256)):
            raise ValueError(
                "weights_file and weights_sha256 (64 lower-case hexadecimal digits) must both be given, or neither; "
                f"got {self.weights_file!r} and {self.weights_sha256!r}"
            )


class Metric(EvidenceMetric):
    """LPIPS, or the same distance in a random network; keeps two numbers per image.

    Attributes:
        key: Name of the result.
    """

    inputs = ("images", "reconstructions")

    def __init__(self, config: Config) -> None:
        super().__init__("distance", "num_values")
        self.config = config
        self.key = f"lpips_{config.network}" if config.weights_file else f"perceptual_random-{config.network}"

    @torch.no_grad()
    def update(self, *, images: Tensor, reconstructions: Tensor) -> None:
        """Adds images and their reconstructions, uint8 [n, 3, h, w] each.

        Raises:
            ValueError: The weights are missing, or are not those that are named.
        """
        check_reconstructions(images, reconstructions)
        network = _load(self.config.network, self.config.weights_file, self.config.weights_sha256, images.device)
        distances = [network(torch.stack(pair)) for pair in zip(images, reconstructions, strict=True)]
        self.append("distance", torch.tensor(distances), torch.float64)
        self.append("num_values", torch.full((len(images),), images.shape[1:].numel()), torch.int64)

    def score(self) -> Score:
        """The result; per image, its own distance."""
        distance, num_values = (self.rows(name).cpu().numpy() for name in ("distance", "num_values"))
        resampled = resampled_means(distance, np.arange(len(distance)), self.config)
        network = NETWORKS[self.config.network]
        return Score(
            estimates={
                self.key: bootstrap_estimate(distance.mean(), resampled, n=len(distance), higher_is_better=False)
            },
            per_sample={self.key: distance},
            protocol={
                "metric": self.key,
                "estimator": "uint8 RGB, mean over images; percentile bootstrap of images",
                "network_sha256": self.config.weights_sha256 or network.random_sha256,
                "channel_weights": f"sha256 {network.heads_sha256}" if self.config.weights_file else "1",
                "resize": f"bilinear to {MIN_PX}px where smaller",
                "num_values": int(num_values.sum()),
                "num_images": len(distance),
                "num_resamples": self.config.num_resamples,
                "seed": self.config.seed,
            },
        )


class _Distance(nn.Module):
    """The distance of two images.

    Args:
        features: The layers of a network, up to the last that is compared.
        layers: Places of those that are.
        heads: Weights of the channels of each of these, [1, channels, 1, 1].
    """

    def __init__(self, features: nn.Module, layers: tuple[int, ...], heads: list[Tensor]) -> None:
        super().__init__()
        self.features = features
        self.layers = layers
        self.heads = nn.ParameterList(nn.Parameter(head, requires_grad=False) for head in heads)
        self.mean, self.deviation = (
            nn.Parameter(torch.tensor(values)[:, None, None], requires_grad=False) for values in (MEAN, DEVIATION)
        )

    def forward(self, pair: Tensor) -> float:
        """uint8 [2, 3, h, w] -> the distance of the first from the second, at least 0."""
        values = (_enlarged(pair.float() / 127.5 - 1) - self.mean) / self.deviation
        total = 0.0
        for head, activation in zip(self.heads, self._activations(values), strict=True):
            directions = activation / (torch.linalg.vector_norm(activation, dim=1, keepdim=True) + EPSILON)
            total += float((head * (directions[:1] - directions[1:]).square()).sum(1).mean())
        return total

    def _activations(self, values: Tensor) -> Iterator[Tensor]:
        for place, layer in enumerate(self.features.children()):
            values = layer(values)
            if place in self.layers:
                yield values


@functools.lru_cache(maxsize=2)
def _load(name: str, weights_file: str, weights_sha256: str, device: torch.device) -> _Distance:
    """The network, from its file or its stream.

    Raises:
        ValueError: The weights are missing, or are not those that the digest names.
    """
    import torchvision

    network = NETWORKS[name]
    with torch.device("meta"):  # no memory, and no draws from the global generator
        classifier: Any = getattr(torchvision.models, network.maker)(weights=None)
        features = classifier.features[: network.layers[-1] + 1]
    shapes = {key: slot.shape for key, slot in features.state_dict().items()}
    if weights_file:
        given = read_weights(Path(weights_file), weights_sha256)
        weights = {key: given.get(f"features.{key}", torch.empty(0)).float() for key in shapes}
        wrong = [key for key, shape in shapes.items() if weights[key].shape != shape]
        if wrong:
            raise ValueError(
                f"weights_file {weights_file} does not hold torchvision's {network.maker}: features.{wrong[0]} must be "
                f"{list(shapes[wrong[0]])}, got {list(weights[wrong[0]].shape)}"
            )
        path = Path(torchmetrics.__file__).parent / HEADS / f"{name}.pth"
        learned = read_weights(path, network.heads_sha256)
        heads = [learned[f"lin{place}.model.1.weight"] for place in range(len(network.layers))]
    else:
        weights = draw_weights(shapes, RANDOM_KEY)
        check_digest(f"the weights of random-{name}", digest_weights(weights.values()), network.random_sha256)
        heads = [torch.ones(1)] * len(network.layers)
    features.load_state_dict(weights, assign=True)
    return _Distance(features, network.layers, heads).eval().requires_grad_(False).to(device)


def _enlarged(values: Tensor) -> Tensor:
    """[n, 3, h, w] with a smaller side of at least 64."""
    height, width = values.shape[2:]
    factor = MIN_PX / min(height, width)
    if factor <= 1:
        return values
    size = (round(height * factor), round(width * factor))
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False)
