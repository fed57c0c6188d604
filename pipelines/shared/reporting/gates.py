"""What the gates decided last, with what champion and challenger make of the same prompts and noise."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.shared.gate_files import GALLERY_FILE, read_gate_file
from pipelines.shared.reporting.models import gallery

BOTH = ("champion", "challenger")


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """One gate.

    Attributes:
        document: Its `gate.json`.
        shown: For each prompt, the items that there are, of the champion first.
    """

    document: Mapping[str, Any]
    shown: Sequence[Sequence[Mapping[str, Any]]]


def decisions(folder: Path, gates: Iterable[str]) -> list[Decision]:
    """Those gates that have decided something.

    Args:
        folder: Of all gates.
        gates: Their names.

    Raises:
        ValueError: A file is not a gate's.
    """
    found = []
    for gate in sorted(gates):
        document = read_gate_file(gate)
        if document:
            there = [folder / gate / name for name in BOTH if (folder / gate / name / GALLERY_FILE).is_file()]
            shown = [*zip(*map(gallery, there), strict=True)]
            found.append(Decision(document=document, shown=shown))
    return found
