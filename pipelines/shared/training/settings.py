"""Settings of training: the stage's part of an entry of `models` or `stacked`."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal

from pipelines.shared.devices import DEVICES
from pipelines.shared.params import entry, plugin_config, split_settings, suggestion
from pipelines.shared.records import ORIGINS

SECTIONS: tuple[str, ...] = ("models", "stacked")
EXECUTION: tuple[str, ...] = ("device", "num_workers", "pixel_cache_bytes", "checkpoint_every_sec")
"""Settings that decide where and how fast a run is computed, not what."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSettings:
    """How a model is trained.

    Attributes:
        steps: Optimizer steps. 0 publishes the model as it begins, such as a checkpoint of others that its settings
            name: no sample is read, and no other setting matters.
        batch_size: Samples per step, over all processes and micro-batches.
        learning_rate: Peak learning rate.
        warmup_steps: Steps in which the learning rate rises linearly to the peak.
        schedule: After the warm-up: `cosine` down to `final_learning_rate_frac` of the peak, or `constant`.
        final_learning_rate_frac: Where the cosine ends, in [0, 1].
        weight_decay: AdamW's, for parameters of two or more dimensions only.
        betas: AdamW's.
        epsilon: AdamW's.
        grad_clip: Largest norm of the gradient of each optimizer group; 0 for no limit.
        accumulation: Micro-batches per step and process.
        ema: Decay of the exponential moving average of the weights, in [0, 1); 0 for none.
        precision: `bfloat16` is autocast with float32 weights; `auto` is that on a GPU and `float32` on a CPU.
        device: `auto` (a GPU if there is one), `cpu` or `cuda`.
        flip: Mirror half of the pictures.
        compile: Run the model's step through `torch.compile`.
        channels_last: Keep convolution weights in channels-last order.
        seed: Tells repetitions of one experiment apart; mixed with the pipeline's seed.
        log_every: Steps between rows of the history.
        validate_every: Steps between validation losses; 0 for none.
        checkpoint_every_sec: Seconds between writes of the resume file.
        num_workers: Processes that decode, where pixels are not cached.
        pixel_cache_bytes: Decoded pixels of a split are kept in the feature store up to this size.
    """

    steps: int
    batch_size: int = 0
    learning_rate: float = 0.0
    warmup_steps: int = 0
    schedule: Literal["cosine", "constant"] = "cosine"
    final_learning_rate_frac: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    grad_clip: float = 1.0
    accumulation: int = 1
    ema: float = 0.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    flip: bool = False
    compile: bool = False
    channels_last: bool = False
    seed: int = 0
    log_every: int = 10
    validate_every: int = 100
    checkpoint_every_sec: float = 30.0
    num_workers: int = 0
    pixel_cache_bytes: int = 4 << 30

    def __post_init__(self) -> None:
        trains = min(self.steps, 1)
        for name, low in (("steps", 0), ("batch_size", trains), ("accumulation", 1), ("log_every", 1)):
            self._require(name, getattr(self, name) >= low, f"at least {low}")
        for name in ("weight_decay", "grad_clip", "validate_every", "checkpoint_every_sec", "num_workers"):
            self._require(name, getattr(self, name) >= 0, "at least 0")
        self._require("learning_rate", self.learning_rate > 0 or not trains, "more than 0")
        self._require("epsilon", self.epsilon > 0, "more than 0")
        self._require("warmup_steps", 0 <= self.warmup_steps <= self.steps, f"in 0..steps = {self.steps}")
        self._require("final_learning_rate_frac", 0 <= self.final_learning_rate_frac <= 1, "in [0, 1]")
        self._require("betas", all(0 <= beta < 1 for beta in self.betas), "two numbers in [0, 1)")
        self._require("ema", 0 <= self.ema < 1, "in [0, 1)")
        self._require("pixel_cache_bytes", self.pixel_cache_bytes >= 0, "at least 0")
        self._require("device", self.device in DEVICES, f"one of {', '.join(DEVICES)}")
        even = self.batch_size % self.accumulation == 0
        self._require("batch_size", even, f"a multiple of accumulation = {self.accumulation}")

    def _require(self, name: str, ok: bool, allowed: str) -> None:
        if not ok:
            raise ValueError(f"training.{name} must be {allowed}, got {getattr(self, name)!r}")

    def deciding(self) -> dict[str, Any]:
        """The settings that decide the result, without those of its execution."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in EXECUTION}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelEntry:
    """An entry of `models` or `stacked`, without what belongs to the plug-in.

    Attributes:
        pack: The pack that is trained on.
        training: How.
        captions: Mixing ratio: origins (`web`, `human`, `synthetic`) and their weights. A sample with captions of
            several origins shows them in this ratio; an origin that is not named is not used, and a sample without a
            caption of a named one is not trained on. Empty for a model that reads no captions.
        base: In `stacked`: the run that the model builds on; empty for none.
    """

    pack: str
    training: TrainingSettings
    captions: Mapping[str, float] = field(default_factory=dict)
    base: str = ""

    def __post_init__(self) -> None:
        for origin, weight in self.captions.items():
            if origin not in ORIGINS:
                raise ValueError(
                    f"captions: {origin!r} is no origin{suggestion(origin, ORIGINS)}; there are: {ORIGINS}"
                )
            if not weight > 0:
                raise ValueError(f"captions.{origin} must be more than 0, got {weight}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPlan:
    """What is to be trained.

    Attributes:
        key: Key of the run.
        where: Its place in `params.yaml`, for messages.
        entry: The stage's settings.
        module: The plug-in.
        config: Its settings.
    """

    key: str
    where: str
    entry: ModelEntry
    module: ModuleType
    config: Any

    @property
    def module_name(self) -> str:
        """The plug-in's name, such as `ddpm`."""
        return self.module.__name__.rpartition(".")[2]

    @property
    def base_role(self) -> str:
        """The name under which the plug-in's class wants its base; empty if it builds on none."""
        return getattr(self.module.Model, "base_role", "")


def read_plan(params: Mapping[str, Any], key: str) -> ModelPlan:
    """The plan of a run, from the section that has its key.

    Raises:
        ValueError: No section or both have it, or a setting is wrong.
    """
    found = [section for section in SECTIONS if key in (params.get(section) or {})]
    if len(found) != 1:
        known = sorted(name for section in SECTIONS for name in (params.get(section) or {}))
        what = f"stands in {' and in '.join(found)}" if found else "does not exist" + suggestion(key, known)
        raise ValueError(f"params.yaml: the model {key} {what}; there are: {', '.join(known) or 'none'}")
    where = f"{found[0]}.{key}"
    stage_settings, rest = split_settings(ModelEntry, entry(params, found[0], key), where)
    module, config = plugin_config("models", rest, where)
    plan = ModelPlan(key=key, where=where, entry=stage_settings, module=module, config=config)
    if stage_settings.base and not plan.base_role:
        raise ValueError(f"params.yaml: {where}.base is {stage_settings.base}, but {plan.module_name} builds on no run")
    return plan
