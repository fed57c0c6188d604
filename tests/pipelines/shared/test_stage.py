"""What every stage's command does."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.shared import stage as module
from pipelines.shared.files import write_json
from pipelines.shared.shards import describe
from pipelines.shared.stage import StageRun, code_digest, one_line_errors, single_run

RUN = StageRun(stage="crawl", key="toys", params={"seed": 3})
STAGE = """
import sys
from pathlib import Path
from pipelines.shared.stage import StageRun, main

def run(stage_run: StageRun) -> None:
    with stage_run.scratch("x") as scratch:
        assert scratch.is_dir()
    if stage_run.params.get("seed") == 1:
        raise ValueError("seed must\\n not be 1")
    if stage_run.params.get("seed") == 2:
        raise RuntimeError("our own mistake")
    if stage_run.params.get("seed") == 4:
        Path("started").touch()
        import time
        time.sleep(30)
    print(stage_run.key, *stage_run.beam_options)

main("demo", run, "Shows what a stage does.", beam="nobeam" not in sys.argv[0])
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("demo.py").write_text(STAGE)
    Path("nobeam.py").write_text(STAGE)
    Path("params.yaml").write_text("seed: 0\n")
    return tmp_path


def command(*arguments: str, script: str = "demo.py", **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, env=env)


def test_scratch_is_found_again_after_a_failure_and_gone_after_success() -> None:
    with pytest.raises(RuntimeError), RUN.scratch({"a": 1}) as first:
        (first / "x").write_text("half")
        raise RuntimeError
    with RUN.scratch({"a": 1}) as again:
        assert again == first and (again / "x").read_text() == "half"
    assert not first.exists()


def test_scratch_belongs_to_its_settings() -> None:
    def folder(run: StageRun, *identity: object) -> Path:
        with run.scratch(*identity) as made:
            return made

    other_seed = StageRun(stage="crawl", key="toys", params={"seed": 4})
    other_key = StageRun(stage="crawl", key="cars", params={"seed": 3})
    folders = {folder(RUN, 1), folder(RUN, 2), folder(RUN, 1, 1), folder(other_seed, 1), folder(other_key, 1)}
    assert len(folders) == 5 and folder(RUN, 1) in folders


def test_success_sweeps_what_other_settings_left() -> None:
    with pytest.raises(RuntimeError), RUN.scratch("old") as old:
        raise RuntimeError
    with RUN.scratch("new"):
        assert old.exists()
    assert not old.exists()


def test_scratch_belongs_to_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    assert code_digest() == code_digest() and len(code_digest()) == 64
    with RUN.scratch() as first:
        pass
    monkeypatch.setattr(module, "code_digest", lambda: "other")
    with RUN.scratch() as second:
        assert second != first


@pytest.mark.parametrize("number", ["1", 0, 1.5])
def test_threads_are_a_whole_number(number: object) -> None:
    assert RUN.num_threads == 1
    with pytest.raises(ValueError, match="num_threads must be a whole number from 1"):
        StageRun(stage="train", key="x", params={"num_threads": number}).num_threads  # noqa: B018


@pytest.mark.parametrize("seed", ["1", 1.5, None])
def test_seed_is_a_whole_number(seed: object) -> None:
    with pytest.raises(ValueError, match="seed must be a whole number"):
        _ = StageRun(stage="s", key="k", params={"seed": seed}).seed
    assert StageRun(stage="s", key="k", params={}).seed == 0


def test_one_run_at_a_time() -> None:
    with (
        single_run("a"),
        single_run("b"),
        pytest.raises(ValueError, match=r"another run holds .*a.lock"),
        single_run("a"),
    ):
        pass
    with single_run("a"):
        pass


def test_lock_dies_with_its_holder() -> None:
    Path("params.yaml").write_text("seed: 4\n")
    holder = subprocess.Popen([sys.executable, "demo.py", "a"])
    while not Path("started").exists():
        time.sleep(0.02)
    assert "another run holds .vignette/locks/demo-a.lock" in command("a").stderr
    holder.kill()
    holder.wait()
    Path("params.yaml").write_text("seed: 0\n")
    assert command("a").returncode == 0


def test_stage_killed_with_its_dvc_parent() -> None:
    """Under DVC a stage ends when its parent does."""
    Path("params.yaml").write_text("seed: 4\n")
    launcher = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, 'demo.py', 'a'])\n"
        "print(child.pid, flush=True); child.wait()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", launcher], stdout=subprocess.PIPE, text=True, env={**os.environ, "DVC_ROOT": "."}
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    while not Path("started").exists():
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text():
        assert time.monotonic() < deadline, "the stage outlived its parent"
        time.sleep(0.02)


def test_arguments() -> None:
    done = command("a", "--runner=X", "--flag")
    assert (done.returncode, done.stdout) == (0, "a --runner=X --flag\n")
    refused = command("a", "--runner=X", script="nobeam.py")
    assert refused.returncode == 2 and "unrecognized arguments: --runner=X" in refused.stderr
    shown = command("--help")
    assert shown.returncode == 0 and "usage: vignette demo" in shown.stdout and "passed to Beam" in shown.stdout
    assert "passed to Beam" not in command("--help", script="nobeam.py").stdout


def test_errors() -> None:
    Path("params.yaml").write_text("seed: 1\n")
    mistake = command("a")
    assert (mistake.returncode, mistake.stderr) == (1, "vignette demo a: seed must not be 1\n")
    assert "Traceback" in command("a", VIGNETTE_TRACEBACK="1").stderr
    Path("params.yaml").write_text("seed: 2\n")
    ours = command("a")
    assert ours.returncode == 1 and "Traceback" in ours.stderr and "our own mistake" in ours.stderr


def test_one_line_errors() -> None:
    with pytest.raises(SystemExit, match="vignette x: a b"), one_line_errors("x"):
        raise ValueError("a\nb")
    with pytest.raises(SystemExit, match="interrupted; the same command goes on from here"), one_line_errors("x"):
        raise KeyboardInterrupt
    with pytest.raises(KeyError), one_line_errors("x"):
        raise KeyError("ours")


def test_an_error_of_the_system_is_a_line_with_its_path() -> None:
    with (
        pytest.raises(SystemExit, match=r"^vignette x: data/a.tar: No space left on device: make room there, the same"),
        one_line_errors("x"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "data/a.tar")


def test_an_error_of_a_write_names_the_scratch_folder() -> None:
    with pytest.raises(OSError, match=r"No space left on device: '.vignette/scratch/crawl/toys/"), RUN.scratch("x"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_an_interruption(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit, match=r"^vignette x: interrupted; the same command"), one_line_errors("x"):
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert signal.getsignal(number) is before


def test_results_of_an_earlier_run_that_are_damaged_are_not_taken() -> None:
    with pytest.raises(RuntimeError), RUN.scratch("x") as scratch:
        for name in "ab":
            (scratch / f"{name}.tar").write_text("a shard")
            info = describe(scratch / f"{name}.tar", scratch, 1)
            write_json(scratch / f"{name}.json", {"shard": info.as_dict()})
        raise RuntimeError
    (scratch / "b.tar").unlink()
    with RUN.scratch("x") as again:
        assert [path.name for path in again.glob("*.json")] == ["a.json"]


def test_scratch_is_removed_under_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while it is removed leaves nothing that a rerun would take for work."""

    def killed(path: Path, ignore_errors: bool) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt), RUN.scratch("x") as scratch:
            (scratch / "a.json").write_text("{}")
    assert not scratch.exists()
    with RUN.scratch("x") as again:
        assert list(again.iterdir()) == []
    assert list((Path(".vignette/scratch/crawl")).iterdir()) == []
