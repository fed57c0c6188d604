"""A stage whose output depends on what it should not, run twice."""

from pathlib import Path

import pytest

from pipelines.shared.doctoring.twice import files, run_twice, set_workers

VARYING = """
import os, sys, time
from pathlib import Path
from pipelines.shared.params import load_params
from stages.shared.text import write

if __name__ == "__main__":
    params = load_params()
    time.tzset()
    write(sys.argv[1], {"value": VALUE})
    Path("scores/small.json").write_text(str(time.perf_counter()))
"""


def changed(value):
    return {"stages/train.py": VARYING.replace("VALUE", value), "params.yaml": PARAMS}


PARAMS = "# kept\nseed: 0\nbeam: {direct_num_workers: 0}\nmodels:\n  small: {pack: web}\n"


@pytest.mark.parametrize(
    "value",
    [
        "hash('word')",
        "list({'one', 'two', 'three', 'four', 'five', 'six'})",
        "time.localtime(0).tm_hour",
        "params['beam']['direct_num_workers']",
        "os.getcwd()",
        "time.time()",
    ],
)
def test_what_must_not_matter(write_project, value):
    project = write_project(changed(value))
    (found,) = run_twice(project, project.stage("train@small"), ["scores"])
    assert (found.code, found.place) == ("D80", "dvc.yaml:14")
    assert found.message.startswith("runs/small/model.json of train@small") and "key value" in found.message
    assert not Path("runs").exists() and not list(Path(".vignette/scratch/doctor").iterdir())


def test_outputs_that_do_not_vary(write_project):
    project = write_project(changed("sorted({'one', 'two'})"))
    assert run_twice(project, project.stage("train@small"), ["scores/small.json"]) == []
    (found,) = run_twice(project, project.stage("train@small"))
    assert found.message.startswith("scores/small.json of train@small"), "a time that is not left out"


def test_a_file_that_only_one_run_wrote(write_project):
    text = VARYING.replace("VALUE", "1") + "    Path(f'runs/small/{hash(chr(97))}.txt').touch()\n"
    project = write_project({"stages/train.py": text, "params.yaml": PARAMS})
    found = run_twice(project, project.stage("train@small"), ["scores"])
    assert len(found) == 2 and all("only one of the runs wrote it" in finding.message for finding in found)


def test_workers_of_the_copy(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS)
    set_workers(path, 3)
    assert path.read_text() == PARAMS.replace("workers: 0", "workers: 3")
    path.write_text("seed: 0\n")
    set_workers(path, 3)
    assert path.read_text() == "seed: 0\n"
    set_workers(tmp_path / "none.yaml", 3)


def test_files_of_an_output(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_text("")
    assert files(tmp_path, "a") == files(tmp_path, "a/b/c") == {"a/b/c"} and files(tmp_path, "none") == set()
