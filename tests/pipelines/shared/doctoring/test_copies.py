import sys
import time
from pathlib import Path

import pytest

from pipelines.shared.doctoring import copies

LARGE = "x" * copies.LINKED_BYTES


@pytest.fixture
def project(write_project):
    files = {
        "data/large.bin": LARGE,
        "runs/small/model.json": "{}",
        "runs/large/model.json": "{}",
        "scores/small.json": "{}",
        ".vignette/scratch/train/small/abc/x": "",
        ".venv/pyvenv.cfg": "",
        ".venv/lib/x.py": "",
        ".dvc/cache/files/x": "",
        ".dvc/config": "",
        "stages/__pycache__/train.pyc": "",
        "elsewhere/x.txt": "",
    }
    project = write_project(files, git=True)
    Path("linked").symlink_to("elsewhere")
    Path("file-link").symlink_to("data/web.txt")
    return project


def test_what_is_copied(project):
    stage = project.stage("train@small")
    with copies.copied(project, stage, "look") as folder:
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
        assert folder.is_relative_to(project.root / ".vignette")
        assert (folder / "data/large.bin").samefile("data/large.bin"), "large files are links"
        assert not (folder / "stages/train.py").samefile("stages/train.py"), "code is not"
        assert (folder / "linked" / "x.txt").is_file() and (folder / "file-link").read_text() == "a b c\n"
    assert there == {
        ".dvc/config",
        ".gitignore",
        "data/large.bin",
        "data/web.txt",
        "dvc.lock",
        "dvc.yaml",
        "elsewhere/x.txt",
        "file-link",
        "params.yaml",
        "runs/large/model.json",
        "stages/__init__.py",
        "stages/shared/__init__.py",
        "stages/shared/text.py",
        "stages/train.py",
    }
    assert not folder.exists() and not list((project.root / copies.HOME).iterdir())


def with_command(write_project, command):
    project = write_project({"dvc.yaml": f"stages:\n  s:\n    wdir: data\n    cmd: {command}\n    outs: [out]\n"})
    return project, project.stage("s")


def test_a_run(write_project):
    project, stage = with_command(write_project, '["python3 ../a.py first", "python3 ../a.py second"]')
    Path("a.py").write_text("import os, sys\nopen('out', 'a').write(sys.argv[1] + os.environ['X'] + sys.executable)\n")
    with copies.copied(project, stage, "look") as folder:
        copies.run(stage, folder, {"X": "1"})
        assert (folder / "data/out").read_text() == f"first1{sys.executable}second1{sys.executable}"
    assert not Path("data/out").exists()


@pytest.mark.parametrize("command", ["echo a | cat", "a && b", "echo $HOME", "cat *.txt", "echo `date`"])
def test_shell_commands_are_refused(write_project, command):
    project, stage = with_command(write_project, command)
    with copies.copied(project, stage, "look") as folder, pytest.raises(ValueError, match="needs a shell"):
        copies.run(stage, folder, {})


def test_a_failure_tells_what_was_said(write_project):
    project, stage = with_command(write_project, "python3 ../a.py")
    Path("a.py").write_text("raise SystemExit('no such thing')\n")
    with copies.copied(project, stage, "look") as folder, pytest.raises(ValueError, match=r"\(exit 1\): no such thing"):
        copies.run(stage, folder, {})
    assert not folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_an_interrupted_run_ends_its_children(write_project):
    project, stage = with_command(write_project, "python3 ../a.py")
    child = "import os, time; open('child', 'w').write(str(os.getpid())); os.rename('child', 'pid'); time.sleep(77)"
    Path("a.py").write_text(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])\n")
    with copies.copied(project, stage, "look") as folder:
        pid = folder / "data/pid"

        def interrupt(wait_sec):
            time.sleep(wait_sec)
            if pid.exists():
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            copies.run(stage, folder, {}, tick=interrupt)
        number = int(pid.read_text())
    deadline = time.monotonic() + 10
    while is_running(number) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(number)


def is_running(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
