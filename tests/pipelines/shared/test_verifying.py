import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.shared.documents import write_sealed
from pipelines.shared.dvc_files import folder_md5, hash_file
from pipelines.shared.files import canonical_json, digest_file, write_json
from pipelines.shared.manifests import Counts, Manifest, manifest_digest, read_manifest, write_manifest
from pipelines.shared.shards import describe
from pipelines.shared.verifying import verify

PARAMS = {"sources": {"web": {}}, "models": {"tiny": {}}, "packs": {"p": {}}}


def bar(done: int, total: int) -> None:
    assert 0 <= done <= total


def problems(params=PARAMS):
    return [problem for check in verify(params, bar) for problem in check.problems]


def publish(folder: Path, stage: str, inputs=None) -> None:
    folder.mkdir(parents=True)
    (folder / "00000.tar").write_bytes(b"some bytes")
    manifest = Manifest(
        stage=stage,
        instance=folder.name,
        settings_digest="0" * 64,
        counts=Counts(num_in=1, kept=1),
        inputs=inputs or {},
        shards=(describe(folder / "00000.tar", folder, 1),),
    )
    write_manifest(folder, manifest)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A crawl, an annotation made from it, a pack, and a run trained on the pack."""
    monkeypatch.chdir(tmp_path)
    publish(Path("data/crawl/web"), "crawl")
    publish(Path("data/annotate/web"), "annotate", {"crawl/web": manifest_digest(Path("data/crawl/web"))})
    publish(Path("data/pack/p"), "pack")
    document = {
        "format_version": 1,
        "key": "tiny",
        "pack": {"key": "p", "manifest_sha256": manifest_digest(Path("data/pack/p"))},
        "base": {},
    }
    run = Path("runs/tiny")
    run.mkdir(parents=True)
    save_file({"w": torch.zeros(2)}, run / "model.safetensors", metadata={"vignette": canonical_json(document)})
    write_json(run / "config.json", {**document, "model_sha256": digest_file(run / "model.safetensors")})
    return tmp_path


def test_all_is_well(project):
    checks = verify(PARAMS, bar)
    assert [check.name for check in checks] == [
        "data/crawl/web",
        "data/annotate/web",
        "data/pack/p",
        "runs/tiny",
        ".dvc/cache/files/md5",
    ]
    assert problems() == []


def test_a_rounds_audit_is_not_listed_in_its_manifest_and_holds_its_own_digest(project):
    audit = Path("data/crawl/web/audit.json")
    write_sealed(audit, {"planted": {}})
    assert problems() == []
    audit.write_text("{}")
    assert problems() == ["data/crawl/web/audit.json is damaged: it is not written as this program writes it"]


def test_what_was_not_built_is_no_problem(project):
    assert problems({**PARAMS, "filters": {"base": {}}, "evaluations": {"x": {}}}) == []


@pytest.mark.parametrize(
    "change,expected",
    [
        (lambda: Path("data/crawl/web/00000.tar").write_bytes(b"some bytez"), "data/crawl/web/00000.tar differs from"),
        (lambda: Path("data/crawl/web/00000.tar").unlink(), "data/crawl/web/00000.tar is missing"),
        (lambda: Path("data/crawl/web/00001.tar").touch(), "data/crawl/web/00001.tar is not listed"),
        (lambda: Path("data/crawl/web/manifest.json").unlink(), "data/crawl/web/manifest.json is missing"),
        (lambda: Path("data/crawl/web/manifest.json").write_text("{"), "is not a manifest"),
        (lambda: Path("runs/tiny/model.safetensors").write_bytes(b"x" * 99), "differs from the sha256 in config.json"),
        (lambda: Path("runs/tiny/model.safetensors").unlink(), "runs/tiny/model.safetensors is missing"),
        (lambda: Path("runs/tiny/config.json").unlink(), "runs/tiny/config.json is missing"),
    ],
)
def test_a_change_is_named(project, change, expected):
    change()
    assert any(expected in problem for problem in problems())


def make_again(folder: str) -> None:
    """The same files by a stage with other settings."""
    write_manifest(Path(folder), replace(read_manifest(Path(folder)), settings_digest="1" * 64))


def test_a_changed_upstream_is_named(project):
    make_again("data/crawl/web")
    assert problems() == ["data/crawl/web/manifest.json is not the one that annotate/web was made from"]


def test_a_changed_config_is_named(project):
    document = json.loads(Path("runs/tiny/config.json").read_text())
    write_json(Path("runs/tiny/config.json"), {**document, "key": "other"})
    assert problems() == ["runs/tiny/config.json differs from what stands inside model.safetensors"]


def test_a_pack_that_was_made_again_is_named(project):
    make_again("data/pack/p")
    assert problems() == ["data/pack/p/manifest.json is not the one that tiny was trained from"]


def test_both_digests_in_one_reading(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 10**6)
    found = hash_file(tmp_path / "a")
    assert found.sha256 == hashlib.sha256(b"abc" * 10**6).hexdigest()
    assert found.md5 == hashlib.md5(b"abc" * 10**6).hexdigest()
    assert found.num_bytes == 3 * 10**6


@pytest.fixture
def dvc_project(project):
    """The same under DVC, whose own lock file and cache are compared with."""
    dvc = Path(sys.executable).with_name("dvc")
    Path("dvc.yaml").write_text(
        "stages:\n  crawl:\n    foreach: [web]\n    do:\n      cmd: 'true'\n      outs: ['data/crawl/${item}']\n"
        "  note:\n    cmd: 'true'\n    outs: [{note.txt: {cache: false}}]\n"
    )
    Path("note.txt").write_text("a note")
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    subprocess.run([dvc, "commit", "--force", "--quiet"], check=True, timeout=300)
    return project


def test_dvc_is_compared(dvc_project):
    assert problems() == []
    names = {check.name: check.num_files for check in verify(PARAMS, bar)}
    assert names["dvc.lock: data/crawl/web"] == 2 and names["dvc.lock: note.txt"] == 1
    assert names[".dvc/cache/files/md5"] == 3

    Path("note.txt").write_text("another")
    shard = Path("data/crawl/web/00000.tar")
    shard.unlink()
    shard.write_bytes(b"some bytez")
    found = problems()
    assert "note.txt differs from dvc.lock" in found
    assert "data/crawl/web/00000.tar differs from dvc.lock" in found
    assert not any("cache" in problem for problem in found)

    cached = next(path for path in Path(".dvc/cache/files/md5").rglob("*") if path.is_file() and path.suffix != ".dir")
    cached.chmod(0o644)
    cached.write_bytes(b"rotten")
    assert any(f"{cached} is damaged" in problem for problem in problems())

    assert not any("dvc.lock" in p and "crawl" in p for p in problems({"models": {"tiny": {}}}))


def test_a_folders_digest_does_not_depend_on_the_order_of_names():
    assert folder_md5({"b": "1", "a": "2"}) == folder_md5({"a": "2", "b": "1"})
