"""The image tower of a CLIP model, of any architecture that open_clip knows by name. Nothing is downloaded.

Sources: Radford et al. 2021, arXiv:2103.00020; its embeddings as features of a Frechet distance: Kynkaanniemi et al.
2023, arXiv:2203.06026. Weights are a file of a whole model, as open_clip publishes them; the text tower is dropped.

Differs from open_clip's loading of a file, which takes the mean and deviation of OpenAI's models for every architecture
(SigLIP's weights, for one, were trained with others): here they are those that open_clip states for the architecture's
published weights, and OpenAI's where it states none. One architecture has weights of both kinds, ViT-L-14, whose
`laion2b_s32b_b82k` alone was trained with others than OpenAI's; it counts as all the rest.
"""

import functools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from metrics.shared.weights import check_file


@dataclass(frozen=True, slots=True)
class Architecture:
    """What is known of an image tower without its weights.

    Attributes:
        num_features: Length of the embedding.
        input_px: Side of the square that the tower reads.
        mean: Of red, green and blue in [0, 1], subtracted before the tower.
        std: What they are then divided by.
    """

    num_features: int
    input_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@functools.cache
def architecture(name: str) -> Architecture:
    """Looks an architecture up.

    Args:
        name: One of `open_clip.list_models()`, such as `ViT-B-32`.

    Raises:
        ValueError: There is none of this name, or open_clip would fetch a part of it.
    """
    import open_clip

    if name not in open_clip.list_models():
        raise ValueError(f"architecture: open_clip has no {name!r}; see open_clip.list_models()")
    config = open_clip.get_model_config(name)
    if "hf_model_name" in config["text_cfg"]:
        raise ValueError(f"architecture {name} cannot be used: open_clip fetches the settings of its text tower")
    size = config["vision_cfg"].get("image_size", open_clip.CLIPVisionCfg.image_size)
    if not isinstance(size, int):
        raise ValueError(f"architecture {name} reads images of {size}, only squares can be used")
    return Architecture(config["embed_dim"], size, *_normalisation(name))


class ClipTower(nn.Module):
    """float32 [B, 3, input_px, input_px] in [0, 255] -> embeddings float32 [B, num_features], not normalised."""

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, path: Path, sha256: str) -> None:
        """Makes the model and takes its weights.

        Args:
            name: Of the architecture.
            path: File of weights that open_clip reads.
            sha256: Digest that it must have.

        Raises:
            ValueError: There is no such file, it is another, or its weights are not those of this architecture.
        """
        super().__init__()
        import open_clip

        known = architecture(name)
        check_file(path, sha256)
        try:
            # the whole path, because a bare name may be one that open_clip downloads
            model = open_clip.create_model(name, pretrained=str(path.resolve()))
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"weights_file {path} does not hold {name}: {error}") from error
        self.visual = model.visual
        self.register_buffer("mean", 255 * torch.tensor(known.mean).view(3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(known.std).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings of images of the tower's size."""
        embedded = self.visual((images - self.mean) / self.std)
        return embedded if isinstance(embedded, Tensor) else embedded[0]  # CoCa's tower gives its tokens as well


def _normalisation(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and deviation of most of the published weights of an architecture."""
    import open_clip

    stated = [open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)]
    openai = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    counts = Counter((tuple(each["mean"]), tuple(each["std"])) for each in stated)
    return counts.most_common(1)[0][0] if counts else openai
