"""An older champion comes back: its files, a commit, a tag; or nothing changes at all."""

import shutil
from pathlib import Path

import pytest

from pipelines import rollback as command_module
from pipelines.rollback import rollback
from pipelines.shared import champions, promoting
from pipelines.shared.champions import CHAMPIONS, read_champion, write_champion
from pipelines.shared.promoting import tag
from pipelines.shared.registry import assigned, versions
from tests.pipelines.shared.evaluation.fakes import write_pack
from tests.pipelines.shared.gate_world import PACK, init_repository, quick_dvc, write_run
from tests.pipelines.small_job import command

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # DVC's, run in this process


def git(*words: str) -> str:
    return command(Path(), "git", *words)


def in_use() -> str:
    champion = read_champion("towers")
    assert champion
    champion.check()
    return champion.version


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions v0.1.0 to v0.1.2, the last one in use."""
    folder = tmp_path_factory.mktemp("built") / "project"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        quick_dvc(patch, promoting, champions, command_module)
        init_repository(folder)
        write_pack(PACK)
        for number in range(3):
            digest = write_run("towers", f"weights {number}")
            facts = {
                "gate": "towers",
                "version": f"v0.1.{number}",
                "gate_sha256": "g",
                "verdict": "promote",
                "forced": "",
            }
            champion = write_champion(CHAMPIONS / "towers", "towers", PACK, None, facts)
            promoting.said("dvc", "add", "--quiet", "champions/towers")
            git("add", "--all")
            git("commit", "--quiet", "--message", digest)
            tag("towers", champion)
        yield folder


@pytest.fixture(autouse=True)
def project(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(built, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def test_back_and_further_back() -> None:
    told = rollback("towers", "", dry_run=False)
    assert told[0] == "towers v0.1.1 is in use" and "tagged towers#champion#4" in told[1]
    assert in_use() == "v0.1.1" and (CHAMPIONS / "towers/runs/towers/model.safetensors").read_text() == "weights 1"
    assert git("log", "-1", "--format=%s").strip() == "Roll towers back to v0.1.1" and git("status", "--short") == ""
    assert git("show", "--name-only", "--format=", "HEAD").split() == ["champions/towers.dvc"]
    rollback("towers", "", dry_run=False)
    assert in_use() == "v0.1.0"
    assert assigned("towers", versions("towers")) == ["v0.1.0", "v0.1.1", "v0.1.2", "v0.1.1", "v0.1.0"]
    with pytest.raises(ValueError, match=r"no champion was in use before v0\.1\.0: name one by --to"):
        rollback("towers", "", dry_run=False)
    rollback("towers", "v0.1.2", dry_run=False)
    assert in_use() == "v0.1.2" and list(versions("towers")) == ["v0.1.0", "v0.1.1", "v0.1.2"]


def test_a_dry_run_changes_nothing() -> None:
    before = git("rev-parse", "HEAD"), git("tag"), git("status", "--short")
    (line,) = rollback("towers", "v0.1.0", dry_run=True)
    assert line.startswith("would put towers v0.1.0 in use (")
    assert (git("rev-parse", "HEAD"), git("tag"), git("status", "--short")) == before and in_use() == "v0.1.2"


@pytest.mark.parametrize(
    ("gate", "to", "message"),
    [
        (
            "towers",
            "v0.1.9",
            r"towers has no version 'v0\.1\.9' \(did you mean v0\.1\.\d\?\); there are: v0\.1\.0, v0\.1\.1",
        ),
        ("towers", "v0.1.2", r"towers v0\.1\.2 is in use already"),
        ("clip", "", "clip has no versions: nothing was promoted yet"),
    ],
)
def test_mistakes(gate: str, to: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rollback(gate, to, dry_run=False)


def test_files_that_are_nowhere() -> None:
    command_module.said("dvc", "gc", "--quiet", "--workspace", "--force")
    with pytest.raises(ValueError, match=r"the files of towers v0\.1\.1 are neither in DVC's cache nor in a remote"):
        rollback("towers", "", dry_run=False)
    assert git("status", "--short") == "" and assigned("towers", versions("towers"))[-1] == in_use() == "v0.1.2"


def test_files_of_a_remote(project: Path, tmp_path: Path) -> None:
    url = tmp_path / "remote"
    shutil.copytree(project / ".dvc/cache", url)
    command_module.said("dvc", "gc", "--quiet", "--workspace", "--force")
    (project / ".dvc/config").write_text(f"[core]\n    remote = r\n['remote \"r\"']\n    url = {url}\n")
    rollback("towers", "", dry_run=False)
    assert in_use() == "v0.1.1"


@pytest.mark.parametrize("step", ["commit", "assign"])
def test_a_kill_is_made_good_by_the_same_command(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command_module, step, killed)
        with pytest.raises(KeyboardInterrupt):
            rollback("towers", "", dry_run=False)
    rollback("towers", "", dry_run=False)
    assert in_use() == "v0.1.1" and assigned("towers", versions("towers"))[-2:] == ["v0.1.2", "v0.1.1"]
    assert git("status", "--short") == ""


def test_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("sys.argv", ["vignette rollback", "towers", "--to", "v0.1.0", "--dry-run"])
    command_module.main()
    assert capsys.readouterr().out.startswith("would put towers v0.1.0 in use")
    monkeypatch.setattr("sys.argv", ["vignette rollback", "tower"])
    with pytest.raises(SystemExit, match=r"^vignette rollback tower: tower has no versions"):
        command_module.main()
