"""The whole job on three pages of the embedded site, with models of a few thousand parameters."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
TRAINING = {"steps": 3, "batch_size": 8, "learning_rate": 1.0e-3, "device": "cpu"}
CLIP = {"module": "clip", "training": TRAINING, "embed_dim": 16, "image_px": 16, "patch_px": 8, "vision_width": 64}
CLIP |= {"vision_layers": 1, "text_width": 16, "text_layers": 1, "text_heads": 2, "context_length": 16}
BLIP = {"module": "blip", "training": TRAINING, "image_px": 16, "patch_px": 8, "image_width": 16, "num_layers": 1}
BLIP |= {"num_image_layers": 1, "num_image_heads": 2, "text_width": 16, "num_heads": 2, "embed_width": 8}
BLIP |= {"queue_size": 8, "alpha_warmup_steps": 2, "max_tokens": 12}
HALVES = {"base": "blip", "pack": "web", "captions": {"human": 1}, "training": TRAINING, "max_tokens": 12}
WEB, BOOTSTRAPPED = {"web": 1, "human": 1}, {"web": 1, "human": 1, "synthetic": 1}


def small_params(site: Path) -> dict[str, Any]:
    """Every section of `params.yaml`, for `site` in place of the embedded one."""
    source = {"module": "html_site", "serve": str(site), "max_pages": 1, "samples_per_shard": 10}
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    split = {"val": 0.2, "test": {"clipart": 0.2, "emoji": 0.4, "emoji-motion": 0.4}}
    retrieval = {"pack": "web", "judge": "clip", "metrics": ["retrieval"]}
    return params | {
        "retrain": {},
        "sources": {
            "clipart": {**source, "start": "clipart/page-13.html", "origin": "web"},
            "emoji": {**source, "start": "emoji/page-12.html", "origin": "human"},
            "emoji-motion": {**source, "start": "emoji-motion/page-3.html", "origin": "human"},
        },
        "filters": {"base": params["filters"]["base"] | {"split": split}},
        "packs": {
            "web": params["packs"]["web"] | {"size_px": 32, "samples_per_shard": 12},
            "motion": params["packs"]["motion"] | {"size_px": 32, "samples_per_shard": 4},
        },
        "models": {
            "clip": {**CLIP, "pack": "web", "captions": WEB},
            "clip-bootstrapped": {**CLIP, "pack": "bootstrapped", "captions": BOOTSTRAPPED},
            "blip": {**BLIP, "pack": "web", "captions": WEB},
        },
        "stacked": {
            "blip-captioner": {**HALVES, "module": "blip_captioner", "prompt": ""},
            "blip-matcher": {**HALVES, "module": "blip_matcher", "queue_size": 8, "alpha_warmup_steps": 2},
        },
        "recaptions": {"first": params["recaptions"]["first"] | {"clip": "clip"}},
        "metrics": {"retrieval": {"module": "retrieval", "media": "image", "recall_at": [1, 5]}},
        "evaluations": {
            "clip": {**retrieval, "model": "clip"},
            "clip-bootstrapped": {**retrieval, "model": "clip-bootstrapped"},
        },
        "references": {"shuffled": {**retrieval, "kind": "shuffled"}},
        "report": params["report"] | {"pairs": [["clip", "clip-bootstrapped"]]},
    }


def write_project(folder: Path) -> Path:
    """A git repository with this project's code, its `dvc.yaml`, and the small job's parameters."""
    write_code(folder)
    (folder / "params.yaml").write_text(yaml.safe_dump(small_params(ROOT / "examples/site"), sort_keys=False))
    command(folder, "python3", "-m", "pipelines.refresh")
    command(folder, "git", "init", "--quiet")
    commit(folder, "start")
    return folder


def write_code(folder: Path) -> None:
    """All files of this project but its data, results and tests, as they are in the working tree."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, check=True).stdout
    others = ("examples/", "tests/", "scores/", "dvc.lock")
    for name in sorted({name for name in listed.decode().split("\0") if name and not name.startswith(others)}):
        if (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)


def commit(folder: Path, message: str) -> None:
    """Commit everything that git does not ignore."""
    command(folder, "git", "add", "--all")
    command(folder, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", message)


def environment() -> dict[str, str]:
    """With this interpreter's programs first, and one thread each."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}


def command(folder: Path, *words: str) -> str:
    """What a command prints; its errors fail the test."""
    done = subprocess.run(
        words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, f"{words}: {done.stdout[-1000:]} {done.stderr[-3000:]}"
    return done.stdout
