import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.shared.doctoring.hook import LOG, ROOT, notes, place


def run(folder, code, *options):
    """What a process notes that runs code in a folder with the hook."""
    log = folder.parent / "log"
    log.write_text("")
    (folder / "run.py").write_text(f"from pipelines.shared.doctoring.hook import install\ninstall()\n{code}\n")
    environment = {**os.environ, LOG: str(log), ROOT: str(folder), "PYTHONPATH": str(Path(__file__).parents[4])}
    done = subprocess.run([sys.executable, "run.py"], cwd=folder, env=environment, capture_output=True, text=True)
    return [json.loads(line) for line in log.read_text().splitlines()], done


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (tmp_path / "outside.txt").write_text("o")
    return folder


def test_what_is_noted(folder):
    code = """
import os, pathlib
open("a.txt").read()
open("a.txt").read()
pathlib.Path("sub/../b.txt").write_text("b")
os.close(os.open(b"c.txt", os.O_CREAT | os.O_WRONLY))
open("../outside.txt").read()
os.close(os.open(".", os.O_RDONLY))
os.fdopen(os.dup(1)).close()
"""
    noted, done = run(folder, code)
    assert done.returncode == 0, done.stderr
    assert noted == [
        ["opened", "a.txt", "run.py:5"],
        ["wrote", "b.txt", "run.py:7"],
        ["wrote", "c.txt", "run.py:8"],
    ]


def test_an_input_is_not_changed_in_the_project_itself(folder):
    os.link(folder.parent / "outside.txt", folder / "input.txt")
    _, done = run(folder, 'open("input.txt", "a").write("x")')
    assert "PermissionError" in done.stderr and "is an input" in done.stderr
    assert (folder.parent / "outside.txt").read_text() == "o"
    _, done = run(folder, 'open("new.txt", "w").write("x")\nimport os\nos.replace("new.txt", "input.txt")')
    assert done.returncode == 0 and (folder.parent / "outside.txt").read_text() == "o", (
        "a new file in its place is none"
    )


def test_a_sandbox_that_may_write_no_file_goes_on(folder):
    code = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\nprint(open('a.txt').read())"
    noted, done = run(folder, code)
    assert done.stdout == "a\n" and noted == []


def test_each_thing_once(tmp_path):
    note = notes(str(tmp_path / "log"), str(tmp_path))
    for kind, what in (("opened", "a"), ("opened", "a"), ("wrote", "a"), ("opened", "b")):
        note(kind, what)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [json.loads(line)[:2] for line in lines] == [["opened", "a"], ["wrote", "a"], ["opened", "b"]]


def test_the_place_is_that_of_the_callers_not_of_helpers():
    root = str(Path(__file__).parent)
    assert place(root).startswith("test_hook.py:")
    assert place("/nowhere") == ""
    scope = {"place": place}
    exec(compile("def helper(root): return place(root)", f"{root}/pipelines/shared/params.py", "exec"), scope)
    exec(compile("def caller(root): return helper(root)", f"{root}/stage.py", "exec"), scope)
    assert scope["caller"](root) == "stage.py:1"
