"""The manifest: written last and atomically, it is the only entry point to what a stage published. Nothing globs.

It holds the sha256 of its own values, so that a changed count or setting is noticed as a changed file is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.shared.documents import open_sealed, read_json, write_sealed
from pipelines.shared.files import digest_file
from pipelines.shared.records import REASON
from pipelines.shared.shards import FileInfo

MANIFEST = "manifest.json"
SCHEMA_VERSION = 2
SCORE_SHA256 = "score_sha256"
"""Where an evaluation's details have the digest of its score document, which lies outside its folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Where every input of a stage went: `in = kept + rejected + failed`, by reason.

    Attributes:
        num_in: Inputs.
        kept: Inputs that are in the output.
        rejected: Inputs that a rule turned away, by reason.
        failed: Inputs that something went wrong with, by reason.
    """

    num_in: int
    kept: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        out = self.kept + sum(self.rejected.values()) + sum(self.failed.values())
        assert out == self.num_in, f"conservation broken: {self.num_in} in, {out} accounted for: {self}"
        for reason in (*self.rejected, *self.failed):
            assert REASON.fullmatch(reason), f"{reason!r} is not a reason code"

    def check_failures(self, max_failed_frac: float, where: str) -> None:
        """Raise ValueError if the share of failures passes the stated maximum."""
        failed = sum(self.failed.values())
        if self.num_in and failed / self.num_in > max_failed_frac:
            worst = ", ".join(f"{reason} {count}" for reason, count in sorted(self.failed.items()))
            raise ValueError(
                f"{where}: {failed} of {self.num_in} failed, more than max_failed_frac = {max_failed_frac}: {worst}"
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "in": self.num_in,
            "kept": self.kept,
            "rejected": dict(sorted(self.rejected.items())),
            "failed": dict(sorted(self.failed.items())),
        }


def total(counts: Iterable[Counts]) -> Counts:
    """The sum of several counts."""
    num_in = kept = 0
    rejected: dict[str, int] = {}
    failed: dict[str, int] = {}
    for part in counts:
        num_in, kept = num_in + part.num_in, kept + part.kept
        for target, source in ((rejected, part.rejected), (failed, part.failed)):
            for reason, count in source.items():
                target[reason] = target.get(reason, 0) + count
    return Counts(num_in=num_in, kept=kept, rejected=rejected, failed=failed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a stage published.

    Attributes:
        stage: The stage that wrote it, such as `crawl`.
        instance: Its key, such as `emoji`.
        settings_digest: Digest of all settings that shaped it.
        inputs: sha256 of each manifest that it was made from, by name such as `crawl/emoji`.
        counts: The conservation account.
        shards: Tar files, in order.
        layers: Parquet files, in order.
        details: Further JSON values that the stage's readers use.
    """

    stage: str
    instance: str
    settings_digest: str
    counts: Counts
    inputs: Mapping[str, str] = field(default_factory=dict)
    shards: tuple[FileInfo, ...] = ()
    layers: tuple[FileInfo, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def files(self, prefix: str = "") -> tuple[FileInfo, ...]:
        """All published files whose names start with `prefix`, shards first."""
        return tuple(info for info in (*self.shards, *self.layers) if info.name.startswith(prefix))


def write_manifest(folder: Path, manifest: Manifest) -> str:
    """Write `manifest.json`, the last step of a stage.

    Returns:
        Its sha256.
    """
    write_sealed(
        folder / MANIFEST,
        {
            "schema_version": SCHEMA_VERSION,
            "stage": manifest.stage,
            "instance": manifest.instance,
            "settings_digest": manifest.settings_digest,
            "inputs": dict(manifest.inputs),
            "counts": manifest.counts.as_dict(),
            "shards": [info.as_dict() for info in manifest.shards],
            "layers": [info.as_dict() for info in manifest.layers],
            "details": dict(manifest.details),
        },
    )
    return manifest_digest(folder)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder.

    Raises:
        ValueError: There is none (the stage has not run), a byte of it is not as it was written, or it has another
            schema version; names the file.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(f"{path} is missing: the stage that writes {folder} has not run")
    values = read_json(path, "a manifest")
    version = values.get("schema_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}: run the stage again that "
            f"writes {folder}, or `vignette repro`"
        )
    values = open_sealed(path, "a manifest")
    try:
        counts = values["counts"]
        return Manifest(
            stage=values["stage"],
            instance=values["instance"],
            settings_digest=values["settings_digest"],
            inputs=values["inputs"],
            counts=Counts(
                num_in=counts["in"], kept=counts["kept"], rejected=counts["rejected"], failed=counts["failed"]
            ),
            shards=tuple(FileInfo(**info) for info in values["shards"]),
            layers=tuple(FileInfo(**info) for info in values["layers"]),
            details=values["details"],
        )
    except (LookupError, TypeError, AttributeError, AssertionError) as error:
        raise ValueError(f"{path} is not a manifest: {type(error).__name__}: {error}") from error


def has_manifest(folder: Path) -> bool:
    """Whether a folder has a manifest of this program's schema version; one of another version is made anew."""
    path = folder / MANIFEST
    if not path.is_file():
        return False
    values = read_json(path, "a manifest")
    return not isinstance(values, dict) or values.get("schema_version") == SCHEMA_VERSION


def manifest_digest(folder: Path) -> str:
    """sha256 of a folder's manifest: one value that stands for all that it lists."""
    return digest_file(folder / MANIFEST)
