"""Packs: which sources they are made of, and what their manifests say."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.shared.manifests import manifest_digest, read_manifest


@dataclass(frozen=True, kw_only=True, slots=True)
class PackFacts:
    """A pack in numbers.

    Attributes:
        key: Its key.
        media: `image` or `video`.
        splits: Samples by split.
        captions: Captions by origin.
        num_shards: Its shards.
        num_bytes: Of all of them.
        sha256: Digest of its manifest.
    """

    key: str
    media: str
    splits: Mapping[str, int]
    captions: Mapping[str, int]
    num_shards: int
    num_bytes: int
    sha256: str


def pack_keys(params: Mapping[str, Any]) -> list[str]:
    """All packs and repacks."""
    return sorted({**params["packs"], **(params.get("repacks") or {})})


def pack_sources(params: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The sources that a pack's samples come from: its filter's, of a repack those of the pack that it is made of."""
    repacks = params.get("repacks") or {}
    while key in repacks:
        key = repacks[key]["pack"]
    return tuple(params["filters"][params["packs"][key]["filter"]]["sources"])


def pack_licences(params: Mapping[str, Any], licences: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """For each pack the licence of each of its sources; empty text where it is not stated."""
    return {
        key: {source: licences.get(source, "") for source in pack_sources(params, key)} for key in pack_keys(params)
    }


def pack_facts(packs: Path, keys: Iterable[str]) -> list[PackFacts]:
    """What the manifests of packs say."""
    found = []
    for key in keys:
        manifest = read_manifest(packs / key)
        found.append(
            PackFacts(
                key=key,
                media=manifest.details["media"],
                splits=manifest.details["splits"],
                captions={origin: count for origin, count in manifest.details["num_captions"].items() if count},
                num_shards=len(manifest.shards),
                num_bytes=sum(info.num_bytes for info in manifest.shards),
                sha256=manifest_digest(packs / key),
            )
        )
    return found
