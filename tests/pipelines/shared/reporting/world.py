"""All that a report reads, on disk and small: a crawl, a filter, a pack, a round, runs, evaluations, a reference, a
gate, records; hostile captions."""

import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from PIL import Image
from safetensors.numpy import save_file

from pipelines.shared.agreeing import Agreement
from pipelines.shared.comparing import Scored
from pipelines.shared.decode import encode_image
from pipelines.shared.documents import write_sealed
from pipelines.shared.layers import CAPTION_TYPE, layer_schema, write_layer
from pipelines.shared.machine import Difference
from pipelines.shared.manifests import Counts, Manifest, read_manifest, write_manifest
from pipelines.shared.recaptioning import CANDIDATES_SCHEMA
from pipelines.shared.recording import write_comparison
from pipelines.shared.records import Caption, Sample
from pipelines.shared.reproducing import Comparison, Stage, kept
from pipelines.shared.shards import describe, write_shard
from tests.pipelines.shared.evaluation.fakes import write_pack

HOSTILE = '<script>window.canary = 1</script> \u202e=HYPERLINK("x") <img src=x onerror="window.canary = 2">'
PICTURE = encode_image(Image.new("RGB", (8, 8), (200, 60, 20)), "webp")
RECALL, FD, MEDIAN = "text_to_image_recall@1", "fd_lite0", "text_to_image_median_rank"
NUM_SAMPLES = 40
NUM_GROUPS = 10
LITE0 = "1" * 64


def build(root: Path) -> dict[str, Any]:
    """Write everything into a folder; returns the params."""
    write_crawl(root / "data" / "crawl" / "site")
    write_decisions(root / "data" / "filter" / "base")
    write_web_pack(root / "data" / "pack" / "web")
    write_round(root / "data" / "recaption" / "first")
    for key, recall in (("first", 0.2), ("second", 0.8), ("third", 0.75)):
        write_run(root / "runs" / key, key)
        write_scored(root, scored(key, recall=recall))
    write_scored(root, scored("noise", recall=0.0, about={"model": "", "reference": "shuffled", "trained_on": ""}))
    write_records(root / "scores" / "records.jsonl")
    write_gate(root / "scores" / "gates" / "main")
    write_kept_comparison(root / "scores")
    evaluations: dict[str, Any] = {"first": {}, "second": {}, "third": {}}
    return {
        "seed": 0,
        "sources": {"site": {"module": "html_site"}},
        "filters": {"base": {"sources": ("site",)}},
        "packs": {"web": {"filter": "base"}},
        "recaptions": {"first": {"pack": "web"}},
        "evaluations": evaluations,
        "references": {"noise": {}},
        "retrain": {"gates": {"main": {}}},
        "report": {
            "title": f"Report {HOSTILE}",
            "columns": (RECALL, FD, MEDIAN),
            "pairs": (("first", "second"),),
            "orderings": {HOSTILE: {"rising": ("first", "second"), "score": RECALL}},
            "licences": {"site": "CC0-1.0"},
        },
    }


def scored(
    key: str, *, recall: float = 0.5, fd: float = 2.0, about: Mapping[str, Any] | None = None, seed: int = 0
) -> Scored:
    """An evaluation: hits of 40 captions, a distance with its jackknife, and a median, of which nothing is kept.

    Args:
        key: Its name.
        recall: Share of the captions that are hit; the same captions for every share, and more for a larger one.
        fd: The distance.
        about: What differs in the document.
        seed: Of the metrics; part of the protocol.
    """
    order = np.random.default_rng(5).permutation(NUM_SAMPLES)
    hits = (order < recall * NUM_SAMPLES).astype(np.float64)
    left_out = fd + 0.01 * np.random.default_rng(6).normal(size=NUM_GROUPS)

    def score(value: float, half_width: float, higher_is_better: bool) -> dict[str, Any]:
        ends = {"low": value - half_width, "high": value + half_width}
        return {"value": value, **ends, "n": 40, "interval": "bootstrap", "higher_is_better": higher_is_better}

    document = {
        "evaluation": key,
        "reference": "",
        "model": key,
        "module": "vae",
        "trained_on": "web",
        "pack": "web",
        "seed": 0,
        "judge": "first",
        "judge_sha256": b"first".hex().ljust(64, "0"),
        "model_sha256": key.encode().hex().ljust(64, "0"),
        "pack_sha256": "b" * 64,
        "samples_sha256": "c" * 64,
        "scores": {
            RECALL: score(float(hits.mean()), 0.1, True),
            MEDIAN: score(7.0, 1.0, False),
            FD: score(fd, 0.2, False),
        },
        "groups": {"retrieval": [RECALL, MEDIAN], "distance": [FD]},
        "protocols": {
            "retrieval": {"metric": "retrieval", "estimator": "exact", "seed": seed, "detector": ""},
            "distance": {
                "metric": FD,
                "estimator": "frechet",
                "seed": seed,
                "detector": "lite0",
                "detector_sha256": LITE0,
            },
        },
        **(about or {}),
    }
    values = {
        f"retrieval/{RECALL}": hits,
        "retrieval/text_to_image_owner": np.arange(NUM_SAMPLES),
        f"distance/{FD}_leave_one_group_out": left_out,
    }
    return Scored(key=key, document=document, values=values)


