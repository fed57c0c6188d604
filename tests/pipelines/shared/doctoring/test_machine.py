import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.shared.doctoring import machine


def found(check, project):
    return [(finding.code, finding.message) for finding in check(project)]


def test_a_clean_project(write_project):
    project = write_project(git=True)
    for check in (machine.busy_files, machine.leftovers, machine.line_ends, machine.hooks):
        assert found(check, project) == []


@pytest.mark.parametrize(("free", "codes"), [(2 << 30, []), ((1 << 30) - 1, ["D60"]), (0, ["D60"])])
def test_room(write_project, monkeypatch, free, codes):
    project = write_project({".dvc/cache/files/md5/aa/b": "x" * 100})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1 << 40, 0, free))
    assert [code for code, _ in found(machine.room, project)] == codes


def test_room_for_a_large_cache_elsewhere(write_project, monkeypatch):
    project = write_project({".dvc/config": "[cache]\n    dir = ../big\n", "big/x": "x"})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1 << 40, 0, 2 << 30))
    monkeypatch.setattr(machine, "folder_bytes", lambda folder: (3 << 30) if folder.resolve().name == "big" else 0)
    ((code, message),) = found(machine.room, project)
    assert code == "D60" and "holds 3.0 GiB" in message


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("content", "codes"),
    [
        ("{}", []),
        ('{"write": {}, "read": {}}', []),
        ("", ["D61"]),
        ('{"write": {"/a": {"pid": 1', ["D61"]),
        ("[]", ["D61"]),
        ('{"write": {"/a": {"cmd": "x"}}}', ["D61"]),
    ],
)
def test_busy_files(write_project, content, codes):
    assert [code for code, _ in found(machine.busy_files, write_project({".dvc/tmp/rwlock": content}))] == codes


def test_busy_files_of_the_dead_and_the_living(write_project):
    dead, living = ({"pid": pid, "cmd": "dvc repro"} for pid in (dead_process(), os.getpid()))
    project = write_project({".dvc/tmp/rwlock": json.dumps({"write": {"/a": living}, "read": {"/b": [living]}})})
    assert found(machine.busy_files, project) == []
    project = write_project({".dvc/tmp/rwlock": json.dumps({"write": {"/a": living}, "read": {"/b": [living, dead]}})})
    ((code, message),) = found(machine.busy_files, project)
    assert code == "D62" and f"dead processes {dead['pid']};" in message


def test_leftovers(write_project):
    files = {".vignette/scratch/crawl/web/abc/x": "x" * 10, ".vignette/scratch/train/clip/def/y": "y" * 20}
    ((code, message),) = found(machine.leftovers, write_project(files))
    assert code == "D63" and message.startswith("2 instances left 0.00 GiB, the most .vignette/scratch/train/clip;")


@pytest.mark.parametrize(("value", "codes"), [("true", ["D64"]), ("input", []), ("false", [])])
def test_line_ends(write_project, value, codes):
    project = write_project(git=True)
    subprocess.run(["git", "config", "core.autocrlf", value], check=True)
    assert [code for code, _ in found(machine.line_ends, project)] == codes


@pytest.mark.parametrize(
    ("text", "mode", "codes"),
    [
        ("#!/bin/sh\nblack .\n", 0o755, ["D65"]),
        ("#!/bin/sh\nexec dvc git-hook pre-commit\n", 0o755, []),
        ("x", 0o644, []),
    ],
)
def test_hooks(write_project, text, mode, codes):
    project = write_project(git=True)
    hook = Path(".git/hooks/pre-commit")
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(text)
    hook.chmod(mode)
    assert [code for code, _ in found(machine.hooks, project)] == codes


def test_formatters_of_pre_commit(write_project):
    config = "repos:\n  - repo: x\n    hooks:\n      - id: end-of-file-fixer\n"
    ((code, message),) = found(machine.hooks, write_project({".pre-commit-config.yaml": config}, git=True))
    assert code == "D65" and "end-of-file-fixer" in message


def test_outside_git(write_project):
    assert found(machine.line_ends, write_project()) == found(machine.hooks, write_project()) == []
