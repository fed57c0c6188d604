"""The command: what it prints, its exit codes, and how it starts."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.doctor import main
from pipelines.shared.doctoring.findings import CODES
from tests.pipelines.small_job import environment

STAGES = """stages:
  one: {cmd: python3 one.py, deps: [one.py], outs: [out]}
"""
ENVIRONMENT = ["--ignore", "D33", "--ignore", "D60"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(STAGES)
    Path("dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    Path("one.py").write_text("open('out', 'w').write(str(hash('a')))\nopen('in').read()\n")
    Path("in").write_text("")
    return tmp_path


def run(monkeypatch, capsys, *words):
    """What the command prints, and its exit code."""
    monkeypatch.setattr(sys, "argv", ["vignette doctor", *words, *ENVIRONMENT])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    return capsys.readouterr().out, code


def test_nothing_found(project, monkeypatch, capsys):
    assert run(monkeypatch, capsys) == ("0 errors, 0 warnings, 0 notes\n", 0)


def test_warnings_do_not_fail(project, monkeypatch, capsys):
    Path("dvc.yaml").write_text(STAGES.replace("outs: [out]", "always_changed: true, outs: [out]"))
    output, code = run(monkeypatch, capsys)
    assert code == 0 and output.startswith("warning D04  dvc.yaml:2: one has always_changed")
    assert output.endswith("\n0 errors, 1 warning, 0 notes\n")


def test_an_error_fails_unless_it_is_ignored(project, monkeypatch, capsys):
    Path("dvc.yaml").write_text(STAGES.replace("outs: [out]", "outs: [out: {persist: true}]"))
    output, code = run(monkeypatch, capsys, "--json")
    assert code == 1 and [row["code"] for row in json.loads(output)] == ["D02"]
    assert run(monkeypatch, capsys, "--ignore", "D02") == ("0 errors, 0 warnings, 0 notes\n", 0)


def test_trace_and_twice(project, monkeypatch, capsys):
    output, code = run(monkeypatch, capsys, "--trace", "one")
    assert code == 1 and "D70  dvc.yaml:2: one reads in (at one.py:2)" in output
    output, code = run(monkeypatch, capsys, "--twice", "one")
    assert code == 1 and "D80  dvc.yaml:2: out of one depends on" in output
    assert run(monkeypatch, capsys, "--twice", "one", "--leave-out", "out")[1] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trace", "on"], r"on is not a stage of dvc.yaml \(did you mean one\?\)"),
        (["--twice", "one", "key"], "one key is not a stage of dvc.yaml"),
        (["--ignore", "D99"], "there is no code D99"),
    ],
)
def test_a_users_mistake_is_one_line(project, monkeypatch, capsys, words, message):
    _, code = run(monkeypatch, capsys, *words)
    assert re.search(message, code) and "\n" not in code


def test_codes(monkeypatch, capsys):
    output, code = run(monkeypatch, capsys, "--codes")
    assert code == 0 and [line.split()[0] for line in output.splitlines()] == list(CODES)


def test_it_starts_without_heavy_imports(project):
    code = "import sys, pipelines.doctor; print({'torch', 'apache_beam', 'pyarrow', 'dvc', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment(), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"
