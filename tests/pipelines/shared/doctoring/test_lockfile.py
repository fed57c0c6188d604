from pathlib import Path

import pytest

from pipelines.shared.doctoring import lockfile

LOCK = """schema: '2.0'
stages:
  train@small:
    cmd: python3 -m stages.train small
    deps:
    - path: {dep}
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
      size: 6
    outs:
    - path: runs/small
      hash: md5
      md5: 0123456789abcdef0123456789abcdef.dir
"""


def found(project):
    checks = (lockfile.whole_lock, lockfile.stale_lock, lockfile.default_remote)
    return [(finding.code, finding.message) for check in checks for finding in check(project)]


@pytest.mark.parametrize("dep", ["data/web.txt", "runs/large", "s3://bucket/data"])
def test_a_whole_lock(write_project, dep):
    assert found(write_project({"dvc.lock": LOCK.format(dep=dep)})) == []


def test_no_lock(write_project):
    project = write_project()
    Path("dvc.lock").unlink()
    assert [code for code, _ in found(project)] == ["D41"]


@pytest.mark.parametrize("cut", [3, 40, 150, 220])
def test_a_lock_that_was_cut_off(write_project, cut):
    assert [code for code, _ in found(write_project({"dvc.lock": LOCK[:cut]}))] == ["D40"]


def test_a_dependency_that_is_gone(write_project):
    ((code, message),) = found(write_project({"dvc.lock": LOCK.format(dep="stages/old.py")}))
    assert code == "D42" and "train@small was run with stages/old.py" in message


def test_a_stage_that_is_gone(write_project):
    text = LOCK.format(dep="gone").replace("train@small", "train@tiny")
    ((code, message),) = found(write_project({"dvc.lock": text}))
    assert code == "D43" and "train@tiny" in message


@pytest.mark.parametrize(
    ("config", "codes"),
    [
        ("[core]\n    analytics = false\n", []),
        ("[core]\n    remote = here\n", ["D49"]),
        ("[core]\n    remote = here\n['remote \"here\"']\n    url = ../../gone\n", ["D49"]),
        ("[core]\n    remote = here\n['remote \"here\"']\n    url = ../store\n", []),
        ("[core]\n    remote = here\n['remote \"here\"']\n    url = s3://bucket/x\n", []),
        ("no section", []),
    ],
)
def test_remote(write_project, config, codes):
    project = write_project({".dvc/config": config, "store/x": ""})
    assert [code for code, _ in found(project)] == codes


def test_local_settings_override(write_project):
    write_project({".dvc/config": "[core]\n    remote = a\n", ".dvc/config.local": "[core]\n    remote = b\n"})
    assert lockfile.read_config(Path())["core"] == {"remote": "b"}