def write_scored(root: Path, evaluation: Scored) -> None:
    """An evaluation's files, with the gallery that the page shows."""
    (root / "scores").mkdir(parents=True, exist_ok=True)
    (root / "scores" / f"{evaluation.key}.json").write_text(json.dumps(evaluation.document))
    folder = root / "data" / "evaluate" / evaluation.key
    write_gallery(folder / "gallery", HOSTILE)
    save_file(dict(evaluation.values), folder / "per_sample.safetensors")
    document = {
        "samples": [{"key": f"{row:020x}", "source": "site" if row < 32 else "tiny"} for row in range(NUM_SAMPLES)],
        "captions": [{"owner": row, "origin": "human" if row % 2 else "web"} for row in range(NUM_SAMPLES)],
    }
    (folder / "samples.json").write_text(json.dumps(document))


def write_gallery(folder: Path, caption: str) -> None:
    """One item."""
    folder.mkdir(parents=True)
    (folder / "a.webp").write_bytes(PICTURE)
    items = [{"key": "0", "picture": "a.webp", "captions": [caption], "written": caption, "nearest": caption}]
    (folder / "gallery.json").write_text(json.dumps(items))


def write_run(folder: Path, key: str, base: Mapping[str, str] | None = None) -> None:
    """A run without weights: config, history and card."""
    folder.mkdir(parents=True)
    config = {
        "format_version": 1,
        "key": key,
        "module": "vae",
        "model_sha256": key.encode().hex().ljust(64, "0"),
        "capabilities": ["reconstruct"],
        "pack": {"key": "web", "num_train_samples": 5, "captions": {"web": 1}},
        "base": base or {},
        "packaged_sha256": {} if base else {"some-package/file": LITE0 if key == "third" else "0" * 64},
        "step": 10,
        "training": {"batch_size": 4},
        "num_parameters": 1234,
        "num_trained_parameters": 234,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "history.csv").write_text("step,train/loss\n1,2.0\n2,1.0\n")
    card = f"---\nlibrary_name: vignette\ntags: [vignette, vae]\n---\n\n# {key}\n\n| | |\n|---|---|\n| Can | all |\n"
    (folder / "README.md").write_text(card)


def write_crawl(folder: Path) -> None:
    """Four links: two good ones, one that is not there, one with a short caption; captions are hostile."""
    rows: list[dict[str, Any]] = []
    samples = []
    captions = (Caption(text=HOSTILE, origin="web"), Caption(text="a grey square", origin="human"))
    for index, reason in enumerate(("", "", "http_404", "")):
        key, url = f"{index:020x}", f"http://localhost/{index}.png"
        texts = [{**caption.as_dict(), "scores": []} for caption in captions]
        rows.append({"key": key, "url": url, "captions": texts, "reason": reason})
        if not reason:
            media = io.BytesIO()
            Image.new("RGB", (200, 50), (60 * index, 0, 0)).save(media, "PNG")
            samples.append(Sample(key=key, extension="png", media=media.getvalue(), captions=captions))
    fields = {"url": pyarrow.string(), "captions": pyarrow.list_(CAPTION_TYPE), "reason": pyarrow.string()}
    count = write_layer(folder / "00000.parquet", rows, layer_schema(fields))
    write_shard(folder / "00000.tar", samples)
    counts = Counts(num_in=4, kept=3, failed={"http_404": 1})
    write_manifest(
        folder,
        Manifest(
            stage="crawl",
            instance="site",
            settings_digest="0",
            counts=counts,
            shards=(describe(folder / "00000.tar", folder, len(samples)),),
            layers=(describe(folder / "00000.parquet", folder, count),),
        ),
    )


def write_decisions(folder: Path) -> None:
    """Four links of one source: one kept for training, one for the test, two lost."""
    outcomes = [("", "train"), ("", "test"), ("crawl:http_404", ""), ("few_words", "")]
    rows = [
        {
            "key": f"{index:020x}",
            "kept": not reason,
            "reason": reason,
            "split": split,
            "captions_kept": [] if reason else [0, 1],
        }
        for index, (reason, split) in enumerate(outcomes)
    ]
    fields = {
        "kept": pyarrow.bool_(),
        "reason": pyarrow.string(),
        "split": pyarrow.string(),
        "captions_kept": pyarrow.list_(pyarrow.int32()),
    }
    count = write_layer(folder / "site" / "00000.parquet", rows, layer_schema(fields))
    info = describe(folder / "site" / "00000.parquet", folder, count)
    counts = Counts(num_in=4, kept=2, rejected={"few_words": 1}, failed={"crawl:http_404": 1})
    write_manifest(
        folder, Manifest(stage="filter", instance="base", settings_digest="0", counts=counts, layers=(info,))
    )


