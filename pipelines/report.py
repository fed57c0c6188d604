"""Stage `report`: the leaderboard as Markdown, CSV and JSON, model cards, and two static pages.

Reads `scores/`, galleries and per-sample values of evaluations, decisions, recaption layers and training histories;
writes `reports/`. Only what `params.yaml` names is read, so what an earlier build left on disk never shows up.
"""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from metrics.shared.bootstrap import Resampling
from pipelines.shared.comparing import Scored
from pipelines.shared.files import write_bytes, write_json
from pipelines.shared.folders import new_folder
from pipelines.shared.gate_files import GATES
from pipelines.shared.manifests import manifest_digest
from pipelines.shared.params import build, load_params
from pipelines.shared.recording import read_comparison, read_records
from pipelines.shared.reporting.breakdown import breakdowns
from pipelines.shared.reporting.captions import recaption_rounds
from pipelines.shared.reporting.cards import write_cards
from pipelines.shared.reporting.comparable import comparable
from pipelines.shared.reporting.croissant import croissant
from pipelines.shared.reporting.dataset import dataset_page
from pipelines.shared.reporting.funnel import Funnel, funnels
from pipelines.shared.reporting.gates import decisions
from pipelines.shared.reporting.history import histories
from pipelines.shared.reporting.leaderboard import Board, leaderboard_rows, write_leaderboard
from pipelines.shared.reporting.models import model_cards
from pipelines.shared.reporting.orderings import orderings
from pipelines.shared.reporting.packs import pack_facts, pack_keys, pack_licences
from pipelines.shared.reporting.page import data_block, render
from pipelines.shared.reporting.pairs import paired_differences
from pipelines.shared.reporting.settings import ReportEntry
from pipelines.shared.reporting.standing import standings
from pipelines.shared.reporting.tables import tables
from pipelines.shared.reporting.texts import length_names
from pipelines.shared.reporting.trainings import read_training
from pipelines.shared.seeds import derive_seed
from pipelines.shared.stage import DATA, RUNS, SCORES, one_line_errors, setup_logging, single_run

REPORTS = Path("reports")
EVALUATED = DATA / "evaluate"


def run(params: Mapping[str, Any]) -> None:
    """Write the report."""
    settings = build(ReportEntry, params.get("report") or {}, "report")
    keys = sorted([*params["evaluations"], *(params.get("references") or {})])
    scored = {key: Scored.load(SCORES, EVALUATED, key) for key in keys}
    records = read_records(SCORES)
    resampling = Resampling(num_resamples=settings.num_resamples, seed=derive_seed(params["seed"], "report"))
    boards = [Board(group=group, standings=standings(group, resampling)) for group in comparable(scored.values())]
    names = {each.document[name] for each in scored.values() for name in ("model", "judge")} - {""}
    trainings = {name: read_training(RUNS, name, records) for name in sorted(names)}
    rows = leaderboard_rows(boards, settings.columns, trainings)
    models = {key: each for key, each in scored.items() if not each.document["reference"]}

    page = {
        "title": settings.title,
        "tables": tables(boards, rows, settings.columns),
        "gates": decisions(GATES, (params.get("retrain") or {}).get("gates") or {}),
        "pairs": [
            {
                "first": first,
                "second": second,
                "differences": paired_differences(scored[first], scored[second], settings.columns, resampling),
            }
            for first, second in settings.pairs
        ],
        "orderings": orderings(settings.orderings, scored, DATA, resampling),
        "breakdowns": [
            each for board in boards for each in breakdowns(board.group, settings.columns, EVALUATED, resampling)
        ],
        "reproduction": read_comparison(SCORES),
        "histories": histories(records, models, settings.columns),
        "rounds": recaption_rounds(DATA, params.get("recaptions") or {}, settings.num_caption_examples),
        "cards": model_cards(DATA, RUNS, {key: each.document for key, each in models.items()}),
        "digests": digests(params, models.values()),
    }
    ways = funnels(DATA, params["filters"])
    front = render("page.html", {**page, "funnels": ways, "summary": summary(ways, models.values())})
    with new_folder(REPORTS) as out:
        write_leaderboard(out, rows)
        write_cards(out / "cards", RUNS, models.values(), trainings, rows, pack_licences(params, settings.licences))
        write_data_page(out, params, settings)
        write_bytes(out / "index.html", front.encode())


def write_data_page(out: Path, params: Mapping[str, Any], settings: ReportEntry) -> None:
    """Write `data.html` and `croissant.json`."""
    packs = pack_keys(params)
    stated = [
        licence for known in pack_licences(params, settings.licences).values() for licence in known.values() if licence
    ]
    document = croissant(settings.title, DATA / "pack", packs, stated, f"../{(DATA / 'pack').as_posix()}/")
    write_json(out / "croissant.json", document)
    page = {
        "title": settings.title,
        **dataset_page(DATA, params, settings.licences, settings.num_sample_examples),
        "length_names": length_names(),
        "packs": pack_facts(DATA / "pack", packs),
        "croissant": data_block(document),
    }
    write_bytes(out / "data.html", render("data.html", page).encode())


def summary(ways: Mapping[str, list[Funnel]], models: Iterable[Scored]) -> str:
    """The page's first sentence."""
    sources = {funnel.source: funnel for each in ways.values() for funnel in each}
    found, kept = (sum(getattr(funnel, name) for funnel in sources.values()) for name in ("found", "kept"))
    number = len({each.document["model"] for each in models})
    return f"{found:,} pictures and clips found by {len(sources)} sources, {kept:,} kept; {number} models scored."


def digests(params: Mapping[str, Any], models: Iterable[Scored]) -> dict[str, str]:
    """Digests of all data and weights that the page speaks of."""
    folders = {f"crawl {key}": DATA / "crawl" / key for key in params["sources"]}
    folders |= {f"pack {key}": DATA / "pack" / key for key in pack_keys(params)}
    data = {name: manifest_digest(folder) for name, folder in sorted(folders.items())}
    return data | {f"model {each.document['model']}": each.document["model_sha256"] for each in models}


def main() -> None:
    """Command line."""
    argparse.ArgumentParser(prog="vignette report", description=(__doc__ or "").splitlines()[0]).parse_args()
    setup_logging()
    with one_line_errors("report"), single_run("report"):
        run(load_params())


if __name__ == "__main__":
    main()
