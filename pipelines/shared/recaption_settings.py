"""Settings of a recaption round, and its captioners as they are sent to workers."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pipelines.captioners import Captioner
from pipelines.shared.devices import require_device
from pipelines.shared.params import plugin, plugin_config, split_settings
from pipelines.shared.records import ORIGINS

PACKAGE = "pipelines.captioners"
NAME = re.compile(r"[a-z][a-z0-9-]*")
OWN = "captioner"
LATER: Mapping[str, Any] = {
    "captioners": {},
    "best_by_clip": 0,
    "ranked": ("web", "synthetic"),
    "num_frames": 4,
    "device": "cpu",
}
AUDIT_ONLY = ("num_audited", "max_failed_frac")


@dataclass(frozen=True, kw_only=True, slots=True)
class RecaptionEntry:
    """Settings of one round.

    Attributes:
        pack: The pack whose training and validation samples get captions: pictures or clips.
        captioner: Run that writes, a model with `caption`. A round of other captioners alone has `num_candidates: 0`
            and names the matcher's run here once more.
        matcher: Run that judges, a model with `match`.
        clip: Run whose cosine (times 100) is kept as a further score, a model with `encode_image` and `encode_text`.
        num_candidates: Texts that the run writes for each sample.
        decoding: Passed to `caption`: `decoding`, `top_p`, `min_tokens`, `max_tokens`, ...
        captioners: Further captioners, by a name that their texts carry as `place`: each names its `module` in
            `pipelines/captioners` and its `num_candidates` (1), beside the plug-in's own settings.
        threshold: A web or synthetic text is kept at this match probability or above, in [0, 1].
        best_by_clip: Of the texts of a sample that pass the threshold and whose origin is ranked, at most so many are
            kept, those with the highest CLIP scores; 0: all.
        ranked: Origins that are ranked. Captions of people are neither judged nor ranked.
        num_frames: Frames of a clip that are described and judged, evenly spaced.
        batch_size: Samples at a time.
        device: `auto`, `cpu` or `cuda`: where all models of the round run, but for captioners that name another.
        num_audited: Most samples of a shard whose own caption and one of another sample the matcher is tried on.
        max_failed_frac: Largest share of samples that something may go wrong with.
    """

    pack: str
    captioner: str
    matcher: str
    clip: str
    num_candidates: int = 1
    decoding: Mapping[str, Any] = field(default_factory=lambda: {"decoding": "nucleus", "top_p": 0.9})
    captioners: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    threshold: float = 0.5
    best_by_clip: int = 0
    ranked: tuple[str, ...] = ("web", "synthetic")
    num_frames: int = 4
    batch_size: int = 32
    device: str = "cpu"
    num_audited: int = 64
    max_failed_frac: float = 0.01

    def __post_init__(self) -> None:
        least = 0 if self.captioners else 1
        if self.num_candidates < least:
            raise ValueError(f"num_candidates must be at least 1, or 0 beside captioners, got {self.num_candidates}")
        for name, low in (("batch_size", 1), ("num_frames", 1), ("best_by_clip", 0), ("num_audited", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, got {getattr(self, name)}")
        for name in ("threshold", "max_failed_frac"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        require_device(self.device)
        if not self.ranked or not set(self.ranked) <= set(ORIGINS) - {"human"}:
            raise ValueError(f"ranked must be web, synthetic or both, got {list(self.ranked)}")
        if OWN in self.captioners:
            raise ValueError(f"captioners must not have the name {OWN}, which is that of the run")

    @property
    def has_provenance(self) -> bool:
        """Whether a sample gets several synthetic texts, so that each one's seed and decoding stand beside it."""
        return bool(self.captioners) or self.num_candidates > 1

    def identity(self) -> dict[str, Any]:
        """Settings that decide the layers; a round is the same round while settings that it does not use are added."""
        values = asdict(self)
        unused = [name for name, default in LATER.items() if values[name] == default]
        return {name: value for name, value in values.items() if name not in (*unused, *AUDIT_ONLY)}


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionerEntry:
    """What the stage takes of a captioner's entry; the rest is the plug-in's.

    Attributes:
        num_candidates: Texts that it writes for each sample.
    """

    num_candidates: int = 1

    def __post_init__(self) -> None:
        if self.num_candidates < 1:
            raise ValueError(f"num_candidates must be at least 1, got {self.num_candidates}")


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionerSpec:
    """A captioner that can be sent to a worker.

    Attributes:
        name: Its name in the round.
        num_candidates: Texts that it writes for each sample.
        module: Its plug-in.
        config: The plug-in's settings.
    """

    name: str
    num_candidates: int
    module: str
    config: Any

    def build(self) -> Captioner:
        """The captioner."""
        captioner: Captioner = plugin(PACKAGE, self.module, f"captioners.{self.name}").Captioner(self.config)
        return captioner


def captioner_specs(entry: RecaptionEntry, where: str) -> tuple[CaptionerSpec, ...]:
    """The further captioners of a round, by name; one that has a device and names none takes the round's.

    Raises:
        ValueError: A plug-in or a setting is unknown, or a name cannot be a place.
    """
    specs = []
    for name, values in sorted(entry.captioners.items()):
        if not NAME.fullmatch(name):
            raise ValueError(f"params.yaml: {where}.captioners: names match {NAME.pattern}, got {name!r}")
        own, rest = split_settings(CaptionerEntry, values, f"{where}.captioners.{name}")
        module, config = plugin_config(PACKAGE, rest, f"{where}.captioners.{name}")
        if "device" in module.Config.__dataclass_fields__ and "device" not in rest:
            config = replace(config, device=entry.device)
        specs.append(CaptionerSpec(name=name, num_candidates=own.num_candidates, module=rest["module"], config=config))
    return tuple(specs)
