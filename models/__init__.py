"""Models: one module per published method, found by module name.

Every plug-in module has a `Config` (frozen, keyword-only dataclass; ranges checked in `__post_init__`) and a `Model`:

    Model(config: Config, bases: Mapping[str, torch.nn.Module])

`bases` are the loaded models it builds on (`{}` for none). What a model can do is what methods it has, named by the
protocols below. Images are RGB float32 in [-1, 1], `[batch, 3, height, width]`; videos add a frame axis after the
batch. Models know torch, and nothing of Beam, DVC, shards or params.yaml.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

Batch = Mapping[str, Any]
"""What the loop hands to a model; only what the model's `batch_keys` names is present.

`image` float32 [B, 3, H, W] in [-1, 1] (H = W = `Model.image_px`) · `video` float32 [B, F, 3, H, W] (F = `num_frames`)
· `frame_mask` bool [B, F] · `caption` list[str] · `group` int64 [B], equal for captions of one and the same sample ·
and, for models with `frozen_features`, the tensors that it returned for these samples.
"""


@runtime_checkable
class Trainable(Protocol):
    """What the training loop needs.

    Attributes:
        image_px: Side of the square images that the loader makes.
        batch_keys: The keys of `Batch` that `training_step` reads.
    """

    image_px: int
    batch_keys: tuple[str, ...]

    def training_step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Losses by optimizer group (`main` where there is one); keys with a slash (`main/itc`) are terms to log."""
        ...


@runtime_checkable
class Grouped(Protocol):
    """A model with several optimizers (a GAN), or that trains a part of its parameters."""

    def parameter_groups(self) -> dict[str, list[torch.nn.Parameter]]:
        """Parameters by optimizer group; without this method `main` is every parameter that requires a gradient."""
        ...


@runtime_checkable
class Contrastive(Protocol):
    """A loss over all pairs of a batch, split so that accumulation and `torchrun` see the whole batch (GradCache)."""

    def embed(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Per-sample embeddings, each [B, ...]; micro-batches and ranks are concatenated on the first axis."""
        ...

    def contrastive_loss(self, embeddings: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Losses by optimizer group from the embeddings of the whole batch."""
        ...


@runtime_checkable
class Featurizing(Protocol):
    """A model whose frozen part is run once per sample; its outputs are cached and take the place of the pixels."""

    def frozen_features(self, batch: Batch) -> dict[str, Tensor]:
        """Features from `image`, `video` or `caption`, each [B, ...], without gradient; equal for any batching."""
        ...


@runtime_checkable
class Stepping(Protocol):
    """A model with something to do after each optimizer step (a clamp, a momentum copy)."""

    def after_step(self) -> None:
        """Called once after every optimizer step."""
        ...


@runtime_checkable
class ImageEncoder(Protocol):
    """Embeds pictures."""

    def encode_image(self, image: Tensor) -> Tensor:
        """float32 [B, 3, H, W] -> float32 [B, D], rows of length 1."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """Embeds captions, into the space of the model's pictures or clips."""

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """B captions -> float32 [B, D], rows of length 1."""
        ...


@runtime_checkable
class VideoEncoder(Protocol):
    """Embeds clips."""

    def encode_video(self, video: Tensor, frame_mask: Tensor) -> Tensor:
        """float32 [B, F, 3, H, W], bool [B, F] (True where a frame is) -> float32 [B, D], rows of length 1."""
        ...


@runtime_checkable
class Matcher(Protocol):
    """Judges whether a caption describes a picture."""

    def match(self, image: Tensor, captions: Sequence[str], owners: Tensor | None = None) -> Tensor:
        """Probability in [0, 1] that caption i describes image `owners[i]` (image i without owners), float32 [B].

        Every image is encoded once, however many captions it has.
        """
        ...


@runtime_checkable
class Captioner(Protocol):
    """Describes pictures."""

    def caption(self, image: Tensor, generators: Sequence[torch.Generator], **decoding: Any) -> list[str]:
        """K captions per image, one image's after the other, for k times as many generators as images.

        Randomness of a caption comes from its own generator alone, so batching changes nothing.
        """
        ...


@runtime_checkable
class Reconstructor(Protocol):
    """Encodes pictures and decodes them again."""

    def reconstruct(self, image: Tensor) -> Tensor:
        """float32 [B, 3, H, W] in [-1, 1] -> the same shape and range, without sampling."""
        ...


@runtime_checkable
class Generator(Protocol):
    """Makes pictures."""

    def generate(self, captions: Sequence[str], generators: Sequence[torch.Generator], **sampling: Any) -> Tensor:
        """One image per caption, float32 [B, 3, H, W] in [-1, 1]; noise of image i comes from generator i alone.

        A model that does not read text ignores the captions (`conditional = False` says so).
        """
        ...


@runtime_checkable
class LogLikelihood(Protocol):
    """Knows how likely a picture is, or a lower bound of it."""

    def log_likelihood(self, image: Tensor, generators: Sequence[torch.Generator], **settings: Any) -> Tensor:
        """float32 [B, 3, H, W], 8-bit values mapped to [-1, 1] -> nats per picture, float32 [B]."""
        ...


@runtime_checkable
class CodeEncoder(Protocol):
    """Turns pictures into codes of a learned codebook.

    Attributes:
        codebook_size: How many codes there are.
    """

    codebook_size: int

    def encode_codes(self, image: Tensor) -> Tensor:
        """float32 [B, 3, H, W] in [-1, 1] -> int64 [B, L], values in [0, codebook_size)."""
        ...


CAPABILITIES: dict[str, type] = {
    "encode_image": ImageEncoder,
    "encode_text": TextEncoder,
    "encode_video": VideoEncoder,
    "match": Matcher,
    "caption": Captioner,
    "reconstruct": Reconstructor,
    "generate": Generator,
    "log_likelihood": LogLikelihood,
    "encode_codes": CodeEncoder,
}


def capabilities(model: object) -> frozenset[str]:
    """Names of what a model (or its class) can do."""
    return frozenset(name for name in CAPABILITIES if callable(getattr(model, name, None)))
