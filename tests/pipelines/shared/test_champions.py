import json
from pathlib import Path

import pytest

from pipelines.shared.champions import (
    HELD_OUT,
    TRAINED_ON,
    Champion,
    dvc_file,
    read_champion,
    require_whole,
    utc_day,
    write_champion,
)
from pipelines.shared.evaluation.split import HeldOut
from pipelines.shared.manifests import manifest_digest, read_manifest
from tests.pipelines.shared.evaluation.fakes import SHADES, write_pack, write_split
from tests.pipelines.shared.gate_world import PACK, init_repository, tree, write_run
from tests.pipelines.small_job import command

FOLDER = Path("champions/towers")
FACTS = {"gate": "towers", "version": "v0.1.0"}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_pack(PACK)
    write_run("base", "base")
    write_run("towers", "good", base="base")
    return tmp_path


def written(frozen: Champion | None = None, folder: Path = FOLDER) -> Champion:
    return write_champion(folder, "towers", PACK, frozen, FACTS)


def test_what_was_written_is_read() -> None:
    champion, read = written(), read_champion("towers")
    assert read == champion and (read.version, read.run) == ("v0.1.0", "towers")
    assert sorted(path.name for path in read.runs.iterdir()) == ["base", "towers"]
    assert read.samples(TRAINED_ON).num_rows == read.samples(HELD_OUT).num_rows == len(SHADES)
    assert set(read.samples(HELD_OUT)["key"].to_pylist()).isdisjoint(read.samples(TRAINED_ON)["key"].to_pylist())
    read.check()


def test_the_frozen_test_set_is_the_split_of_the_pack() -> None:
    champion = written()
    frozen, split = HeldOut.load(champion.test, ("human",)), HeldOut.load(PACK, ("human",))
    assert frozen.sha256 == split.sha256 and frozen.samples == split.samples
    assert [info.name for info in read_manifest(champion.test).shards] == ["test/00000.tar"]
    about = champion.document["test"]
    assert about["pack_sha256"] == manifest_digest(PACK) and about["num_samples"] == len(SHADES)


def test_a_later_champion_keeps_it_whatever_becomes_of_the_pack(tmp_path: Path) -> None:
    first = written()
    before = HeldOut.load(first.test, ("human",)).sha256
    write_split(PACK, "test", [5, 6], 500)
    second = written(first, tmp_path / "second")
    assert HeldOut.load(second.test, ("human",)).sha256 == before
    assert second.document["test"] == first.document["test"]
    assert second.samples(HELD_OUT).equals(first.samples(HELD_OUT))


def test_equal_inputs_give_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(folder=Path("one"))
    written(folder=Path("two"))
    monkeypatch.chdir("one")
    one = tree(Path())
    monkeypatch.chdir("../two")
    assert tree(Path()) == one


def test_there_never_was_one() -> None:
    assert read_champion("towers") is None


def test_one_that_is_not_on_this_machine() -> None:
    dvc_file("towers").parent.mkdir()
    dvc_file("towers").write_text("outs: []\n")
    with pytest.raises(ValueError, match=r"champion\.json is missing: `dvc checkout champions/towers\.dvc` brings it"):
        read_champion("towers")
    FOLDER.mkdir()
    with pytest.raises(ValueError, match=r"champion\.json is missing"):
        read_champion("towers")


@pytest.mark.parametrize(
    ("content", "message"), [("{", "is not a champion's"), ('{"format_version": 9}', "has format version 9")]
)
def test_one_that_cannot_be_read(content: str, message: str) -> None:
    written()
    (FOLDER / "champion.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_champion("towers")


@pytest.mark.parametrize(
    "name",
    ["runs/towers/model.safetensors", "runs/base/model.safetensors", "test/manifest.json", "test/test/00000.tar"],
)
def test_a_damaged_file_is_found(name: str) -> None:
    champion = written()
    path = FOLDER / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"the champion is damaged, `dvc checkout` brings it back: champions/towers"):
        champion.check()
    path.unlink()
    with pytest.raises(ValueError, match="the champion is damaged"):
        champion.check()


def test_whether_champions_are_those_of_git(project: Path) -> None:
    init_repository(project)
    require_whole(["towers"])
    written()
    with pytest.raises(ValueError, match=r"champions/towers\.dvc is missing: repeat an interrupted `vignette promote"):
        require_whole(["towers"])
    command(project, "dvc", "add", "--quiet", str(FOLDER))
    require_whole(["towers", "another"])
    document = json.loads((FOLDER / "champion.json").read_text())
    (FOLDER / "champion.json").write_text(json.dumps(document | {"version": "v9.0.0"}))
    with pytest.raises(ValueError, match=r"champions/towers is not what champions/towers\.dvc names"):
        require_whole(["towers"])


def test_a_day() -> None:
    assert len(utc_day()) == len("2026-01-31") and utc_day().count("-") == 2
