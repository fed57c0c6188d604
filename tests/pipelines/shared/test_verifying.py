import functools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from pipelines.shared import lock_checks, verifying
from pipelines.shared.doctoring.project import Project
from pipelines.shared.documents import write_sealed
from pipelines.shared.dvc_lock import LOCK
from pipelines.shared.files import canonical_json, digest_file, write_json
from pipelines.shared.manifests import Counts, Manifest, manifest_digest, read_manifest, write_manifest
from pipelines.shared.params import load_params
from pipelines.shared.shards import describe
from pipelines.shared.verifying import verify
from tests.pipelines.small_build import commit, write_build

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


CACHE_ROOT = Path(".dvc/cache")


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A build with a file of every kind; not committed yet."""
    home, folder = Path.cwd(), tmp_path_factory.mktemp("build") / "project"
    folder.mkdir()
    os.chdir(folder)
    try:
        write_build()
    finally:
        os.chdir(home)
    return folder


@pytest.fixture
def here(build, tmp_path, monkeypatch):
    """A copy of the build as the working directory; what does not change while files are damaged is read once."""
    monkeypatch.chdir(shutil.copytree(build, tmp_path / "copy"))
    monkeypatch.setattr(verifying, "read_lock", functools.cache(verifying.read_lock))
    resolved = Project(Path()).stages
    monkeypatch.setattr(lock_checks, "Project", lambda root: SimpleNamespace(stages=resolved))
    return load_params()


def kinds() -> list[Path]:
    """One file of each kind that is published, and of DVC's caches."""
    found: dict[tuple[str, ...], Path] = {}
    for root in ("data", "runs", "scores", "timings", "reports"):
        for path in sorted(Path(root).rglob("*")):
            if path.is_file():
                found.setdefault((root, path.parts[1] if root == "data" else "", path.name), path)
    for path in sorted(path for path in CACHE_ROOT.rglob("*") if path.is_file()):
        found.setdefault((str(CACHE_ROOT), "runs" if "runs" in path.parts else "", path.suffix), path)
    return list(found.values())


def damages(whole: bytes, number: int) -> list[bytes | None]:
    """Flips at regular places, cuts at several lengths, and none for a file that is gone."""
    places = [len(whole) * part // number for part in range(number)]
    masks = (1, 128, 2, 32, 4, 64, 8, 16, 255)
    flips: list[bytes | None] = [
        whole[:at] + bytes([whole[at] ^ masks[index % len(masks)]]) + whole[at + 1 :] for index, at in enumerate(places)
    ]
    cuts = [whole[:-1], whole[: whole.rfind(b"\n", 0, -1) + 1], whole[: len(whole) // 2]]
    return [*flips, *(cuts if number > 2 else cuts[:2]), b"", None]


def missed(params, paths: list[Path], number: int) -> list[str]:
    """What was damaged without being named; the rest of the project is compared nevertheless."""
    found = []
    num_checks = len(verify(params, bar))
    for path in paths:
        whole, mode = path.read_bytes(), path.stat().st_mode
        for index, content in enumerate(damages(whole, number)):
            if content is None and path.is_relative_to(CACHE_ROOT):
                continue  # an object that is not in the cache is fetched, not wrong
            path.unlink()
            if content is not None:
                path.write_bytes(content)
            checks = verify(params, bar)
            if not any(str(path) in problem for check in checks for problem in check.problems):
                found.append(f"{path} {index}")
            assert path == LOCK or len(checks) >= num_checks - 1, "the rest is compared nevertheless"
            assert all(problem.isprintable() for check in checks for problem in check.problems)
            path.unlink(missing_ok=True)
            path.write_bytes(whole)
            path.chmod(mode)
    assert problems(params) == []
    return found


def test_an_undamaged_build_has_no_problem(here):
    assert problems(here) == []
    commit()
    assert problems(here) == []
    Path("reports/bench").mkdir()
    Path("reports/bench/x.json").write_text("{}")
    Path(".dvcignore").write_text("# beside the report\n/reports/bench\n")
    assert problems(here) == [], "what DVC ignores beside a stage's output is none of it"


def test_damage_of_every_kind_of_file_is_named(here):
    commit()
    assert missed(here, kinds(), 2) == []


def test_damage_of_the_lock_is_named_without_a_commit(here):
    assert missed(here, [LOCK], 25) == []


def test_damage_of_the_lock_is_named_after_a_commit(here):
    commit()
    assert missed(here, [LOCK], 6) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("is_committed", [False, True])
def test_damage_of_every_kind_at_many_places(here, is_committed):
    if is_committed:
        commit()
    assert missed(here, [*kinds(), LOCK], 150) == []


def test_several_damages_are_all_named(here):
    paths = [path for path in kinds() if not path.is_relative_to(CACHE_ROOT)]
    for path in paths:
        path.chmod(0o644)
        path.write_bytes(b"\xff\x00" + path.read_bytes()[2:])
    found = problems(here)
    assert [path for path in paths if not any(str(path) in problem for problem in found)] == []


def test_a_damaged_listing_in_the_cache_ends_nothing(here):
    listing = next(path for path in sorted(CACHE_ROOT.rglob("*.dir")))
    listing.chmod(0o644)
    listing.write_bytes(b'[{"md5": "x"')
    Path("data/crawl/web/00000.tar").unlink()
    found = problems(here)
    assert f"{listing} is damaged: remove it, then `dvc commit` or `dvc fetch`" in found
    assert "data/crawl/web/00000.tar is missing" in found


def test_a_score_that_another_program_wrote_is_named(here):
    write_json(Path("scores/tiny.json"), {**json.loads(Path("scores/tiny.json").read_text()), "model": "other"})
    assert "scores/tiny.json differs from data/evaluate/tiny/manifest.json" in problems(here)


def test_lines_of_the_history_that_were_taken_out_are_noticed(here):
    commit()
    Path("scores/records.jsonl").write_text("")
    assert any("scores/records.jsonl lacks lines of the last commit" in problem for problem in problems(here))


def test_a_manifest_of_an_earlier_version_is_refused_with_what_to_do(here):
    path = Path("data/crawl/web/manifest.json")
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 1'))
    assert any("has schema version 1, this program reads 2: run the stage again" in each for each in problems(here))
