"""A promotion in a real repository: what it commits and tags, what it refuses, that a kill anywhere is made good."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.shared import champions, folders, promoting
from pipelines.shared.champions import CHAMPIONS, read_champion
from pipelines.shared.evaluation.split import HeldOut
from pipelines.shared.gate_files import gate_digest
from pipelines.shared.gate_scoring import read_contest, settle
from pipelines.shared.manifests import read_manifest, write_manifest
from pipelines.shared.params import load_params
from pipelines.shared.promoting import Options, promote
from pipelines.shared.registry import assigned, versions
from pipelines.shared.runs import run_digest
from tests.pipelines.shared.evaluation.fakes import SHADES, write_split
from tests.pipelines.shared.gate_world import (
    PACK,
    RECALL,
    init_repository,
    new_challenger,
    quick_dvc,
    write_params,
    write_run,
    write_world,
)
from tests.pipelines.small_job import command

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # DVC's, run in this process
FORCED = Options(reason="somebody must")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`first`: nothing promoted yet; `second`: v0.1.0 in use, and a better challenger that the gate promotes."""
    home = tmp_path_factory.mktemp("built")
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        (home / "first").mkdir()
        params = write_world(home / "first", patch)
        quick_dvc(patch, promoting, champions)
        init_repository(home / "first")
        settle(read_contest(params, "towers"))
        shutil.copytree(home / "first", home / "second")
        patch.chdir(home / "second")
        promote("towers", Options())
        challenge(params, "good")
        yield home
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(before)


