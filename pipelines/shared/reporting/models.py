"""What each model is, what it was trained on, how training went, and what it makes."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.shared.documents import read_json
from pipelines.shared.reporting.curves import Plot, training_plot
from pipelines.shared.reporting.thumbnails import data_uri


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """A run as the page shows it.

    Attributes:
        key: Key of the run.
        summary: First line of the plug-in's docstring: what the method is.
        config: The run's `config.json`.
        started_from: The run that it builds on, and the packaged pretrained files that it uses.
        plot: Its training curves, if it has any.
        gallery: Items of its evaluation's gallery, pictures as data URIs.
        evaluation: The evaluation that the gallery is of.
    """

    key: str
    summary: str
    config: Mapping[str, Any]
    started_from: Sequence[str]
    plot: Plot | None
    gallery: Sequence[Mapping[str, Any]]
    evaluation: str


def model_cards(data: Path, runs: Path, documents: Mapping[str, Mapping[str, Any]]) -> list[ModelCard]:
    """One card per evaluated model."""
    return [_card(data, runs, key, document) for key, document in documents.items()]


def _card(data: Path, runs: Path, key: str, document: Mapping[str, Any]) -> ModelCard:
    folder = runs / document["model"]
    config = read_json(folder / "config.json")
    base = [f"run {config['base']['key']}"] if config["base"] else []
    return ModelCard(
        key=document["model"],
        summary=method(document["module"]),
        config=config,
        started_from=[*base, *dict.fromkeys(name.partition("/")[0] for name in config["packaged_sha256"])],
        plot=training_plot(folder / "history.csv"),
        gallery=gallery(data / "evaluate" / key / "gallery"),
        evaluation=key,
    )


def method(module: str) -> str:
    """The first line of a model plug-in's docstring."""
    text = importlib.import_module(f"models.{module}").__doc__ or ""
    return text.strip().splitlines()[0]


def gallery(folder: Path) -> list[dict[str, Any]]:
    """Items of a gallery with their pictures inside."""
    items = read_json(folder / "gallery.json")
    for item in items:
        for name in ("picture", "second"):
            if name in item:
                item[name] = data_uri(folder / item[name])
    return items
