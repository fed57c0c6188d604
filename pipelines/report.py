"""Stage `report`: the leaderboard as Markdown, CSV and JSON, and one static page.

Reads `scores/`, galleries and per-sample values of evaluations, decisions, recaption layers and training histories;
writes `reports/`. Only what `params.yaml` names is read, so what an earlier build left on disk never shows up.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.shared.files import clear_folder, write_bytes
from pipelines.shared.manifests import manifest_digest
from pipelines.shared.params import build, load_params
from pipelines.shared.reporting.captions import recaption_rounds
from pipelines.shared.reporting.funnel import Funnel, funnels
from pipelines.shared.reporting.leaderboard import leaderboard_rows, load_scores, write_leaderboard
from pipelines.shared.reporting.models import model_cards
from pipelines.shared.reporting.page import render, tables
from pipelines.shared.reporting.pairs import compare
from pipelines.shared.reporting.settings import ReportEntry
from pipelines.shared.stage import DATA, RUNS, SCORES, one_line_errors, setup_logging, single_run

REPORTS = Path("reports")


def run(params: Mapping[str, Any]) -> None:
    """Write the report."""
    settings = build(ReportEntry, params.get("report") or {}, "report")
    documents = load_scores(SCORES, sorted(params["evaluations"]))
    rows = leaderboard_rows(documents, settings.columns)
    clear_folder(REPORTS)
    write_leaderboard(REPORTS, rows)
    ways = funnels(DATA, params["filters"])
    groups: dict[str, set[str]] = {}
    for document in documents.values():
        for metric, names in document["groups"].items():
            groups.setdefault(metric, set()).update(names)
    page = render(
        {
            "title": settings.title,
            "summary": summary(ways, documents),
            "tables": tables(rows, settings.columns, {name: sorted(scores) for name, scores in groups.items()}),
            "pairs": [
                {
                    "first": pair[0],
                    "second": pair[1],
                    "differences": compare(
                        DATA,
                        documents,
                        pair,
                        settings.columns,
                        seed=params["seed"],
                        num_resamples=settings.num_resamples,
                    ),
                }
                for pair in settings.pairs
            ],
            "funnels": ways,
            "rounds": recaption_rounds(DATA, params.get("recaptions") or {}, settings.num_caption_examples),
            "cards": model_cards(DATA, RUNS, documents),
            "digests": digests(params, documents),
        }
    )
    write_bytes(REPORTS / "index.html", page.encode())


def summary(ways: Mapping[str, list[Funnel]], documents: Mapping[str, Mapping[str, Any]]) -> str:
    """The page's first sentence."""
    sources = {funnel.source: funnel for each in ways.values() for funnel in each}
    found, kept = (sum(getattr(funnel, name) for funnel in sources.values()) for name in ("found", "kept"))
    models = len({document["model"] for document in documents.values()})
    return f"{found:,} pictures and clips found by {len(sources)} sources, {kept:,} kept; {models} models scored."


def digests(params: Mapping[str, Any], documents: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Digests of all data and weights that the page speaks of."""
    folders = {f"crawl {key}": DATA / "crawl" / key for key in params["sources"]}
    packs = {**params["packs"], **(params.get("repacks") or {})}
    folders |= {f"pack {key}": DATA / "pack" / key for key in packs}
    data = {name: manifest_digest(folder) for name, folder in sorted(folders.items())}
    return data | {f"model {document['model']}": document["model_sha256"] for document in documents.values()}


def main() -> None:
    """Command line."""
    argparse.ArgumentParser(prog="vignette report", description=(__doc__ or "").splitlines()[0]).parse_args()
    setup_logging()
    with one_line_errors("report"), single_run("report"):
        run(load_params())


if __name__ == "__main__":
    main()
