"""From settings to a training job: checks that model, pack and settings fit, then model, data and device."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipelines.shared.features import FeatureStore
from pipelines.shared.manifests import Manifest, manifest_digest, read_manifest
from pipelines.shared.runs import load_bases, run_digest
from pipelines.shared.seeds import derive_seed
from pipelines.shared.stage import DATA
from pipelines.shared.training.columns import Captions, Column, FrameMasks, Groups, MediaShape
from pipelines.shared.training.data import (
    MEDIA_KEYS,
    BatchRows,
    ToModel,
    TrainLoader,
    ValidationLoader,
    media_column,
)
from pipelines.shared.training.distributed import World
from pipelines.shared.training.features import FrozenPart, code_digest, feature_sources
from pipelines.shared.training.loop import Job
from pipelines.shared.training.order import DataOrder, in_order
from pipelines.shared.training.settings import ModelPlan
from pipelines.shared.training.split import Split, read_split

logger = logging.getLogger("vignette.train")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a run is made from.

    Attributes:
        plan: What is trained, and how.
        seed: Seed of all randomness of the run.
        pack_folder: The pack's folder.
        pack: Its manifest.
        pack_sha256: Digest of that.
        base: `role`, `key` and `sha256` of the run that the model builds on; empty for none.
    """

    plan: ModelPlan
    seed: int
    pack_folder: Path
    pack: Manifest
    pack_sha256: str
    base: Mapping[str, str]

    @classmethod
    def read(cls, plan: ModelPlan, pipeline_seed: int) -> "Inputs":
        """Look at the pack and the base run, without reading a sample or a weight."""
        folder = DATA / "pack" / plan.entry.pack
        key = plan.entry.base
        return cls(
            plan=plan,
            seed=derive_seed(pipeline_seed, "train", plan.entry.training.seed),
            pack_folder=folder,
            pack=read_manifest(folder),
            pack_sha256=manifest_digest(folder),
            base={"role": plan.base_role, "key": key, "sha256": run_digest(key)} if key else {},
        )

    def identity(self, world: World) -> list[Any]:
        """JSON values that decide every bit of the result, on one build."""
        return [
            self.plan.entry.training.deciding(),
            dict(self.plan.entry.captions),
            self.plan.module_name,
            {name: getattr(self.plan.config, name) for name in self.plan.config.__dataclass_fields__},
            code_digest(self.plan),
            self.seed,
            self.pack_sha256,
            dict(self.base),
            [world.device.type, world.size, torch.get_num_threads(), torch.__version__],
        ]


def build_job(inputs: Inputs, world: World, folder: Path) -> Job:
    """Build the model and, where it is trained, read the pack and compute what is frozen.

    Args:
        inputs: What the run is made from.
        world: This process among all.
        folder: Scratch.

    Raises:
        ValueError: Model, pack and settings do not fit together.
    """
    settings = inputs.plan.entry.training
    fitting = Fitting(inputs=inputs, model=build_model(inputs, world.device), world=world)
    train = validation = None
    if settings.steps:
        fitting.check()
        with world.first_goes_ahead():
            train = fitting.train_loader(read_split(inputs.pack_folder, inputs.pack, "train"))
            if settings.validate_every:
                validation = fitting.validation_loader(read_split(inputs.pack_folder, inputs.pack, "val"))
    return Job(
        name=f"train {inputs.plan.key}",
        model=fitting.model,
        settings=settings,
        train=train,
        validation=validation,
        world=world,
        seed=inputs.seed,
        folder=folder,
    )


