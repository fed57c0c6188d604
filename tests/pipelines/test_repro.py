"""Stages several at a time: in which order, what a failure stops, what a kill leaves; and a real DVC project."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.repro import LOCK, Graph, OutOfTimeError, Scheduler, main, mend_lock, mend_rwlock, read_graph, repro
from tests.pipelines.small_job import command, environment

DOT = """strict digraph {
"a@1";
"b";
"c";
"d";
"lonely";
"a@1" -> "b";
"a@1" -> "c";
"b" -> "d";
"c" -> "d";
}
"""
FAKE = """#!{python}
import sys, time, pathlib
name = sys.argv[-1]
log = pathlib.Path("log")
with log.open("a") as handle: handle.write(f"start {{name}}\\n")
print(f"bar 1\\rbar 2 of {{name}}", file=sys.stderr)
time.sleep(0.3)
together = set(pathlib.Path("together").read_text().split()) if pathlib.Path("together").exists() else set()
for _ in range(600):  # until all of them have started, which those that wait for each other never would
    if name not in together or together <= {{line.split()[1] for line in log.read_text().splitlines()}}: break
    time.sleep(0.1)
if pathlib.Path(f"bad-{{name}}").exists(): sys.exit(3)
with log.open("a") as handle: handle.write(f"end {{name}}\\n")
"""
DVC_YAML = """stages:
  one: {cmd: sleep 1 && echo 1 > one, outs: [one]}
  two: {cmd: sleep 1 && echo 2 > two, outs: [two]}
  sum: {cmd: cat one two > sum, deps: [one, two], outs: [sum]}
