"""The page: one file, no network, readable without scripts, every text escaped."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.shared.reporting.leaderboard import named, shown

HERE = Path(__file__).resolve().parent


def render(values: Mapping[str, Any]) -> str:
    """The HTML text of the report.

    Args:
        values: What the template `page.html` reads.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = shown
    environment.filters["named"] = named
    environment.filters["visible"] = visible
    files = {name: (HERE / f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    # the page runs and shows nothing but this style and this script
    digests = {
        f"{name}_sha256": base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in files.items()
    }
    return environment.get_template("page.html").render(**values, **files, **digests)


def visible(text: str) -> str:
    """Text with control and direction characters made visible, so that a caption disturbs nothing around it."""
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)


def tables(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], groups: Mapping[str, Sequence[str]]) -> list[Any]:
    """Leaderboard tables by task.

    Args:
        rows: Leaderboard rows.
        columns: Score names to show, in order.
        groups: Score names by the metric that made them.

    Returns:
        For each group with something to show, in the order of the columns: its name, its columns, and its models with
        their cells by column.
    """
    result = []
    order = {column: place for place, column in enumerate(columns)}

    def first_column(group: tuple[str, Sequence[str]]) -> tuple[int, str]:
        return min((order.get(score, len(order)) for score in group[1]), default=len(order)), group[0]

    for name, scores in sorted(groups.items(), key=first_column):
        shown_scores = [column for column in columns if column in scores]
        lines: dict[str, dict[str, Any]] = {}
        for row in rows:
            if row["metric"] in shown_scores:
                line = lines.setdefault(row["evaluation"], {"row": row, "cells": {}})
                line["cells"][row["metric"]] = row
        if lines:
            best = {
                column: next(row["evaluation"] for row in rows if row["metric"] == column) for column in shown_scores
            }
            ordered = sorted(lines.values(), key=lambda line: line["row"]["evaluation"])
            result.append({"name": name, "columns": shown_scores, "lines": ordered, "best": best})
    return result
