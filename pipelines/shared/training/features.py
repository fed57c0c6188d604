"""Features of a model's frozen part: computed once for all samples of a split, kept in the feature store.

A model says with `feature_sources` which keys of its batches are such features, and of what: `image`, `video` or
`caption`. An entry of the store is named by the digest of all that decides it: weights that are not trained, settings
and code of the plug-in, pixels or texts of the split, and the build that computed it. Models of several plug-ins that
compute the same features say so with an equal `feature_key`, which stands for settings and plug-in: then an entry
depends on the weights held by `Frozen` alone, and is shared. Such a model promises too that on a CPU the features of a
picture or clip do not depend on its batch: there they are kept one by one, and a pack that shares some with an earlier
one has only the others computed.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import models.shared
from models.shared.frozen import Frozen
from pipelines.shared.features import FeatureStore, build_identity, package_digest
from pipelines.shared.files import canonical_json, digest_file
from pipelines.shared.progress import progress
from pipelines.shared.training.columns import Column, StoredRows, StoredTextRows
from pipelines.shared.training.data import BatchRows, ToModel, all_rows, load, slices
from pipelines.shared.training.settings import ModelPlan
from pipelines.shared.training.split import Split

FEATURE_BATCH = 32


def feature_sources(model: Any) -> dict[str, str]:
    """The keys of the model's batches that are features of its frozen part, and what each is made of."""
    sources: Mapping[str, str] = getattr(model, "feature_sources", {})
    return {name: source for name, source in sources.items() if name in model.batch_keys}


@dataclass(frozen=True, kw_only=True)
class FrozenPart:
    """Computes and stores a model's frozen features.

    Attributes:
        model: The model, on its device.
        plan: What is trained.
        to_model: Makes the model's input.
        store: Where features are kept.
        num_workers: Processes that decode.
    """

    model: Any
    plan: ModelPlan
    to_model: ToModel
    store: FeatureStore
    num_workers: int

    def columns(self, split: Split, media: Column) -> dict[str, Column]:
        """The columns of a split that hold features, by key of the batch.

        Args:
            split: The split.
            media: Its pixels.
        """
        by_source: dict[str, list[str]] = {}
        for name, source in feature_sources(self.model).items():
            by_source.setdefault(source, []).append(name)
        columns: dict[str, Column] = {}
        for source, names in by_source.items():
            columns |= self._captions(split, names) if source == "caption" else self._media(split, source, names, media)
        return columns

    def _captions(self, split: Split, names: Sequence[str]) -> dict[str, Column]:
        texts = split.texts
        batches = [{"caption": texts[start : start + FEATURE_BATCH]} for start in range(0, len(texts), FEATURE_BATCH)]
        compute = self._once(iter(batches), len(batches), f"{split.name} captions")
        identity = (*self._identity, "caption", split.texts_digest)
        return {name: StoredTextRows(self.store.get((*identity, name), _named(compute, name))) for name in names}

    def _media(self, split: Split, source: str, names: Sequence[str], media: Column) -> dict[str, Column]:
        picks = all_rows(split)

        @cache
        def compute(rows: tuple[int, ...]) -> dict[str, Tensor]:
            batches = slices([picks[row] for row in rows], FEATURE_BATCH)
            inputs = map(self.to_model, load(BatchRows({source: media}), batches, self.num_workers))
            return self._once(inputs, len(batches), f"{split.name} {source}s")()

        def rows_of(name: str) -> Tensor:
            identity = (*self._identity, source, repr(self.to_model.shape), name)
            if getattr(self.model, "feature_key", "") and self.to_model.device.type == "cpu":
                return self.store.rows(identity, split.media_digests, lambda rows: compute(tuple(rows))[name])
            every = tuple(range(len(picks)))
            return self.store.get((*identity, split.media_digest), lambda: compute(every)[name])

        return {name: StoredRows(rows_of(name)) for name in names}

    def _once(self, batches: Iterator[dict[str, Any]], total: int, what: str) -> Callable[[], dict[str, Tensor]]:
        """All features of some batches, computed when first asked for."""

        @cache
        def compute() -> dict[str, Tensor]:
            bar = progress(batches, total=total, desc=f"features {self.plan.key} {what}", unit="batch", leave=False)
            self.model.eval()
            with torch.no_grad():
                parts = [_on_cpu(self.model.frozen_features(batch)) for batch in bar]
            self.model.train()
            return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

        return compute

    @cached_property
    def _identity(self) -> tuple[str | int, ...]:
        build = build_identity(self.to_model.device)
        if feature_key := getattr(self.model, "feature_key", ""):
            return ("shared", feature_key, package_digest(models.shared), held_digest(self.model), *build)
        settings = canonical_json(asdict(self.plan.config))
        return ("own", self.plan.module_name, settings, code_digest(self.plan), untrained_digest(self.model), *build)


def code_digest(plan: ModelPlan) -> str:
    """Digest of the source of a plug-in and of what plug-ins share."""
    own = digest_file(Path(str(plan.module.__file__)))
    return hashlib.sha256((own + package_digest(models.shared)).encode()).hexdigest()


def untrained_digest(model: nn.Module) -> str:
    """Digest of all weights that are not trained: those held by `Frozen` and those without a gradient."""
    own = {name: value for name, value in model.named_parameters() if not value.requires_grad}
    return hashlib.sha256((_digest(own) + held_digest(model)).encode()).hexdigest()


def held_digest(model: nn.Module) -> str:
    """Digest of the weights held by `Frozen`, wherever in the model that is."""
    held = [_digest(module.module.state_dict()) for _, module in all_modules(model) if isinstance(module, Frozen)]
    return hashlib.sha256("".join(held).encode()).hexdigest()


def all_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """All modules of a model, those held by `Frozen` included, with their names."""
    for name, module in model.named_modules():
        yield name, module
        if isinstance(module, Frozen):
            for inner, held in all_modules(module.module):
                yield f"{name}.module.{inner}", held


def _digest(weights: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name, tensor in weights.items():
        total.update(f"{name}\x00{tensor.dtype}\x00{tuple(tensor.shape)}\x00".encode())
        total.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _named(compute: Callable[[], dict[str, Tensor]], name: str) -> Callable[[], Tensor]:
    return lambda: compute()[name]


def _on_cpu(features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.cpu() for name, tensor in features.items()}
