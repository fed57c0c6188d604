"""Whatever is changed in a lock is noticed, and what a user may well do is not."""

import re
import subprocess
from pathlib import Path

import pytest

from pipelines.shared.dvc_files import Listed, as_listed
from pipelines.shared.lock_checks import Lock, LockChecker, committed, read_lock

PARAMS = {"seed": 0, "sources": {"web": {"side": 1.5}}}
DVC_YAML = """stages:
  crawl:
    foreach: ${sources}
    do:
      cmd: echo ${key}
      deps: [code.py]
      params: [seed, 'sources.${key}']
      outs: ['data/${key}']
"""
LOCK = """schema: '2.0'
stages:
  crawl@web:
    cmd: echo web
    deps:
    - path: code.py
      hash: md5
      md5: MD5
      size: SIZE
    params:
      params.yaml:
        seed: 0
        sources.web:
          side: 1.5
    outs:
    - path: data/web
      hash: md5
      md5: 0123456789abcdef0123456789abcdef.dir
      size: 4
      nfiles: 1
"""


@pytest.fixture
def lock(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(DVC_YAML)
    Path("params.yaml").write_text("seed: 0\nsources: {web: {side: 1.5}}\n")
    Path("code.py").write_text("print()\n")
    now = as_listed(Path("code.py"), {})
    return LOCK.replace("MD5", now.md5).replace("SIZE", str(now.num_bytes))


def problems(text: str, before: str = "", params=PARAMS) -> list[str]:
    lock = read_lock(text.encode())
    earlier = read_lock(before.encode()) if before else Lock()
    return lock.problems + list(LockChecker(lock=lock, before=earlier, params=params, found={}).problems())


def test_a_lock_that_fits(lock):
    assert problems(lock) == [] and problems(lock, lock) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("echo web", "echo wec", "cmd is not that of dvc.yaml"),
        ("path: code.py", "path: code.pz", "code.py stands in deps here or in dvc.yaml, not in both"),
        ("path: data/web", "path: data/wec", "data/we. stands in outs here or in dvc.yaml"),
        ("seed: 0", "seed: 1", "seed is not what params.yaml says"),
        ("side: 1.5", "side: 1.25", "sources.web is not what params.yaml says"),
        ("side: 1.5", "sidf: 1.5", "sources.web is not what params.yaml says"),
        ("        seed: 0\n", "", "seed is tracked here or in dvc.yaml, not in both"),
        ("size: 8", "size: 9", "code.py is another now"),
        ("crawl@web", "crawl@wec", "dvc.yaml has no such stage"),
        ("crawl@web", "craul@web", "dvc.yaml has no such stage"),
        ("cmd: echo web", "cmd:  echo web", "dvc.lock:4 is not written as DVC writes it"),
        ("cmd: echo", "cme: echo", "it has no cmd"),
        ("hash: md5", "hash: md4", "has no md5"),
        ("abcdef.dir", "abcdeg.dir", "data/web has no md5"),
        ("path: data", "pbth: data", "an entry of outs has no path"),
        ("nfiles: 1", "nfilez: 1", "'nfilez' is not a part of an entry"),
        ("nfiles: 1", "nfiles: a", "the size of data/web is not a number"),
        ("    outs:", "    out:", "'out' is not a part of a stage"),
        ("'2.0'", "'2.1'", "it needs schema '2.0'"),
        ("stages:", "stagez:", "it needs schema '2.0' and a mapping of stages"),
        ("    deps:\n", "    deps: &a\n    - *a\n", "stands inside what it names"),
        ("seed: 0", "seed: .inf", "must be a finite number"),
    ],
)
def test_a_change_is_named(lock, old, new, message):
    changed = lock.replace(old, new, 1)
    assert changed != lock
    found = problems(changed)
    assert found and all(line.startswith("dvc.lock") for line in found)
    assert any(re.search(message, line) for line in found), found


def test_bytes_that_are_no_text():
    assert read_lock(b"schema: \xff").problems[0].startswith("dvc.lock is not UTF-8")
    assert read_lock(b"").problems == ["dvc.lock is not a lock: it needs schema '2.0' and a mapping of stages"]


def test_code_that_was_edited_since_is_no_damage_of_a_committed_lock(lock):
    Path("code.py").write_text("print(1)\n")
    assert any("out of date" in line for line in problems(lock))
    assert problems(lock, lock) == []


def test_what_two_stages_say_alike_holds(lock):
    Path("code.py").write_text("print(1)\n")
    Path("params.yaml").write_text("seed: 0\nsources: {web: {side: 1.5}, other: {side: 1.5}}\n")
    stage = lock.partition("stages:\n")[2]
    both = "schema: '2.0'\nstages:\n" + stage + stage.replace("web", "other")
    params = {"seed": 0, "sources": {"web": {"side": 1.5}, "other": {"side": 1.5}}}
    assert problems(both, params=params) == []


def test_an_instance_that_was_taken_out_of_the_settings_may_stay(lock):
    Path("params.yaml").write_text("seed: 0\nsources: {other: {side: 1.5}}\n")
    assert problems(lock, params={"seed": 0, "sources": {"other": {"side": 1.5}}}) == []


def test_a_stage_that_is_gone_is_missed(lock):
    assert problems("schema: '2.0'\nstages: {}\n", lock)[-1] == "dvc.lock: crawl@web is gone, the last commit has it"


def test_the_last_commit_is_gits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert committed(Path("a")) is None
    subprocess.run(["git", "init", "--quiet"], check=True)
    assert committed(Path("a")) is None
    Path("a").write_text("one")
    subprocess.run(["git", "add", "a"], check=True)
    words = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "x"]
    subprocess.run(words, check=True)
    Path("a").write_text("two")
    assert committed(Path("a")) == b"one"


def test_listed_values_compare_by_all_that_is_known():
    assert Listed("a", 1) != Listed("a", 2) and Listed("a", 1) == Listed("a", 1, None)
