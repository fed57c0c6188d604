"""The leaderboard's history: `scores/records.jsonl`, to which scores are appended and from which none is taken.

One line for each score document that was not in it yet: day, git revision, what the training took, facts of the machine
that the scores were made on, the document, and the sha256 of all that. Lines that were written before lines had one are
only known to git.
"""

import datetime
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.shared.documents import SEAL, open_sealed, parse_json, read_json, write_sealed
from pipelines.shared.files import canonical_json, digest_file, digest_json, write_bytes

RECORDS = "records.jsonl"
COMPARISON = Path("reproduced/comparison.json")
FORMAT_VERSION = 1


def read_records(scores: Path) -> list[dict[str, Any]]:
    """All records, the oldest first.

    Raises:
        ValueError: A line is not a record, or not as it was written.
    """
    path = scores / RECORDS
    return parse_records(path.read_bytes() if path.is_file() else b"", path)


def parse_records(content: bytes, path: Path) -> list[dict[str, Any]]:
    """Records from the bytes of their file, which `path` names in messages.

    Raises:
        ValueError: A line is not a record, or not as it was written.
    """
    return [_record(line, f"{path}:{number}") for number, line in enumerate(content.splitlines(), start=1)]


def damaged_records(scores: Path) -> Iterator[str]:
    """What is wrong with each line that is not as it was written."""
    path = scores / RECORDS
    content = path.read_bytes()
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            _record(line, f"{path}:{number}")
        except ValueError as error:
            yield str(error)
    if content and not content.endswith(b"\n"):
        yield f"{path} does not end with a newline: it was cut off"


def _record(line: bytes, where: str) -> dict[str, Any]:
    record = parse_json(line, where, "a record")
    try:
        document = dict(record["document"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where} is not a record: {type(error).__name__}: {error}") from error
    own = record.pop(SEAL, None)
    if own is not None and own != digest_json(record):
        raise ValueError(f"{where} is damaged: it does not have the sha256 that it holds")
    return {**record, "document": document}


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
        document = read_json(path)
        if digest_json(document) not in known:
            record = {"recorded": today.isoformat(), "revision": revision(), **_cost(timings, runs, document["model"])}
            record |= {"machine": dict(machine), "document": document}
            lines.append(canonical_json({**record, SEAL: digest_json(record)}))
    if lines:
        path = scores / RECORDS
        before = path.read_bytes() if path.is_file() else b""
        write_bytes(path, before + "".join(f"{line}\n" for line in lines).encode())
    return len(lines)


def write_comparison(scores: Path, document: Mapping[str, Any]) -> None:
    """Keep how the present build compares with a published one, with digests of the scores that it speaks of."""
    about = {"format_version": FORMAT_VERSION, "documents": _document_digests(scores)}
    write_sealed(scores / COMPARISON, about | dict(document))


def read_comparison(scores: Path) -> dict[str, Any] | None:
    """What `write_comparison` kept; None if nothing, or if it speaks of other scores than the present ones.

    Raises:
        ValueError: The file is not one that this program wrote.
    """
    path = scores / COMPARISON
    if not path.is_file():
        return None
    try:
        document = open_sealed(path, "a comparison")
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
    timing, config = (read_json(path) for path in paths)
    return {"train_seconds": timing["seconds"], "device": config["environment"]["device"]}
