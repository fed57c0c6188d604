"""What metrics are computed from (`metrics.shared.evidence`), made once and shared by all metrics of an evaluation."""

import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import metrics.shared
import models
from metrics.shared.detectors import Detector, DetectorSpec
from metrics.shared.evidence import NEEDS
from models import capabilities
from pipelines.shared.evaluation.settings import SLOT, EvaluationEntry, ScoringEntry
from pipelines.shared.evaluation.split import HeldOut, split_images
from pipelines.shared.features import FeatureStore, build_identity, package_digest
from pipelines.shared.pixels import to_float, to_uint8
from pipelines.shared.progress import progress
from pipelines.shared.runs import LoadedRun
from pipelines.shared.seeds import derive_seed
from pipelines.shared.stage import DATA

Value = Tensor | list[str]
NO_CLASS = -1
FEATURES = frozenset({"reference_features", "generated_features", "train_features"})
PREFIXED = frozenset({"pair_text_embeddings", "reference_text_embeddings"})


class Evidence:
    """Evidence by name, computed when a metric first asks for it.

    Embeddings of real pictures and texts, and a detector's features of any picture, are kept in the feature store, so
    that no network is run twice on the same input; noise of generated picture i depends on (seed, i) alone, so two
    models are compared on the same noise.

    Attributes:
        run: The run that is scored.
        split: The held-out samples.
        settings: Those of the evaluation.
        seed: Of all noise.
        can: What the run's model can do.
        image_px: Side of the pictures that it reads or makes.
    """

    def __init__(
        self,
        run: LoadedRun,
        load_judge: Callable[[], LoadedRun],
        split: HeldOut,
        settings: ScoringEntry,
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
        self.can = capabilities(run.model)
        self.image_px: int = getattr(run.model, "image_px", 0)

    def inputs(self, metric: Any) -> dict[str, Value]:
        """All that a metric's `update` takes.

        Raises:
            ValueError: The model cannot supply it.
        """
        return {name: self._input(name, metric) for name in metric.inputs}

    def __getitem__(self, name: str) -> Any:
        """One kind of evidence that depends on nothing of a metric.

        Raises:
            ValueError: The model cannot supply it.
        """
        self._check(name)
        return getattr(self, f"_{name}")

    def _input(self, name: str, metric: Any) -> Value:
        if name in FEATURES:
            self._check(name)
            return getattr(self, f"_{name}")(metric.detector)
        if name in PREFIXED:
            self._check(name)
            return getattr(self, f"_{name}")(getattr(metric, "prefix", ""))
        return self[name]

    def _check(self, name: str) -> None:
        needs = NEEDS[name]
        if needs and not needs & self.can:
            raise ValueError(
                f"{name} needs a model with {' or '.join(sorted(needs))}; "
                f"{self.run.key} ({self.run.module}) has {', '.join(sorted(self.can)) or 'none of the capabilities'}"
            )

    @cached_property
    def judge(self) -> LoadedRun:
        """The run that scores pairs of picture and caption."""
        return self.load_judge()

    @cached_property
    def captions(self) -> list[str]:
        """What the model writes for each test picture."""
        model = self.run.model
        assert isinstance(self.settings, EvaluationEntry), "references write no captions of their own"
        texts: list[str] = []
        images = self.split.images(self.image_px)
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
        assert isinstance(self.settings, EvaluationEntry), "references do not generate by a model"
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
        return self.split.images(self.image_px)

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
    def _written_captions(self) -> list[str]:
        return self.captions

    @cached_property
    def _reference_captions(self) -> list[str]:
        return list(self.split.captions)

    @cached_property
    def _image_class(self) -> Tensor:
        patterns = [re.compile(pattern) for pattern in self._classes().values()]
        found: list[set[int]] = [set() for _ in self.split.samples]
        for text, owner in zip(self.split.captions, self.split.owners, strict=True):
            found[owner] |= {place for place, pattern in enumerate(patterns) if pattern.search(text)}
        return torch.tensor([next(iter(each)) if len(each) == 1 else NO_CLASS for each in found])

    @cached_property
    def _class_embeddings(self) -> Tensor:
        prompts, names = self.settings.class_prompts, list(self._classes())
        texts = [prompt.replace(SLOT, name) for name in names for prompt in prompts]
        mean = self._encode_texts(self.run, texts).unflatten(0, (len(names), len(prompts))).mean(1)
        return torch.nn.functional.normalize(mean, dim=1)

    @cached_property
    def _log_likelihoods(self) -> Tensor:
        assert isinstance(self.settings, EvaluationEntry), "references have no likelihood"
        parts = []
        for start in self._starts(len(self._images), "likelihood"):
            part = self._images[start : start + self.settings.batch_size]
            keys = [sample.key for sample in self.split.samples[start : start + len(part)]]
            noise = generators([derive_seed(self.seed, "likelihood", key) for key in keys])
            parts.append(self.run.model.log_likelihood(self._float(part), noise, **self.settings.likelihood))
        return torch.cat(parts).double().cpu()

    @cached_property
    def _num_values(self) -> Tensor:
        return torch.full((len(self.split.samples),), 3 * self.image_px**2)

    @cached_property
    def _codes(self) -> Tensor:
        return self._batched(self._images, lambda part: self.run.model.encode_codes(self._float(part)))

    @cached_property
    def _codebook_size(self) -> Tensor:
        return torch.tensor([self.run.model.codebook_size])

    @cached_property
    def _pair_image_embeddings(self) -> Tensor:
        if "caption" in self.can:
            return self._encode_images(self.judge)
        size = self.judge.model.image_px
        resize = lambda part: resized(self._float(part), size)  # noqa: E731
        return self._batched(self.generated, lambda part: self.judge.model.encode_image(resize(part)))

    def _pair_text_embeddings(self, prefix: str) -> Tensor:
        texts = self.captions if "caption" in self.can else self.prompts
        return self._encode_texts(self.judge, [prefix + text for text in texts])

    def _reference_text_embeddings(self, prefix: str) -> Tensor:
        return self._encode_texts(self.judge, [prefix + text for text in self.split.captions])

    @cached_property
    def _pair_owner(self) -> Tensor:
        if "caption" in self.can:
            return torch.arange(len(self.split.samples))
        return torch.tensor([self.split.owners[row % len(self.split.owners)] for row in range(len(self.prompts))])

    def _reference_features(self, spec: DetectorSpec) -> Tensor:
        # at the size of the generated pictures, so that the distance does not measure the resolution
        return self._features(spec, self._images)

    def _generated_features(self, spec: DetectorSpec) -> Tensor:
        return self._features(spec, self.generated)

    def _train_features(self, spec: DetectorSpec) -> Tensor:
        if self.run.pack != self.settings.pack:
            raise ValueError(
                f"train_features need an evaluation on the pack that the model was trained on: {self.run.key} was "
                f"trained on {self.run.pack}, pack is {self.settings.pack}"
            )
        return self._features(spec, split_images(self.pack_folder, "train", self.image_px))

    @property
    def pack_folder(self) -> Path:
        """Where the pack is."""
        return DATA / "pack" / self.settings.pack

    def _features(self, spec: DetectorSpec, pixels: Tensor) -> Tensor:
        """A detector's features of pictures, of which those that are not in the store are computed."""
        digests = [hashlib.sha256(picture.numpy().tobytes()).hexdigest() for picture in pixels]
        build = (package_digest(metrics.shared), *build_identity(pixels.device))
        identity = ("detector", spec.identity, pixels.shape[-1], *build)
        return self.store.rows(identity, digests, lambda places: self._batched(pixels[places], self._detector(spec)))

    def _classes(self) -> dict[str, str]:
        if len(self.settings.classes) < 2:
            raise ValueError(f"zero-shot classification needs at least 2 classes, got {dict(self.settings.classes)}")
        return dict(self.settings.classes)

    @functools.cache  # noqa: B019 - an evaluation lives as long as its process
    def _detector(self, spec: DetectorSpec) -> Detector:
        return spec.load()

    def _encode_images(self, run: LoadedRun) -> Tensor:
        identity = ("image", run.sha256, self.split.sha256, *self._build(run))
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

        return self.store.get(("text", run.sha256, *self._build(run), *texts), encode)

    def _build(self, run: LoadedRun) -> tuple[str | int, ...]:
        return package_digest(models), *build_identity(run.device)

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
