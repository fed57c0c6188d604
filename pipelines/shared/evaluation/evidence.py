"""What metrics are computed from (`metrics.shared.evidence`), made once and shared by all metrics of an evaluation."""

import functools
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from metrics.shared.detectors import Detector, DetectorSpec
from metrics.shared.evidence import NEEDS
from models import capabilities
from pipelines.shared.evaluation.settings import EvaluationEntry
from pipelines.shared.evaluation.split import HeldOut
from pipelines.shared.features import FeatureStore
from pipelines.shared.pixels import to_float, to_uint8
from pipelines.shared.progress import progress
from pipelines.shared.runs import LoadedRun
from pipelines.shared.seeds import derive_seed


class Evidence:
    """Evidence by name, computed when a metric first asks for it.

    Embeddings of real pictures and texts are kept in the feature store, so that no model is run twice on the same
    input; noise of generated picture i depends on (seed, i) alone, so two models are compared on the same noise.
    """

    def __init__(
        self,
        run: LoadedRun,
        load_judge: Callable[[], LoadedRun],
        split: HeldOut,
        settings: EvaluationEntry,
        *,
        seed: int,
    ) -> None:
        """Nothing is computed yet, and the judge is loaded when a metric first needs it."""
        self.run = run
        self.load_judge = load_judge
        self.split = split
        self.settings = settings
        self.seed = seed
        self.store = FeatureStore()

    def inputs(self, metric: Any) -> dict[str, Tensor]:
        """All that a metric's `update` takes.

        Raises:
            ValueError: The model cannot supply it.
        """
        features = {
            "reference_features": self._reference_features,
            "generated_features": self._generated_features,
        }
        return {
            name: features[name](metric.detector) if name in features and self._check(name) else self[name]
            for name in metric.inputs
        }

    def __getitem__(self, name: str) -> Tensor:
        """One kind of evidence that no detector is needed for.

        Raises:
            ValueError: The model cannot supply it.
        """
        self._check(name)
        return getattr(self, f"_{name}")

    def _check(self, name: str) -> bool:
        needs = NEEDS[name]
        can = capabilities(self.run.model)
        if needs and not needs & can:
            raise ValueError(
                f"{name} needs a model with {' or '.join(sorted(needs))}; "
                f"{self.run.key} ({self.run.module}) has {', '.join(sorted(can)) or 'none of the capabilities'}"
            )
        return True

    @cached_property
    def judge(self) -> LoadedRun:
        """The run that scores pairs of picture and caption."""
        return self.load_judge()

    @cached_property
    def captions(self) -> list[str]:
        """What the model writes for each test picture."""
        model = self.run.model
        texts: list[str] = []
        images = self.split.images(model.image_px)
        for start in self._starts(len(images), "caption"):
            rows = range(start, min(start + self.settings.batch_size, len(images)))
            seeds = [derive_seed(self.seed, "caption", self.split.samples[row].key) for row in rows]
            texts += model.caption(
                self._float(images[rows.start : rows.stop]), generators(seeds), **self.settings.decoding
            )
        return texts

    @cached_property
    def generated(self) -> Tensor:
        """Pictures that the model makes from the test captions in turn, uint8 [k, 3, h, w]."""
        parts = []
        for start in self._starts(self.settings.num_generated, "generate"):
            rows = range(start, min(start + self.settings.batch_size, self.settings.num_generated))
            seeds = [derive_seed(self.seed, "generate", row) for row in rows]
            prompts = [self.prompts[row] for row in rows]
            parts.append(to_uint8(self.run.model.generate(prompts, generators(seeds), **self.settings.sampling)).cpu())
        return torch.cat(parts)

    @cached_property
    def prompts(self) -> list[str]:
        """The caption of each generated picture."""
        return [self.split.captions[row % len(self.split.captions)] for row in range(self.settings.num_generated)]

    @cached_property
    def _images(self) -> Tensor:
        return self.split.images(self.run.model.image_px)

    @cached_property
    def _reconstructions(self) -> Tensor:
        return self._batched(self._images, lambda part: to_uint8(self.run.model.reconstruct(self._float(part))))

    @cached_property
    def _image_embeddings(self) -> Tensor:
        return self._encode_images(self.run)

    @cached_property
    def _text_embeddings(self) -> Tensor:
        return self._encode_texts(self.run, self.split.captions)

    @cached_property
    def _text_owner(self) -> Tensor:
        return torch.tensor(self.split.owners)

    @cached_property
    def _video_embeddings(self) -> Tensor:
        model = self.run.model
        clips, masks = self.split.clips(model.image_px, model.num_frames)
        parts = [
            model.encode_video(self._float(clips[start : start + 8]), masks[start : start + 8].to(self.run.device))
            for start in range(0, len(clips), 8)
        ]
        return torch.cat(parts).float().cpu()

    @cached_property
    def _pair_image_embeddings(self) -> Tensor:
        if "caption" in capabilities(self.run.model):
            return self._encode_images(self.judge)
        size = self.judge.model.image_px
        resize = lambda part: resized(self._float(part), size)  # noqa: E731
        return self._batched(self.generated, lambda part: self.judge.model.encode_image(resize(part)))

    @cached_property
    def _pair_text_embeddings(self) -> Tensor:
        texts = self.captions if "caption" in capabilities(self.run.model) else self.prompts
        return self._encode_texts(self.judge, texts)

    @cached_property
    def _pair_owner(self) -> Tensor:
        if "caption" in capabilities(self.run.model):
            return torch.arange(len(self.split.samples))
        return torch.tensor([self.split.owners[row % len(self.split.owners)] for row in range(len(self.prompts))])

    def _reference_features(self, spec: DetectorSpec) -> Tensor:
        # at the size of the generated pictures, so that the distance does not measure the resolution
        size = self.run.model.image_px
        identity = ("detector", spec.digest, self.split.sha256, size)
        return self.store.get(identity, lambda: self._batched(self.split.images(size), self._detector(spec)))

    def _generated_features(self, spec: DetectorSpec) -> Tensor:
        return self._batched(self.generated, self._detector(spec))

    @functools.cache  # noqa: B019 - an evaluation lives as long as its process
    def _detector(self, spec: DetectorSpec) -> Detector:
        return spec.load()

    def _encode_images(self, run: LoadedRun) -> Tensor:
        identity = ("image", run.sha256, self.split.sha256)
        return self.store.get(
            identity,
            lambda: self._batched(
                self.split.images(run.model.image_px), lambda part: run.model.encode_image(self._float(part))
            ),
        )

    def _encode_texts(self, run: LoadedRun, texts: Sequence[str]) -> Tensor:
        def encode() -> Tensor:
            size = self.settings.batch_size
            parts = [run.model.encode_text(list(texts[start : start + size])) for start in range(0, len(texts), size)]
            return torch.cat(parts).float().cpu()

        return self.store.get(("text", run.sha256, *texts), encode)

    def _batched(self, pixels: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        size = self.settings.batch_size
        return torch.cat([function(pixels[start : start + size]).cpu() for start in range(0, len(pixels), size)])

    def _starts(self, total: int, what: str) -> Sequence[int]:
        return progress(range(0, total, self.settings.batch_size), desc=f"{what} {self.run.key}", unit="batch")

    def _float(self, pixels: Tensor) -> Tensor:
        return to_float(pixels.to(self.run.device))


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator on the CPU per seed, so that noise does not depend on the device."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def resized(image: Tensor, side_px: int) -> Tensor:
    """Antialiased bicubic resize of float pictures in [-1, 1]."""
    if image.shape[-1] == side_px:
        return image
    size = (side_px, side_px)
    return torch.nn.functional.interpolate(image, size=size, mode="bicubic", antialias=True).clamp(-1, 1)