"""


@pytest.fixture
def fake_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / "dvc"
    path.write_text(FAKE.format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    return str(path)


def logged() -> list[str]:
    return Path("log").read_text().splitlines()


def test_graph() -> None:
    graph = read_graph(DOT)
    assert graph.needs == {"a@1": set(), "b": {"a@1"}, "c": {"a@1"}, "d": {"b", "c"}, "lonely": set()}
    assert graph.affected(["b"]) == {"b", "d"}
    assert graph.affected(["a@1", "gone"]) == {"a@1", "b", "c", "d"}
    assert graph.heights() == {"a@1": 2, "b": 1, "c": 1, "d": 0, "lonely": 0}


def test_order_and_width(fake_dvc: str, capfd: pytest.CaptureFixture) -> None:
    graph = read_graph(DOT)
    Path("together").write_text("b c")
    Scheduler(graph, set(graph.needs), jobs=2, dvc=fake_dvc).run()
    log = logged()
    assert set(log[:2]) == {"start a@1", "start lonely"}
    assert log.index("end a@1") < min(log.index("start b"), log.index("start c"))
    assert max(log.index("end b"), log.index("end c")) < log.index("start d")
    assert min(log.index("end b"), log.index("end c")) > max(log.index("start b"), log.index("start c")), "side by side"
    lines = capfd.readouterr().err.splitlines()
    assert "[0/5] bar 1" in lines and any(line.endswith("bar 2 of d") for line in lines)
    assert lines[-1].startswith("[5/5] d: done in ")


def test_one_at_a_time_starts_with_what_most_stands_behind(fake_dvc: str) -> None:
    graph = read_graph(DOT)
    Scheduler(graph, set(graph.needs), jobs=1, dvc=fake_dvc).run()
    assert [line.split()[1] for line in logged() if line.startswith("start")] == ["a@1", "b", "c", "d", "lonely"]


def test_a_failure_lets_the_others_finish_and_starts_no_more(fake_dvc: str) -> None:
    Path("bad-b").touch()
    graph = read_graph(DOT)
    with pytest.raises(ValueError, match=r"^b failed .* run the same command again"):
        Scheduler(graph, {"b", "c", "d"}, jobs=2, dvc=fake_dvc).run()
    assert "end c" in logged() and "start d" not in logged()


def test_nothing_is_started_after_the_deadline(fake_dvc: str) -> None:
    graph = read_graph(DOT)
    scheduler = Scheduler(graph, {"b", "c", "d"}, 1, fake_dvc, deadline=time.monotonic() + 0.1)
    with pytest.raises(OutOfTimeError, match=r"^1 of 3 stages are done, not c, d$"):
        scheduler.run()
    assert logged() == ["start b", "end b"], "what was begun was let finish"


def test_a_failure_is_told_before_the_time(fake_dvc: str) -> None:
    Path("bad-b").touch()
    with pytest.raises(ValueError, match=r"^b failed"):
        Scheduler(read_graph(DOT), {"b", "c"}, 1, fake_dvc, deadline=time.monotonic() + 0.1).run()


def test_a_lock_that_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    mend_lock()
    assert not LOCK.exists()
    lock = (Path(__file__).resolve().parents[2] / "dvc.lock").read_bytes()[:3000]
    whole = lock[: lock.rindex(b"    - path")]
    LOCK.write_bytes(b"")
    mend_lock()
    assert not LOCK.exists() and "cut off while DVC wrote it: it is left out" in capsys.readouterr().err
    LOCK.write_bytes(whole)
    mend_lock()
    assert LOCK.read_bytes() == whole and not capsys.readouterr().err
    for cut in (b"", whole[:8], whole[:-20], whole + b"    - pa", whole + b"  train@x:\n", b"stages: [1]", b"\xff"):
        LOCK.write_bytes(cut)
        mend_lock()
        assert LOCK.read_bytes() == whole and "the one of the last start" in capsys.readouterr().err


@pytest.mark.parametrize("cut", ["", '{"write": {"data/x": {"pid": 1, "c', "[]", "\0\0\0\0"])
def test_a_lock_of_dvc_that_was_cut_off(project: Path, capsys: pytest.CaptureFixture, cut: str) -> None:
    """DVC refuses every command then."""
    path = Path(".dvc/tmp/rwlock")
    path.write_text(cut)
    mend_rwlock()
    assert not path.exists() and "was cut off while DVC wrote it: it is removed" in capsys.readouterr().err
    mend_rwlock()
    path.write_text('{"write": {}, "read": {}}')
    mend_rwlock()
    assert path.exists() and not capsys.readouterr().err
    path.write_text(cut)
    assert repro(jobs=2) == 3


def test_nothing_to_run() -> None:
    Scheduler(Graph({}), set(), jobs=2, dvc="unused").run()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    command(tmp_path, "git", "init", "--quiet")
    command(tmp_path, "dvc", "init", "--quiet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_dvc_project(project: Path) -> None:
    assert repro(jobs=2) == 3
    assert Path("sum").read_text() == "1\n2\n"
    assert "up to date" in command(project, "dvc", "status")
    assert repro(jobs=2) == 0
    Path("sum").unlink()
    assert repro(jobs=2, without=("sum",)) == 0 and not Path("sum").exists()
    assert repro(jobs=2) == 1


def test_data_that_was_added_by_hand_is_no_stage(project: Path) -> None:
    Path("data.txt").write_text("1")
    command(project, "dvc", "add", "--quiet", "data.txt")
    noted = Path("data.txt.dvc").read_bytes()
    Path("data.txt").write_text("2")
    assert repro(jobs=2) == 3
    assert Path("data.txt.dvc").read_bytes() == noted, "a change is not taken for granted"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends children with their parent")
def test_killed_with_all_that_it_started(project: Path) -> None:
    Path("dvc.yaml").write_text(DVC_YAML.replace("sleep 1", "sleep 77"))
    words = [sys.executable, "-m", "pipelines.repro"]
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(words, cwd=project, env={**environment(), "PYTHONPATH": str(root)})
    deadline = time.monotonic() + 60
    while len(children := dvc_processes(project)) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(children) == 2
    time.sleep(1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while dvc_processes(project) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not dvc_processes(project)


def dvc_processes(folder: Path) -> list[int]:
    """Processes of `dvc repro` that work in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            here = (entry / "cwd").readlink() == folder
            if here and b"--single-item" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_a_name_that_dvc_reads_differently_is_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    Path("params.yaml").write_text("sources: {my.site: {module: url_list}}\n")
    monkeypatch.setattr(sys, "argv", ["vignette repro"])
    with pytest.raises(SystemExit, match=r"vignette repro: params.yaml: sources: 'my.site' cannot be a name here"):
        main()
    assert capfd.readouterr().err == "", "DVC is not asked"
