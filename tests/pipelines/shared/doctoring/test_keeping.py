import subprocess
from pathlib import Path

import pytest

from pipelines.shared.doctoring import keeping

RUN = {"runs/small/model.json": "{}", "scores/small.json": "{}"}


def found(project):
    return [
        (finding.code, finding.message)
        for check in (keeping.kept_twice, keeping.kept_by_nobody)
        for finding in check(project)
    ]


def test_a_clean_project(write_project):
    assert found(write_project(RUN, git=True)) == []


def test_outside_git_nothing_is_said(write_project):
    assert found(write_project(RUN)) == []


def test_tracked_by_both(write_project):
    project = write_project(RUN, git=True)
    subprocess.run(["git", "add", "--force", "runs/small/model.json"], check=True)
    ((code, message),) = found(project)
    assert code == "D44" and message.startswith("runs/small/model.json of train@small")


@pytest.mark.parametrize(("size", "codes"), [(1 << 20, []), ((1 << 20) + 1, ["D45"])])
def test_a_large_output_in_git(write_project, size, codes):
    project = write_project({**RUN, "scores/small.json": "1" * size}, git=True)
    assert [code for code, _ in found(project)] == codes


def test_a_large_file_that_is_no_output(write_project):
    assert found(write_project({**RUN, "data/web.txt": "1" * (2 << 20)}, git=True)) == []


def test_kept_by_nobody(write_project, clean):
    project = write_project({**RUN, ".gitignore": clean[".gitignore"] + "/scores/\n"}, git=True)
    assert [code for code, _ in found(project)] == ["D46"]


def test_not_in_git_yet(write_project):
    project = write_project(git=True)
    Path("scores").mkdir()
    Path("scores/small.json").write_text("{}")
    ((code, message),) = found(project)
    assert code == "D47" and "scores/small.json" in message


def test_cached_and_not_ignored(write_project):
    project = write_project({".gitignore": ""}, git=True)
    Path("runs/small").mkdir(parents=True)
    Path("runs/small/model.json").write_text("{}")
    ((code, message),) = found(project)
    assert code == "D48" and message.startswith("runs/small of train@small")