@pytest.fixture
def first(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return entered(built / "first", tmp_path, monkeypatch)


@pytest.fixture
def second(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return entered(built / "second", tmp_path, monkeypatch)


def entered(template: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A copy of a project as the working directory; its params."""
    shutil.copytree(template, folder / "project")
    monkeypatch.chdir(folder / "project")
    return load_params()


def git(*words: str) -> str:
    return command(Path(), "git", *words)


def challenge(params: dict[str, Any], weights: str) -> str:
    """Another run, and the gate's verdict on it; its digest."""
    digest = new_challenger(params, weights)
    settle(read_contest(params, "towers"))
    return digest


def test_the_first_champion(first: dict[str, Any]) -> None:
    Path("unrelated").write_text("of somebody else")
    told = promote("towers", Options())
    champion = read_champion("towers")
    assert champion and champion.version == "v0.1.0" and champion.document["forced"] == ""
    assert told[0] == f"towers ({champion.model_sha256[:12]}) is towers v0.1.0"
    assert "tagged towers@v0.1.0, towers#champion#1" in told[1]
    gate = [f"scores/gates/towers/{name}" for name in ("challenger/gallery.json", "gate.json", "gate.md")]
    committed = git("show", "--name-only", "--format=%s", "HEAD").split("\n")
    assert committed[0] == "Promote towers to towers v0.1.0"
    assert {*gate, "champions/.gitignore", "champions/towers.dvc"} <= set(committed)
    assert all(name.startswith(("scores/gates/towers/", "champions/")) for name in committed[2:] if name)
    assert git("status", "--short") == "?? unrelated\n"
    (version,) = versions("towers").values()
    assert version.commit == git("rev-parse", "HEAD").strip()
    assert version.facts["gate_sha256"] == champion.document["gate_sha256"] == gate_digest("towers")
    assert version.facts["model_sha256"] == champion.model_sha256
    assert read_contest(first, "towers").is_champion


def test_the_next_champion_keeps_the_test_set(second: dict[str, Any]) -> None:
    assert promote("towers", Options(dry_run=True))[0].endswith("as v0.1.1")
    write_split(PACK, "test", (7, 8), 700)
    promote("towers", Options())
    champion = read_champion("towers")
    assert champion and champion.version == "v0.1.1"
    assert len(HeldOut.load(champion.test, ("human",)).samples) == len(SHADES)
    assert assigned("towers", versions("towers")) == ["v0.1.0", "v0.1.1"]


def test_a_dry_run_writes_nothing(first: dict[str, Any]) -> None:
    before = git("status", "--short"), git("rev-parse", "HEAD")
    (line,) = promote("towers", Options(dry_run=True))
    assert re.fullmatch(r"would promote towers \([0-9a-f]{12}\) as v0\.1\.0", line)
    assert (git("status", "--short"), git("rev-parse", "HEAD")) == before and git("tag") == ""
    assert not CHAMPIONS.exists()
    promote("towers", Options())
    assert promote("towers", Options(dry_run=True))[0].endswith("is towers v0.1.0 already")


def test_again_changes_nothing(first: dict[str, Any]) -> None:
    promote("towers", Options())
    head, tags = git("rev-parse", "HEAD"), git("tag")
    assert len(promote("towers", Options())) == 1
    assert (git("rev-parse", "HEAD"), git("tag")) == (head, tags)


def test_against_the_gate(second: dict[str, Any]) -> None:
    challenge(second, "bad again")
    with pytest.raises(ValueError, match=r"^towers says inconclusive: .* is undecided.*--force --reason TEXT promotes"):
        promote("towers", Options())
    promote("towers", FORCED)
    champion = read_champion("towers")
    assert (
        champion and champion.document["forced"] == "somebody must" and champion.document["verdict"] == "inconclusive"
    )
    assert "somebody must" in git("log", "-1", "--format=%b")
    assert versions("towers")["v0.1.1"].facts["forced"] == "somebody must"


def test_the_gate_must_have_decided_on_this_very_run(first: dict[str, Any]) -> None:
    new_challenger(first, "good")
    with pytest.raises(
        ValueError, match="towers has decided on another run than the present one: run `vignette retrain"
    ):
        promote("towers", Options())
    with pytest.raises(ValueError, match="towers has decided on another run"):
        promote("towers", FORCED)
    Path("scores/gates/towers/gate.json").unlink()
    with pytest.raises(ValueError, match="towers has decided on nothing yet"):
        promote("towers", Options())


def test_a_new_test_set(second: dict[str, Any]) -> None:
    earlier = read_champion("towers")
    write_manifest(PACK, replace(read_manifest(PACK), settings_digest="another build"))
    challenge(second, "good too")
    promote("towers", Options(refreeze=True))
    champion = read_champion("towers")
    assert champion and earlier and champion.version == "v0.2.0", "another minor number: another test set"
    assert champion.document["test"]["pack_sha256"] != earlier.document["test"]["pack_sha256"]
    assert promote("towers", Options(refreeze=True))[0].endswith("v0.2.0"), "it is the present split already"


def test_a_run_that_was_taken_back(second: dict[str, Any]) -> None:
    promote("towers", Options())
    command(Path(), "git", "checkout", "--quiet", "HEAD~1", "--", "champions/towers.dvc")
    command(Path(), "git", "commit", "--quiet", "--message", "back")
    command(Path(), "dvc", "checkout", "--quiet", "champions/towers.dvc")
    with pytest.raises(ValueError, match=r"this run was towers v0\.1\.1 and .*vignette rollback towers --to v0\.1\.1"):
        promote("towers", Options())
    promote("towers", FORCED)
    champion = read_champion("towers")
    assert champion and champion.version == "v0.1.2"


def test_other_work_that_is_staged(first: dict[str, Any]) -> None:
    Path("other").touch()
    git("add", "other")
    with pytest.raises(ValueError, match=r"other changes are staged \(other\)"):
        promote("towers", Options())
    assert not CHAMPIONS.exists()


def test_a_remote_gets_it(first: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    remote = tmp_path_factory.mktemp("remote")
    Path(".dvc/config").write_text(f"[core]\n    remote = r\n['remote \"r\"']\n    url = {remote}\n")
    promote("towers", Options(push=True))
    assert sum(path.is_file() for path in remote.rglob("*")) > 5


def test_a_pack_that_was_built_anew(first: dict[str, Any]) -> None:
    write_manifest(PACK, replace(read_manifest(PACK), settings_digest="another build"))
    with pytest.raises(ValueError, match="is not what towers was trained on any more"):
        promote("towers", Options())
    assert not (CHAMPIONS / "towers").exists() and git("tag") == ""


def test_an_unknown_gate(first: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"retrain\.gates has no 'tower' \(did you mean towers\?\)"):
        promote("tower", Options())


def killed_once(function: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    """Ends like by a kill, before or after its work, the first time."""
    calls: list[int] = []

    def wrapped(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            return function(*arguments, **named)
        if after:
            function(*arguments, **named)
        raise KeyboardInterrupt

    return wrapped


@pytest.mark.parametrize(
    ("step", "after"),
    [
        ("write_champion", True),
        ("replace_folder", True),
        ("commit", False),
        ("commit", True),
        ("register", True),
        ("assign", True),
    ],
)
def test_a_kill_at_any_step_is_made_good_by_the_same_command(
    second: dict[str, Any], monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    digest = run_digest("towers")
    with monkeypatch.context() as patch:
        patch.setattr(promoting, step, killed_once(getattr(promoting, step), after=after))
        with pytest.raises(KeyboardInterrupt):
            promote("towers", Options())
    promote("towers", Options())
    champion = read_champion("towers")
    assert champion and (champion.version, champion.model_sha256) == ("v0.1.1", digest)
    assert sorted(git("tag").split()) == ["towers#champion#1", "towers#champion#2", "towers@v0.1.0", "towers@v0.1.1"]
    assert git("rev-list", "--count", "HEAD").strip() == "3"
    assert git("status", "--short") == " M scores/towers.json\n", "which is not the gate's"
    assert versions("towers")["v0.1.1"].commit == git("rev-parse", "HEAD").strip()


def test_a_kill_between_the_renames_brings_the_old_champion_back_first(
    second: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if target == CHAMPIONS / "towers":
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(folders, "exchange", lambda *_: False)  # as where a system cannot let names change places
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            promote("towers", Options())
    assert not (CHAMPIONS / "towers").exists()
    promote("towers", Options())
    champion = read_champion("towers")
    assert champion and champion.version == "v0.1.1"


def test_what_the_gate_says_now_counts(second: dict[str, Any]) -> None:
    challenge(write_params(improve={RECALL: 5}), "good")
    with pytest.raises(ValueError, match="towers says hold"):
        promote("towers", Options())
    write_run("towers", "good, but newer")
    with pytest.raises(ValueError, match="has decided on another run"):
        promote("towers", Options())
