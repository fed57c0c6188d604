"""Reference rows: what takes a model's place to give its scores a scale (real, shuffled, blurred, compressed).

They differ from a model in where pictures, captions and embeddings come from; detectors, judge, samples and metrics are
the same. Pictures in place of generated ones are of the training split, which shares nothing with the test split.
"""

import io
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from pipelines.shared.evaluation.evidence import Evidence
from pipelines.shared.evaluation.settings import ReferenceEntry
from pipelines.shared.evaluation.split import HeldOut, split_images
from pipelines.shared.files import digest_json
from pipelines.shared.runs import LoadedRun

CAN = {
    "real": frozenset({"caption", "generate"}),
    "shuffled": frozenset({"caption", "encode_image", "encode_text"}),
    "blurred": frozenset({"generate", "reconstruct"}),
    "compressed": frozenset({"generate", "reconstruct"}),
}


class ReferenceEvidence(Evidence):
    """Evidence without a model."""

    def __init__(
        self, load_judge: Callable[[], LoadedRun], split: HeldOut, settings: ReferenceEntry, *, seed: int
    ) -> None:
        """Nothing is computed yet."""
        run = LoadedRun(
            key=f"reference {settings.kind}",
            module="reference",
            model=None,
            config=settings,
            sha256=digest_json(asdict(settings)),
            pack=settings.pack,
            device=torch.device("cpu"),
            document={},
        )
        super().__init__(run, load_judge, split, settings, seed=seed)
        self.entry = settings
        self.can = CAN[settings.kind]
        self.image_px = settings.image_px

    @cached_property
    def captions(self) -> list[str]:
        """The first caption of each sample; of the sample half a set away, where captions are shuffled."""
        own = {owner: text for text, owner in reversed([*zip(self.split.captions, self.split.owners, strict=True)])}
        shift = len(own) // 2 if self.entry.kind == "shuffled" else 0
        return [own[(row + shift) % len(own)] for row in range(len(own))]

    @cached_property
    def generated(self) -> Tensor:
        """Pictures of the training split, changed as the kind says.

        Raises:
            ValueError: The split has fewer than are wanted.
        """
        wanted = self.settings.num_generated
        pictures = split_images(self.pack_folder, "train", self.image_px, wanted)
        if len(pictures) < wanted:
            raise ValueError(
                f"num_generated must be at most the {len(pictures)} pictures of the training split, got {wanted}"
            )
        return self._changed(pictures)

    @cached_property
    def _reconstructions(self) -> Tensor:
        return self._changed(self._images)

    @cached_property
    def _image_embeddings(self) -> Tensor:
        return self._encode_images(self.judge)

    @cached_property
    def _text_embeddings(self) -> Tensor:
        texts = self.split.captions
        shift = len(texts) // 2
        return self._encode_texts(self.judge, [*texts[shift:], *texts[:shift]])

    def _changed(self, pictures: Tensor) -> Tensor:
        if self.entry.kind == "blurred":
            return _each(pictures, lambda image: image.filter(ImageFilter.GaussianBlur(self.entry.sigma_px)))
        if self.entry.kind == "compressed":
            return _each(pictures, lambda image: _jpeg(image, self.entry.jpeg_quality))
        return pictures


def _each(pictures: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """uint8 [n, 3, h, w] with every picture changed."""
    rows = [np.asarray(change(Image.fromarray(picture.permute(1, 2, 0).numpy()))) for picture in pictures]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).contiguous()


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    handle = io.BytesIO()
    image.save(handle, "JPEG", quality=quality)
    return Image.open(handle).convert("RGB")
