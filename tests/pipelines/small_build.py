"""A build with a file of every kind, made without running a stage, under git and DVC: lock and caches are real."""

import datetime
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from pipelines.shared.documents import write_sealed
from pipelines.shared.files import canonical_json, digest_file, digest_json, write_json
from pipelines.shared.manifests import MANIFEST, SCORE_SHA256, Counts, Manifest, manifest_digest, write_manifest
from pipelines.shared.recording import append_records
from pipelines.shared.shards import describe

PARAMS: dict[str, Any] = {
    "seed": 0,
    "sources": {"web": {"module": "url_list"}},
    "packs": {"p": {"size_px": 32}},
    "models": {"tiny": {"rate": 0.5, "betas": [0.9, 0.98]}},
    "recaptions": {"first": {"threshold": 0.3}},
    "evaluations": {"tiny": {"model": "tiny"}},
    "references": {"real": {"kind": "real"}},
}
PARAMS_TEXT = "\n".join(f"{name}: {canonical_json(value)}" for name, value in PARAMS.items()) + "\n"
EACH = "  {name}:\n    foreach: ${{{section}}}\n    do:\n      cmd: echo {name} ${{key}}\n      deps: [{deps}]\n"
EACH += "      params: [seed, '{section}.${{key}}']\n      outs: [{outs}]\n"
SCORED = "'data/evaluate/${key}', {'scores/${key}.json': {cache: false}}"
STAGES = (
    ("crawl", "sources", "code.py", "'data/crawl/${key}'"),
    ("pack", "packs", "code.py, data/crawl", "'data/pack/${key}'"),
    ("train", "models", "code.py, data/pack", "'runs/${key}', 'timings/${key}.json'"),
    ("recaption", "recaptions", "code.py, data/pack/p, runs/tiny", "'data/recaption/${key}'"),
    ("evaluate", "evaluations", "code.py, data/pack/p, runs/tiny", SCORED),
    ("reference", "references", "code.py, data/pack/p", SCORED),
)
DVC_YAML = "stages:\n" + "".join(
    EACH.format(name=name, section=section, deps=deps, outs=outs) for name, section, deps, outs in STAGES
)
DVC_YAML += "  report:\n    cmd: mkdir reports && cp scores/records.jsonl reports/a.html && cp code.py reports/b.csv\n"
DVC_YAML += "    deps: [scores, code.py]\n    params: [seed]\n    outs: [reports]\n"


def write_build() -> None:
    """Write the build into the working directory."""
    for name, text in (("params.yaml", PARAMS_TEXT), ("dvc.yaml", DVC_YAML), ("code.py", "print()\n")):
        Path(name).write_text(text)
    Path(".gitignore").write_text("/data\n/runs\n/timings\n/reports\n/.dvc/cache\n/.dvc/tmp\n")
    publish("crawl", "web", {"00000.tar": b"shard" * 50, "00000.parquet": b"layer" * 40})
    publish("pack", "p", {"train/00000.tar": b"train" * 50}, {"crawl/web": manifest_digest(Path("data/crawl/web"))})
    _write_run()
    pack = {"pack/p": manifest_digest(Path("data/pack/p"))}
    run = {"run/tiny": digest_file(Path("runs/tiny/model.safetensors"))}
    publish("recaption", "first", {"00000.parquet": b"candidates" * 20}, {**pack, **run})
    write_sealed(Path("data/recaption/first/audit.json"), {"planted": {"train": {"num_samples": 12}}})
    for key, inputs in (("tiny", {**pack, **run}), ("real", pack)):
        document = {"evaluation": key, "model": "", "scores": {"psnr": {"value": 17.25, "n": 40}}}
        write_json(Path(f"scores/{key}.json"), document)
        files = {"per_sample.safetensors": b"values" * 30, "evidence/index.json": b'{"a": 1}\n'}
        publish("evaluate", key, files, inputs, {SCORE_SHA256: digest_json(document)})
    write_json(Path("timings/tiny.json"), {"seconds": 1.5})
    _git("init", "--quiet")
    append_records(Path("scores"), Path("timings"), Path("runs"), ["tiny"], datetime.date(2026, 1, 2), {})
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    analytics = false\n")
    dvc("commit", "--force", *(f"{name}@{key}" for name, section, *_ in STAGES for key in PARAMS[section]))
    dvc("repro", "--quiet", "report")


def publish(
    stage: str,
    key: str,
    files: Mapping[str, bytes],
    inputs: Mapping[str, str] | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """A folder with a manifest."""
    folder = Path("data") / stage / key
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    infos = [describe(folder / name, folder, 3) for name in files]
    manifest = Manifest(
        stage=stage,
        instance=key,
        settings_digest="0" * 64,
        inputs=inputs or {},
        counts=Counts(num_in=4, kept=3, failed={"http_404": 1}),
        shards=tuple(info for info in infos if info.name.endswith(".tar")),
        layers=tuple(info for info in infos if not info.name.endswith(".tar")),
        details=details or {},
    )
    write_manifest(folder, manifest)


def _write_run() -> None:
    folder = Path("runs/tiny")
    folder.mkdir(parents=True)
    pack = {"key": "p", "manifest_sha256": digest_file(Path("data/pack/p") / MANIFEST)}
    document: dict[str, Any] = {"format_version": 1, "key": "tiny", "pack": pack, "base": {}}
    save_file({"w": torch.ones(64)}, folder / "model.safetensors", metadata={"vignette": canonical_json(document)})
    document["model_sha256"] = digest_file(folder / "model.safetensors")
    (folder / "history.csv").write_text("step,loss\n1,0.5\n2,0.25\n")
    (folder / "README.md").write_text("# tiny\n\nA card.\n")
    document["files"] = {name: digest_file(folder / name) for name in ("history.csv", "README.md")}
    write_json(folder / "config.json", document)


def commit() -> None:
    """Commit everything that git does not ignore."""
    _git("add", "--all")
    _git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "a build")


def dvc(*words: str) -> None:
    """Run DVC here."""
    subprocess.run([Path(sys.executable).with_name("dvc"), *words], check=True, timeout=300)


def _git(*words: str) -> None:
    subprocess.run(["git", *words], check=True, timeout=60)
