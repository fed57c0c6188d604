"""What each model is, what it was trained on, how training went, and what it makes."""

import base64
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.shared.reporting.curves import Plot, training_plot


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """A run as the page shows it.

    Attributes:
        key: Key of the run.
        summary: First line of the plug-in's docstring: what the method is.
        config: The run's `config.json`.
        plot: Its training curves, if it has any.
        gallery: Items of its evaluation's gallery, pictures as data URIs.
        evaluation: The evaluation that the gallery is of.
    """

    key: str
    summary: str
    config: Mapping[str, Any]
    plot: Plot | None
    gallery: Sequence[Mapping[str, Any]]
    evaluation: str


def model_cards(data: Path, runs: Path, documents: Mapping[str, Mapping[str, Any]]) -> list[ModelCard]:
    """One card per evaluated model."""
    return [
        ModelCard(
            key=document["model"],
            summary=method(document["module"]),
            config=json.loads((runs / document["model"] / "config.json").read_bytes()),
            plot=training_plot(runs / document["model"] / "history.csv"),
            gallery=gallery(data / "evaluate" / key / "gallery"),
            evaluation=key,
        )
        for key, document in documents.items()
    ]


def method(module: str) -> str:
    """The first line of a model plug-in's docstring."""
    text = importlib.import_module(f"models.{module}").__doc__ or ""
    return text.strip().splitlines()[0]


def gallery(folder: Path) -> list[dict[str, Any]]:
    """Items of a gallery with their pictures inside."""
    items = json.loads((folder / "gallery.json").read_bytes())
    for item in items:
        for name in ("picture", "second"):
            if name in item:
                item[name] = data_uri(folder / item[name])
    return items


def data_uri(path: Path) -> str:
    """A WebP file as a `data:` URI, so that the page is one file."""
    return picture_uri(path.read_bytes())


def picture_uri(webp: bytes) -> str:
    """WebP bytes as a `data:` URI."""
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
