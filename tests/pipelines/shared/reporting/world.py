"""All that a report reads, on disk and small: a filter, a pack, a round, a run, two evaluations; hostile captions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from safetensors.numpy import save_file

from pipelines.shared.layers import layer_schema, write_layer
from pipelines.shared.manifests import Counts, Manifest, write_manifest
from pipelines.shared.recaptioning import CANDIDATES_SCHEMA
from pipelines.shared.records import Caption
from pipelines.shared.shards import describe
from tests.pipelines.shared.evaluation.fakes import write_pack
from tests.pipelines.shared.reporting.test_leaderboard import document

HOSTILE = '<script>alert(1)</script> \u202e=HYPERLINK("x") <img src=x onerror=alert(2)>'
PICTURE = bytes.fromhex("524946462200000057454250565038200c000000300100009d012a0100010001c02625a00003700000")


def build(tmp_path: Path) -> dict[str, Any]:
    """Write everything into the working directory; returns the params."""
    write_manifest(
        tmp_path / "data" / "crawl" / "site",
        Manifest(stage="crawl", instance="site", settings_digest="0", counts=Counts(num_in=4, kept=4)),
    )
    write_decisions(tmp_path / "data" / "filter" / "base")
    write_pack(tmp_path / "data" / "pack" / "web")
    write_round(tmp_path / "data" / "recaption" / "first")
    for key, shift in (("first", 0.0), ("second", 0.2)):
        write_evaluation(tmp_path, key, shift)
    return {
        "seed": 0,
        "sources": {"site": {}},
        "filters": {"base": {"sources": ("site",)}},
        "packs": {"web": {}},
        "recaptions": {"first": {"pack": "web"}},
        "evaluations": {"first": {}, "second": {}},
        "report": {"title": f"Report {HOSTILE}", "columns": ("recall",), "pairs": (("first", "second"),)},
    }


def write_decisions(folder: Path) -> None:
    """Four links of one source: one kept for training, one for the test, two lost."""
    outcomes = [("", "train"), ("", "test"), ("crawl:http_404", ""), ("few_words", "")]
    rows = [
        {"key": f"{index:020x}", "kept": not reason, "reason": reason, "split": split}
        for index, (reason, split) in enumerate(outcomes)
    ]
    fields = {"kept": pyarrow.bool_(), "reason": pyarrow.string(), "split": pyarrow.string()}
    count = write_layer(folder / "site" / "00000.parquet", rows, layer_schema(fields))
    info = describe(folder / "site" / "00000.parquet", folder, count)
    counts = Counts(num_in=4, kept=2, rejected={"few_words": 1}, failed={"crawl:http_404": 1})
    write_manifest(
        folder, Manifest(stage="filter", instance="base", settings_digest="0", counts=counts, layers=(info,))
    )


def write_round(folder: Path) -> None:
    scores = {"match": 0.7, "clip": 20.0}
    texts = [("web", HOSTILE, False), ("synthetic", "a grey square", True)]
    row = {
        "key": f"{0:020x}",
        "candidates": [
            {**Caption(text=text, origin=origin, scores=scores).as_dict(), "kept": kept} for origin, text, kept in texts
        ],
    }
    count = write_layer(folder / "train" / "00000.parquet", [row], CANDIDATES_SCHEMA)
    details = {
        "texts": {"judged": {"web": 1, "synthetic": 1}, "kept": {"synthetic": 1}},
        "threshold": 0.5,
        "pack": "web",
    }
    write_manifest(
        folder,
        Manifest(
            stage="recaption",
            instance="first",
            settings_digest="0",
            counts=Counts(num_in=1, kept=1),
            layers=(describe(folder / "train" / "00000.parquet", folder, count),),
            details=details,
        ),
    )


def write_evaluation(root: Path, key: str, shift: float) -> None:
    run = root / "runs" / key
    run.mkdir(parents=True)
    config = {
        "pack": {"key": "web", "num_train_samples": 5, "captions": {"web": 1}},
        "base": {},
        "packaged_sha256": {"some-package/file": "0" * 64},
        "step": 10,
        "training": {"batch_size": 4},
        "num_parameters": 1234,
        "num_trained_parameters": 234,
    }
    (run / "config.json").write_text(json.dumps(config))
    (run / "history.csv").write_text("step,train/loss\n1,2.0\n2,1.0\n")
    gallery = root / "data" / "evaluate" / key / "gallery"
    gallery.mkdir(parents=True)
    (gallery / "a.webp").write_bytes(PICTURE)
    items = [{"key": "0", "picture": "a.webp", "captions": [HOSTILE], "written": HOSTILE, "nearest": HOSTILE}]
    (gallery / "gallery.json").write_text(json.dumps(items))
    values = np.linspace(0, 1, 40) + shift
    save_file({"retrieval/recall": values}, gallery.parent / "per_sample.safetensors")
    (root / "scores").mkdir(exist_ok=True)
    text = json.dumps({**document(key, 0.5 + shift), "samples_sha256": "same", "module": "vae"})
    (root / "scores" / f"{key}.json").write_text(text)
