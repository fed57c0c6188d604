"""The leaderboard's history: `scores/records.jsonl`, to which scores are appended and from which none is taken.

One line for each score document that was not in it yet: day, git revision, what the training took, facts of the machine
that the scores were made on, the document.
"""

import datetime
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.shared.files import canonical_json, digest_file, digest_json, write_bytes, write_json

RECORDS = "records.jsonl"
COMPARISON = Path("reproduced/comparison.json")
FORMAT_VERSION = 1


def read_records(scores: Path) -> list[dict[str, Any]]:
    """All records, the oldest first.

    Raises:
        ValueError: A line is not a record.
    """
    path = scores / RECORDS
    return parse_records(path.read_bytes() if path.is_file() else b"", path)


def parse_records(content: bytes, path: Path) -> list[dict[str, Any]]:
    """Records from the bytes of their file, which `path` names in messages.

    Raises:
        ValueError: A line is not a record.
    """
    records = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            record = json.loads(line)
            records.append({**record, "document": dict(record["document"])})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}:{number} is not a record: {type(error).__name__}: {error}") from error
    return records


def append_records(
    scores: Path,
    timings: Path,
    runs: Path,
    evaluations: Sequence[str],
    today: datetime.date,
    machine: Mapping[str, Any],
) -> int:
    """Append the present score documents that are not yet recorded.

    Args:
        scores: Folder of the score documents and of the records.
        timings: Folder of `<run>.json`, what a training took on the machine that did it.
        runs: Folder of runs.
        evaluations: Names of the documents, in the order of their lines.
        today: Day of the record.
        machine: Facts of the machine that the scores were made on.

    Returns:
        How many were appended.

    Raises:
        ValueError: A document is missing, or the records are damaged.
    """
    known = {digest_json(record["document"]) for record in read_records(scores)}
    lines = []
    for key in evaluations:
        path = scores / f"{key}.json"
        if not path.is_file():
            raise ValueError(f"{path} is missing: run `vignette evaluate {key}`")
        document = json.loads(path.read_bytes())
        if digest_json(document) not in known:
            record = {"recorded": today.isoformat(), "revision": revision(), **_cost(timings, runs, document["model"])}
            lines.append(canonical_json(record | {"machine": dict(machine), "document": document}))
    if lines:
        path = scores / RECORDS
        before = path.read_bytes() if path.is_file() else b""
        write_bytes(path, before + "".join(f"{line}\n" for line in lines).encode())
    return len(lines)


def write_comparison(scores: Path, document: Mapping[str, Any]) -> None:
    """Keep how the present build compares with a published one, with digests of the scores that it speaks of."""
    about = {"format_version": FORMAT_VERSION, "documents": _document_digests(scores)}
    write_json(scores / COMPARISON, about | dict(document))


def read_comparison(scores: Path) -> dict[str, Any] | None:
    """What `write_comparison` kept; None if nothing, or if it speaks of other scores than the present ones.

    Raises:
        ValueError: The file is not one that this program wrote.
    """
    path = scores / COMPARISON
    if not path.is_file():
        return None
    try:
        document = dict(json.loads(path.read_bytes()))
        version, digests = document.pop("format_version"), dict(document.pop("documents"))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a comparison ({error}): remove it, `vignette record` writes it") from error
    if version != FORMAT_VERSION:
        raise ValueError(f"{path} has format version {version}, this program reads {FORMAT_VERSION}: remove it")
    return document if digests == _document_digests(scores) else None


def revision() -> str:
    """The commit that is checked out; empty outside a git repository."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if not done.returncode else ""


def _document_digests(scores: Path) -> dict[str, str]:
    return {path.stem: digest_file(path) for path in sorted(scores.glob("*.json"))}


def _cost(timings: Path, runs: Path, model: str) -> dict[str, Any]:
    """Seconds of the training and what it ran on; null and empty for what was not trained here."""
    paths = timings / f"{model}.json", runs / model / "config.json"
    if not model or not all(path.is_file() for path in paths):
        return {"train_seconds": None, "device": ""}
    timing, config = (json.loads(path.read_bytes()) for path in paths)
    return {"train_seconds": timing["seconds"], "device": config["environment"]["device"]}
