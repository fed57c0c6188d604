"""A project with one gate in the working directory: a pack of grey squares and runs that are fakes, for its tests."""

import contextlib
import hashlib
import io
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import dvc.cli
import pytest
import torch
import yaml

from pipelines.shared import gate_scoring, programs
from pipelines.shared.evaluation.scoring import evaluate_run
from pipelines.shared.evaluation.settings import EvaluationEntry
from pipelines.shared.evaluation.split import HeldOut
from pipelines.shared.files import digest_file, write_json
from pipelines.shared.manifests import manifest_digest
from pipelines.shared.params import load_params
from pipelines.shared.runs import FORMAT_VERSION, read_run, run_digest
from tests.pipelines.shared.evaluation.fakes import TwoTowers, run_of, write_pack
from tests.pipelines.small_job import command

RECALL = "text_to_image_recall@1"
EVALUATION = {"model": "towers", "pack": "web", "judge": "towers", "metrics": ["retrieval"], "num_shown": 3}
PARAMS = {
    "seed": 3,
    "num_threads": 1,
    "metrics": {"retrieval": {"module": "retrieval", "recall_at": [1, 5], "num_resamples": 100}},
    "evaluations": {"towers": EVALUATION},
    "retrain": {"gates": {"towers": {"evaluation": "towers", "improve": {RECALL: 0.1}}}},
}
PACK = Path("data/pack/web")


class BadTowers(TwoTowers):
    """Finds nothing: all texts are one."""

    def encode_text(self, captions: list[str]) -> torch.Tensor:
        return torch.ones(len(captions), 2) / 2**0.5


def write_params(**changes: Any) -> dict[str, Any]:
    """`params.yaml`; changes are of the gate's entry."""
    gate = PARAMS["retrain"]["gates"]["towers"] | changes
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS | {"retrain": {"gates": {"towers": gate}}}))
    return load_params()


def write_run(key: str, weights: str, base: str = "") -> str:
    """A run whose "weights" say which fake it is; its digest."""
    folder = Path("runs") / key
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_text(weights)
    digest = digest_file(folder / "model.safetensors")
    document = {
        "format_version": FORMAT_VERSION,
        "module": "clip",
        "step": 1,
        "pack": {"key": "web", "manifest_sha256": manifest_digest(PACK)},
        "base": {"role": "base", "key": base, "sha256": run_digest(base)} if base else {},
        "model_sha256": digest,
    }
    write_json(folder / "config.json", document)
    return digest


def load_fake(key: str, device: str = "auto", folder: Path = Path("runs")) -> SimpleNamespace:
    """In place of `load_run`."""
    kind = (folder / key / "model.safetensors").read_text()
    if kind.startswith("unfit"):
        raise RuntimeError("Error(s) in loading state_dict")
    run = run_of(BadTowers() if kind.startswith("bad") else TwoTowers(), key)
    run.sha256 = read_run(key, folder)["model_sha256"]
    return run


def evaluate_fake(params: dict[str, Any]) -> None:
    """What stage `evaluate@towers` does."""
    settings = EvaluationEntry(**{**params["evaluations"]["towers"], "metrics": ("retrieval",)})
    document = evaluate_run(
        "towers",
        settings,
        params["metrics"],
        params["seed"],
        run=load_fake("towers"),
        load_judge=lambda: load_fake("towers"),
        split=HeldOut.load(PACK, settings.origins),
        out=Path("data/evaluate/towers"),
    )
    write_json(Path("scores/towers.json"), document)


def write_world(folder: Path, monkeypatch: pytest.MonkeyPatch, weights: str = "bad") -> dict[str, Any]:
    """All of it, with the scores of the present run."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(gate_scoring, "load_run", load_fake)
    write_pack(PACK)
    params = write_params()
    new_challenger(params, weights)
    return params


def new_challenger(params: dict[str, Any], weights: str, base: str = "") -> str:
    """Another run, evaluated; its digest."""
    digest = write_run("towers", weights, base)
    evaluate_fake(params)
    return digest


def init_repository(folder: Path) -> None:
    """git and DVC, as a checkout of the project has them."""
    command(folder, "git", "init", "--quiet")
    command(folder, "git", "config", "user.name", "t")
    command(folder, "git", "config", "user.email", "t@example.org")
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").touch()
    (folder / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (folder / ".gitignore").write_text("/data/\n/runs/\n.vignette/\n")
    command(folder, "git", "add", "--all")
    command(folder, "git", "commit", "--quiet", "--message", "start")


def tree(folder: Path) -> str:
    """One digest over names and contents of a folder."""
    names = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(f"{path}".encode() + path.read_bytes() for path in names)).hexdigest()


def quick_dvc(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
    """DVC in this process, where it need not be imported for each command."""

    def said(*words: str) -> str:
        if Path(words[0]).name != "dvc":
            return programs.said(*words)
        heard = io.StringIO()
        with contextlib.redirect_stdout(heard):
            failed = dvc.cli.main(list(words[1:]))
        if failed:
            raise ValueError(f"dvc {' '.join(words[1:])} failed (see above)")
        return heard.getvalue()

    for module in modules:
        monkeypatch.setattr(module, "said", said)
