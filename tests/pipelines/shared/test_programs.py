import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.shared.programs import commit, find_dvc, require_git, require_nothing_staged, said


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{name}_NAME", raising=False)
        monkeypatch.delenv(f"GIT_{name}_EMAIL", raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    said("git", "init", "--quiet")
    said("git", "config", "user.name", "t")
    said("git", "config", "user.email", "t@example.org")
    return tmp_path


def test_dvc_is_the_one_beside_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    assert Path(find_dvc()).parent == Path(sys.executable).parent
    find_dvc()
    assert os.environ["PATH"].count(str(Path(sys.executable).parent)) == 1


def test_what_a_program_says(capfd: pytest.CaptureFixture) -> None:
    assert said("git", "--version").startswith("git version")
    with pytest.raises(ValueError, match=r"^git frobnicate failed \(see above\)$"):
        said("git", "frobnicate")
    assert "frobnicate" in capfd.readouterr().err


def test_git_can_commit_here(repository: Path) -> None:
    require_git()


@pytest.mark.parametrize("name", ["user.name", "user.email"])
def test_git_does_not_know_who_commits(repository: Path, name: str) -> None:
    said("git", "config", "--unset", name)
    with pytest.raises(ValueError, match=rf"git's {re.escape(name)} is not set"):
        require_git()


def test_the_environment_may_say_who_commits(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said("git", "config", "--unset", "user.name")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "t")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "t")
    require_git()


def test_not_the_folder_of_a_repository(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = repository / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    with pytest.raises(ValueError, match=r"this is below/ of a git repository: run it in the repository's own folder"):
        require_git()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", "/")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(ValueError, match="this is no git repository"):
        require_git()


def test_a_commit_has_its_own_paths_only(repository: Path) -> None:
    for name in ("a", "b", "own/c"):
        path = repository / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("1")
    assert commit(["a", "own", "missing"], "first")
    assert said("git", "show", "--name-only", "--format=").split() == ["a", "own/c"]
    assert not commit(["a", "own"], "again"), "nothing has changed"
    (repository / "own/c").unlink()
    assert commit(["own"], "gone")
    assert said("git", "ls-files").split() == ["a"]
    assert subprocess.run(["git", "status", "--short"], capture_output=True, text=True).stdout == "?? b\n"


def test_other_staged_changes_are_refused(repository: Path) -> None:
    for name in ("a", "ab", "own/c"):
        path = repository / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("1")
    said("git", "add", "a", "own")
    require_nothing_staged(["a", "own"])
    said("git", "add", "ab")
    with pytest.raises(ValueError, match=r"other changes are staged \(ab\): commit or unstage them first"):
        require_nothing_staged(["a", "own"])
