"""The model card of a run: `README.md` with the front matter that Hugging Face's hub reads."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pipelines.shared.files import write_bytes

CARD_FILE = "README.md"


def write_card(path: Path, document: Mapping[str, Any], last: Mapping[str, float]) -> None:
    """Write a run's card.

    Args:
        path: Where it goes.
        document: The run's `config.json`.
        last: The last row of its history.
    """
    write_bytes(path, ("\n".join([*_front_matter(document), "", *_text(document, last)]) + "\n").encode())


def _front_matter(document: Mapping[str, Any]) -> list[str]:
    task = _task(document["capabilities"], reads_captions=bool(document["pack"]["captions"]))
    return [
        "---",
        "library_name: vignette",
        *([f"pipeline_tag: {task}"] if task else []),
        f"tags: [vignette, {document['module'].replace('_', '-')}]",
        "---",
    ]


def _task(capabilities: Collection[str], *, reads_captions: bool) -> str:
    """The hub's name of the task that a model is for; empty where it has none."""
    if "generate" in capabilities:
        return "text-to-image" if reads_captions else "unconditional-image-generation"
    if "caption" in capabilities:
        return "image-to-text"
    return "zero-shot-image-classification" if {"encode_image", "encode_text"} <= set(capabilities) else ""


def _text(document: Mapping[str, Any], last: Mapping[str, float]) -> list[str]:
    pack, training, environment = document["pack"], document["training"], document["environment"]
    origins = ", ".join(f"{origin} {weight:g}" for origin, weight in pack["captions"].items())
    facts = {
        "Method": f"`models/{document['module']}.py`",
        "Can": ", ".join(f"`{name}`" for name in document["capabilities"]) or "nothing by itself",
        "Trained on": f"pack `{pack['key']}` ({pack['num_train_samples']} samples, manifest "
        f"sha256 `{pack['manifest_sha256']}`)",
        "Captions (mixing ratio)": origins or "not read",
        "Built on": " ".join(f"{name} `{value}`" for name, value in document["base"].items()),
        "Packaged pretrained parts": ", ".join(f"`{name}`" for name in document["packaged_sha256"]) or "none",
        "Parameters": f"{document['num_parameters']:,}, of which {document['num_trained_parameters']:,} were trained",
        "Training": f"{document['step']} steps of {training['batch_size']} samples, {environment['precision']}, "
        f"{environment['num_processes']} process(es), {environment['device']}, torch {environment['torch']}",
        "Weights": "moving average" if document["weights"] == "average" else "last step",
        "Weights sha256": f"`{document['model_sha256']}`",
    }
    if not document["step"]:
        facts |= dict.fromkeys(("Trained on", "Captions (mixing ratio)", "Weights"), "")
        facts["Parameters"] = f"{document['num_parameters']:,}"
        facts["Training"] = "none: these are the weights that the model began with"
    return [
        f"# {document['key']}",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in facts.items() if value),
        "",
        *_losses({name: value for name, value in last.items() if name.startswith(("train/", "val/"))}),
        "Load it in the folder of the project that trained it:",
        "",
        "```python",
        "from pipelines.shared.runs import load_run",
        "",
        f'model = load_run("{document["key"]}").model',
        "```",
    ]


def _losses(losses: Mapping[str, float]) -> list[str]:
    if not losses:
        return []
    return [
        "Losses at the end (the course is in `history.csv`):",
        "",
        "| loss | value |",
        "|---|---|",
        *(f"| {name} | {value:.6g} |" for name, value in losses.items()),
        "",
    ]
