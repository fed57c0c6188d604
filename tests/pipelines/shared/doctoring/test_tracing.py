"""A stage that reads and writes what it should not, traced."""

import sys
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet
import pytest

from pipelines.shared.doctoring.tracing import trace

UNDECLARED = """
import json, subprocess, sys
from pathlib import Path

import pyarrow.parquet
from pipelines.shared.params import load_params
from stages.shared.text import write

def table():
    return pyarrow.parquet.read_table("data/table.parquet").num_rows

if __name__ == "__main__":
    key = sys.argv[1]
    params = load_params()
    settings = params["models"][key]
    words = Path(f"data/{settings['pack']}.txt").read_text().split()
    words.append(Path("data/secret.txt").read_text())
    child = "from pathlib import Path; print(Path('data/child.txt').read_text())"
    words.append(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout)
    words += [table(), params["scale"], params["beam"]["runner"]]
    Path("data/log.txt").write_text("done")
    Path(".vignette/features").mkdir(parents=True)
    Path(".vignette/features/x").write_text("kept for the next time")
    write(key, {"words": words, "seed": params["seed"], "width": settings["width"]})
"""


def test_a_clean_stage(write_project):
    project = write_project()
    assert trace(project, project.stage("train@small")) == []
    assert not Path("runs").exists() and not Path("scores").exists(), "nothing is run in the project itself"
    assert not list(Path(".vignette/scratch/doctor").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="libraries' own reads are seen on Linux alone")
def test_undeclared_reads_settings_and_writes(write_project, clean):
    params = "scale: debug\nbeam: {runner: FnApiRunner}\n" + clean["params.yaml"]
    files = {"stages/train.py": UNDECLARED, "params.yaml": params, "data/secret.txt": "s", "data/child.txt": "c"}
    project = write_project(files)
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), "data/table.parquet")
    messages = defaultdict(list)
    for finding in trace(project, project.stage("train@small")):
        messages[finding.code].append(finding.message.partition(", which")[0])
        assert finding.place == "dvc.yaml:2"
    assert messages == {
        "D70": [
            "train@small reads data/child.txt",
            "train@small reads data/secret.txt (at stages/train.py:17)",
            "train@small reads data/table.parquet",
        ],
        "D71": ["train@small reads scale of params.yaml (at stages/train.py:20)"],
        "D72": ["train@small writes data/log.txt (at stages/train.py:21)"],
    }
    assert not Path("data/log.txt").exists()


def test_code_that_is_read_and_not_declared(write_project, clean):
    changed = clean["dvc.yaml"].replace("        - stages/shared/text.py\n", "")
    project = write_project({"dvc.yaml": changed})
    (found,) = trace(project, project.stage("train@small"))
    assert found.code == "D70" and "reads stages/shared/text.py (at stages/train.py:5)" in found.message


def test_a_run_stands_for_its_bases_and_its_models_code(write_project, clean):
    changed = clean["dvc.yaml"].replace("        - stages/train.py", "        - stages/train.py\n        - runs/upper")
    reads = "    import models.net\n    open('runs/lower/config.json').read(), open('runs/other/config.json').read()\n"
    files = {
        "stages/train.py": clean["stages/train.py"] + reads,
        "models/__init__.py": "WIDTH = 3\n",
        "models/net.py": "",
        "runs/upper/config.json": '{"base": {"key": "lower"}}',
        "runs/lower/config.json": '{"base": {}}',
        "runs/other/config.json": "{}",
    }
    project = write_project({"dvc.yaml": changed, **files})
    found = [finding.message for finding in trace(project, project.stage("train@small"))]
    assert [message.split()[2] for message in found] == ["models/__init__.py", "runs/other/config.json"]
    project = write_project(files)
    found = [finding.message for finding in trace(project, project.stage("train@small"))]
    assert [message.split()[2] for message in found] == [
        "models/__init__.py",
        "models/net.py",
        "runs/lower/config.json",
        "runs/other/config.json",
    ]


def test_a_stage_that_fails_is_one_message(write_project):
    project = write_project({"stages/train.py": "raise SystemExit('the reason')\n"})
    with pytest.raises(ValueError, match=r"train@small fails in a copy of the project \(exit 1\): the reason"):
        trace(project, project.stage("train@small"))
