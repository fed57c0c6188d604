"""Example captions before and after recaptioning: the texts that a sample had and got, with scores and decisions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import read_manifest
from pipelines.shared.reporting.thumbnails import thumbnails


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionExample:
    """One picture with all its candidates, each with `text`, `origin`, `scores` and `kept`."""

    key: str
    picture: str
    candidates: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One recaption round.

    Attributes:
        key: Its key.
        texts: Texts judged and kept, by origin.
        threshold: Match probability from which a text is kept.
        examples: Pictures whose captions changed.
    """

    key: str
    texts: Mapping[str, Mapping[str, int]]
    threshold: float
    examples: Sequence[CaptionExample]


def recaption_rounds(data: Path, rounds: Mapping[str, Mapping[str, Any]], num_examples: int) -> list[Round]:
    """All rounds with examples, spread evenly over the pictures that have a web caption."""
    result = []
    for key, entry in sorted(rounds.items()):
        folder, pack = data / "recaption" / key, data / "pack" / entry["pack"]
        manifest = read_manifest(folder)
        rows = [row for info in manifest.layers for row in read_layer(folder, info).to_pylist()]
        judged = [row for row in rows if all(candidate["scores"] for candidate in row["candidates"])]
        changed = [row for row in judged if any(candidate["origin"] == "web" for candidate in row["candidates"])]
        chosen = changed[:: max(len(changed) // num_examples, 1)][:num_examples]
        pictures = thumbnails(pack, read_manifest(pack).shards, {row["key"] for row in chosen})
        examples = [
            CaptionExample(
                key=row["key"],
                picture=pictures[row["key"]],
                candidates=[{**each, "scores": dict(each["scores"])} for each in row["candidates"]],
            )
            for row in chosen
        ]
        details = manifest.details
        result.append(Round(key=key, texts=details["texts"], threshold=details["threshold"], examples=examples))
    return result