def build_model(inputs: Inputs, device: torch.device) -> Any:
    """The model as it is before training, on its device; the same for any pack and any number of processes."""
    bases = load_bases(inputs.base)
    torch.manual_seed(derive_seed(inputs.seed, "init"))
    model: nn.Module = inputs.plan.module.Model(inputs.plan.config, bases)
    if inputs.plan.entry.training.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return model.to(device)


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """Brings model, pack and settings together.

    Attributes:
        inputs: What the run is made from.
        model: The model, on its device.
        world: This process among all.
    """

    inputs: Inputs
    model: Any
    world: World

    @property
    def reads(self) -> set[str]:
        """What the model reads of samples, directly or through frozen features."""
        return {*self.model.batch_keys, *feature_sources(self.model).values()}

    @property
    def to_model(self) -> ToModel:
        """Makes the model's input."""
        is_video = "video" in self.reads
        shape = MediaShape(
            media="video" if is_video else "image",
            side_px=self.model.image_px,
            num_frames=self.model.num_frames if is_video else 0,
        )
        return ToModel(shape, self.world.device)

    @property
    def num_parts(self) -> int:
        """Micro-batches of a step, over all processes."""
        return self.world.size * self.inputs.plan.entry.training.accumulation

    def check(self) -> None:
        """Raises ValueError if they do not fit."""
        where, entry, module = self.inputs.plan.where, self.inputs.plan.entry, self.inputs.plan.module_name
        media, wanted = self.inputs.pack.details["media"], self.to_model.shape.media
        if self.reads & set(MEDIA_KEYS) and media != wanted:
            raise ValueError(f"{where}: {module} reads {wanted}s, and the pack {entry.pack} has {media}s")
        if ("caption" in self.reads) != bool(entry.captions):
            asked = "reads no captions: leave it out" if entry.captions else "reads captions: name their origins"
            raise ValueError(f"{where}.captions is {dict(entry.captions)}, and {module} {asked}")
        if entry.training.flip and set(MEDIA_KEYS) & set(feature_sources(self.model).values()):
            raise ValueError(f"{where}.training.flip is set, and {module} reads stored features of pixels")
        if entry.training.batch_size % self.num_parts:
            raise ValueError(
                f"{where}.training.batch_size must be a multiple of accumulation times processes = {self.num_parts}, "
                f"got {entry.training.batch_size}"
            )

    def train_loader(self, split: Split) -> TrainLoader:
        """Batches to train on.

        Raises:
            ValueError: There are fewer samples than a batch has.
        """
        plan, settings = self.inputs.plan, self.inputs.plan.entry.training
        choices = split.choices(plan.entry.captions, flip=settings.flip, seed=self.inputs.seed)
        if len(choices.keys) < settings.batch_size:
            raise ValueError(
                f"{plan.where}.training.batch_size is {settings.batch_size}, but the pack {plan.entry.pack} has "
                f"{len(choices.keys)} training samples that {plan.module_name} can use"
            )
        return TrainLoader(
            rows=self.batch_rows(split),
            order=DataOrder(choices, settings.batch_size),
            to_model=self.to_model,
            world=self.world,
            accumulation=settings.accumulation,
            num_workers=settings.num_workers,
        )

    def validation_loader(self, split: Split) -> ValidationLoader | None:
        """What the validation loss is computed on; None if the pack has nothing for it, which is said."""
        plan, settings = self.inputs.plan, self.inputs.plan.entry.training
        picks = in_order(split.choices(plan.entry.captions, flip=False, seed=self.inputs.seed))
        if not picks:
            logger.warning("%s: the pack %s has no validation samples that can be used", plan.where, plan.entry.pack)
            return None
        return ValidationLoader(
            rows=self.batch_rows(split),
            picks=picks,
            to_model=self.to_model,
            batch_size=settings.batch_size,
            part_size=settings.batch_size // self.num_parts,
        )

    def batch_rows(self, split: Split) -> BatchRows:
        """All columns of a split that the model reads."""
        settings, store, shape = self.inputs.plan.entry.training, FeatureStore(), self.to_model.shape
        pixels = shape.decoded(split)
        if set(self.model.batch_keys) & {*MEDIA_KEYS, "frame_mask"}:
            pixels = media_column(split, shape, store, settings.pixel_cache_bytes, settings.num_workers)
        known: dict[str, Column] = {
            shape.media: pixels,
            "frame_mask": FrameMasks(pixels),
            "caption": Captions(split.texts),
            "group": Groups(),
        }
        frozen = FrozenPart(
            model=self.model,
            plan=self.inputs.plan,
            to_model=self.to_model,
            store=store,
            num_workers=settings.num_workers,
        )
        known |= frozen.columns(split, pixels)
        keys = [key for key in self.model.batch_keys if not (key == "frame_mask" and "video" in self.model.batch_keys)]
        return BatchRows({key: known[key] for key in keys})