def write_web_pack(folder: Path) -> None:
    """The pack of the evaluation's tests, with the details that `pack` writes."""
    manifest = read_manifest(write_pack(folder))
    details = {
        "media": "image",
        "splits": {"train": 11, "val": 0, "test": 11},
        "num_captions": {"human": 34, "synthetic": 0, "web": 22},
    }
    write_manifest(folder, dataclasses.replace(manifest, details=details))


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
    share = {"value": 0.75, "low": 0.194, "high": 0.994, "n": 4}
    planted = {"num_samples": 4, "precision": None, "recall": share, "false_acceptance": {**share, "value": 0.25}}
    rejected = {"by_origin": {"web": {**share, "n": 67677}}, "by_captioner": {"captioner": {**share, "n": 98989}}}
    write_sealed(folder / "audit.json", {"captioners": {}, "planted": {"train": planted}, "rejected": rejected})
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


def record(evaluation: Scored, day: int, seconds: float | None = None) -> dict[str, Any]:
    """A record of the leaderboard's history."""
    device = "cpu" if seconds else ""
    about = {"recorded": f"2030-01-{day:02d}", "revision": f"{day:040x}", "train_seconds": seconds, "device": device}
    return {**about, "document": evaluation.document}


def write_records(path: Path) -> None:
    """Three records of one evaluation; before the third the test samples changed."""
    records = [
        record(scored("second", recall=0.5), 1),
        record(scored("second", recall=0.8), 2, seconds=120.0),
        record(scored("second", recall=0.7, about={"samples_sha256": "d" * 64}), 3),
    ]
    path.write_text("".join(f"{json.dumps(each)}\n" for each in records))


def write_kept_comparison(scores: Path) -> None:
    """A build that did not come out as the published one; hostile where a name is from elsewhere."""
    code = tuple(f"code: {number}.py" for number in range(6))
    stages = [
        Stage(name="crawl@site", outcome="different", cause="fault", outs=("data/crawl/site (1 of 2 files: shard)",)),
        Stage(name="filter@base", outcome="different", cause="follows", follows=("crawl@site",)),
        Stage(name="train@first", outcome="different", cause="changed", changed=code),
        Stage(name="pack@web", outcome="equal"),
        Stage(name="train@third", outcome="not built"),
    ]
    ends = {"published": 0.5, "low": 0.4, "high": 0.6}
    found = [
        Agreement(row="first/a", outcome="inside", here=0.52, **ends),
        Agreement(row="first/b", outcome="inside", here=0.58, **ends),
        Agreement(row="second/a", outcome="beyond", here=0.7, **ends),
        Agreement(row="second/b", outcome="other protocol", here=0.7, differs=("samples_sha256",), **ends),
        Agreement(row="third/a", outcome="equal", here=0.5, **ends),
    ]
    machines = [[Difference(name="processor", there="a processor", here=HOSTILE)]]
    comparison = Comparison(revision="d" * 40, day="2026-01-01", stages=stages, scores=found, machines=machines)
    write_comparison(scores, kept(comparison))


def write_gate(folder: Path, champion: str = "first", challenger: str = "second") -> None:
    """A decision with both galleries."""
    write_gallery(folder / "champion", HOSTILE)
    write_gallery(folder / "challenger", HOSTILE)
    shared = {"higher_is_better": True, "n": 40, "smallest_detectable": 0.1, "samples_needed": None, "note": ""}
    outcomes: Sequence[dict[str, Any]] = [
        {
            **shared,
            "score": RECALL,
            "role": "improve",
            "outcome": "won",
            "champion": 0.2,
            "challenger": 0.8,
            "margin": 0.01,
            "gain": 0.6,
            "low": 0.4,
            "high": 0.75,
            "p_value": 0.0002,
        },
        {
            **shared,
            "score": MEDIAN,
            "role": "report",
            "outcome": "shown",
            "higher_is_better": False,
            "champion": 7.0,
            "challenger": 7.0,
            "margin": None,
            "gain": 0.0,
            "low": None,
            "high": None,
            "p_value": None,
            "n": None,
            "smallest_detectable": None,
        },
    ]
    document = {
        "format_version": 1,
        "gate": "main",
        "evaluation": challenger,
        "verdict": "promote",
        "reasons": [f"{RECALL} gains more than 0.01 {HOSTILE}"],
        "outcomes": outcomes,
        "samples_needed": 0,
        "champion": {"run": champion, "model_sha256": "1" * 64, "version": "v0.1.0"},
        "challenger": {"run": challenger, "model_sha256": "2" * 64},
        "test": {"num_samples": 42, "num_excluded": 2},
    }
    (folder / "gate.json").write_text(json.dumps(document))
