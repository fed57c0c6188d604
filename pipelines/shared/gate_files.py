"""What a gate leaves for people and `promote`: `scores/gates/<gate>/` with `gate.json`, `gate.md` and two galleries.

`champion/` and `challenger/` have the format of `data/evaluate/<key>/gallery`, for the same prompts and the same noise.
All of it is in git, and nothing in it depends on the clock: equal inputs, equal bytes.
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.shared.documents import read_json
from pipelines.shared.files import clear_folder, digest_file, write_bytes, write_json
from pipelines.shared.folders import replace_folder
from pipelines.shared.gating import PROMOTE, SHOWN
from pipelines.shared.stage import SCORES, STATE

GATES = SCORES / "gates"
GATE_FILE, PAGE_FILE, GALLERY_FILE = "gate.json", "gate.md", "gallery.json"
FORMAT_VERSION = 1
NUM_PICTURES = 8
MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~&-])")


def read_gate_file(gate: str) -> dict[str, Any] | None:
    """The last `gate.json`; None if the gate has decided nothing yet.

    Raises:
        ValueError: The file is not a gate's.
    """
    path = GATES / gate / GATE_FILE
    if not path.is_file():
        return None
    document = read_json(path, "a gate's")
    try:
        version = document["format_version"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a gate's: {type(error).__name__}: {error}") from error
    if version != FORMAT_VERSION:
        raise ValueError(f"{path} has format version {version}, this program reads {FORMAT_VERSION}")
    return document


def gate_digest(gate: str) -> str:
    """sha256 of a gate's `gate.json`."""
    return digest_file(GATES / gate / GATE_FILE)


def publish_gate(document: Mapping[str, Any], galleries: Mapping[str, Path]) -> None:
    """Put a decision in its place.

    Args:
        document: Of `gate.json`, without its format version.
        galleries: Folders of `champion` and `challenger`, those that there are.
    """
    new = STATE / "gates" / document["gate"]
    clear_folder(new)
    for name, gallery in galleries.items():
        shutil.copytree(gallery, new / name)
    write_bytes(new / PAGE_FILE, page(document, new, list(galleries)).encode())
    write_json(new / GATE_FILE, {"format_version": FORMAT_VERSION, **document})
    replace_folder(new, GATES / document["gate"])


def summary(document: Mapping[str, Any]) -> str:
    """A decision in a line."""
    more = f"; `vignette promote {document['gate']}` puts it in use" if document["verdict"] == PROMOTE else ""
    return f"{document['verdict']} ({'; '.join(document['reasons'])}){more}; see {GATES / document['gate'] / PAGE_FILE}"


def page(document: Mapping[str, Any], folder: Path, names: Sequence[str]) -> str:
    """The decision in Markdown."""
    challenger, champion, test = (document[name] for name in ("challenger", "champion", "test"))
    frozen = f"frozen with {champion['version']}" if champion else "the present one, which a promotion freezes"
    against = f"`{champion['run']}` {champion['version']} ({champion['model_sha256'][:12]})" if champion else "none yet"
    lines = [
        f"# Gate {document['gate']}: {document['verdict']}",
        "",
        *(f"- {plain(reason)}" for reason in document["reasons"]),
        "",
        f"Challenger: `{challenger['run']}` ({challenger['model_sha256'][:12]}). Champion: {against}. "
        f"Scored by `{document['evaluation']}` on {test['num_scored']} samples of a test set of {test['num_samples']} "
        f"({frozen}). {test['num_excluded']} were left out because a model was trained on them, or on ones that look "
        "the same.",
        "",
        *score_table(document["outcomes"]),
        "",
        "Gains count in the direction in which a score is better; intervals are 95%; p is one-sided, of a gain of at "
        "most the margin, after Holm's correction.",
        *pictures(folder, names),
    ]
    return "\n".join([*lines, ""])


def score_table(outcomes: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row for each score."""
    if not outcomes:
        return ["No score was compared."]
    lines = [
        "| score | role | margin | champion | challenger | gain | p | n | detectable | outcome |",
        "|---|---|--:|--:|--:|---|--:|--:|--:|---|",
    ]
    for each in outcomes:
        gain = number(each["gain"])
        if each["low"] is not None:
            gain += f" [{number(each['low'])}, {number(each['high'])}]"
        outcome = each["note"] or ("" if each["outcome"] == SHOWN else each["outcome"])
        name = f"`{each['score']}` ({'higher' if each['higher_is_better'] else 'lower'} is better)"
        values = [number(each[field]) for field in ("margin", "champion", "challenger")]
        rest = [number(each[field]) for field in ("p_value", "n", "smallest_detectable")]
        lines.append(f"| {' | '.join([name, each['role'], *values, gain, *rest, plain(outcome)])} |")
    return lines


def pictures(folder: Path, names: Sequence[str]) -> list[str]:
    """The first items of the galleries, side by side."""
    if not names:
        return []
    galleries = [json.loads((folder / name / GALLERY_FILE).read_bytes())[:NUM_PICTURES] for name in names]
    lines = ["", f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for items in zip(*galleries, strict=True):
        cells = [shown_item(name, item) for name, item in zip(names, items, strict=True)]
        lines.append(f"| {plain('; '.join(items[0]['captions']))} | {' | '.join(cells)} |")
    return lines


def shown_item(name: str, item: Mapping[str, Any]) -> str:
    """A cell: the picture, and what the model wrote or found."""
    picture = f"![]({name}/{item.get('second', item['picture'])})"
    text = item.get("written", item.get("nearest", ""))
    return f"{picture} {plain(text)}".rstrip()


def number(value: float | int | None) -> str:
    """Four significant digits; nothing where there is no value."""
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def plain(text: str) -> str:
    """Text from elsewhere, such as captions of the web, without any meaning in Markdown or HTML."""
    return MARKUP.sub(r"\\\1", " ".join(text.split()))
