"""Manifests and the account of every input."""

import dataclasses
from pathlib import Path

import pytest

from pipelines.shared.documents import json_text
from pipelines.shared.files import digest_json
from pipelines.shared.manifests import (
    MANIFEST,
    SCHEMA_VERSION,
    Counts,
    Manifest,
    manifest_digest,
    read_manifest,
    total,
    write_manifest,
)
from pipelines.shared.shards import FileInfo

INFO = FileInfo(name="00000.tar", num_samples=3, num_bytes=10, sha256="0" * 64)
COUNTS = Counts(num_in=6, kept=3, rejected={"no_caption": 1}, failed={"http_404": 1, "empty": 1})
VALUE = Manifest(
    stage="crawl",
    instance="toys",
    settings_digest="1" * 64,
    counts=COUNTS,
    inputs={"crawl/a": "2" * 64},
    shards=(INFO,),
    layers=(dataclasses.replace(INFO, name="train/00000.parquet"),),
    details={"num_samples": 3, "nested": {"a": [1]}},
)


def test_there_and_back(tmp_path: Path) -> None:
    digest = write_manifest(tmp_path, VALUE)
    assert read_manifest(tmp_path) == VALUE and manifest_digest(tmp_path) == digest
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


def test_bytes_depend_on_content_alone(tmp_path: Path) -> None:
    turned = dataclasses.replace(VALUE, counts=dataclasses.replace(COUNTS, failed={"empty": 1, "http_404": 1}))
    assert write_manifest(tmp_path, VALUE) == write_manifest(tmp_path / "b", turned)


def test_files_by_prefix() -> None:
    assert [info.name for info in VALUE.files()] == ["00000.tar", "train/00000.parquet"]
    assert [info.name for info in VALUE.files("train/")] == ["train/00000.parquet"]


def test_conservation() -> None:
    with pytest.raises(AssertionError, match="conservation broken: 7 in, 6 accounted for"):
        dataclasses.replace(COUNTS, num_in=7)
    with pytest.raises(AssertionError, match="is not a reason code"):
        Counts(num_in=1, kept=0, failed={"Not Found": 1})


def test_total() -> None:
    assert total([]) == Counts(num_in=0, kept=0)
    assert total([COUNTS, COUNTS]) == Counts(
        num_in=12, kept=6, rejected={"no_caption": 2}, failed={"http_404": 2, "empty": 2}
    )


@pytest.mark.parametrize(("most", "fails"), [(0.0, True), (0.3, True), (1 / 3, False), (1.0, False)])
def test_failures(most: float, fails: bool) -> None:
    if fails:
        with pytest.raises(
            ValueError, match=r"here: 2 of 6 failed, more than max_failed_frac = .*: empty 1, http_404 1"
        ):
            COUNTS.check_failures(most, "here")
    else:
        COUNTS.check_failures(most, "here")
    Counts(num_in=0, kept=0).check_failures(0.0, "here")


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is missing: the stage that writes .* has not run"):
        read_manifest(tmp_path)


def changed(**changes: object) -> str:
    """A manifest that fits its own digest."""
    document: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "stage": "s",
        "instance": "i",
        "settings_digest": "d",
        "inputs": {},
        "counts": COUNTS.as_dict(),
        "shards": [],
        "layers": [],
        "details": {},
    }
    values = {name: value for name, value in (document | changes).items() if value is not None}
    return json_text({**values, "sha256": digest_json(values)}).decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a manifest: Expecting value"),
        ("{", "is not a manifest: Expecting property"),
        ("[]", "is not a manifest: it must be a mapping, got list"),
        ("{}", "is damaged: it is not written as"),
        ("{}\n", "does not hold its own sha256"),
        ("{\xff", "is not a manifest: "),
        (changed(schema_version=99), "has schema version 99, this program reads 2: run the stage again"),
        (changed(schema_version=1), "has schema version 1, this program reads 2: run the stage again"),
        (changed().replace('"stage": "s"', '"stage": "t"'), "does not have the sha256 that it holds"),
        (changed().replace('"stage"', ' "stage"'), "is not written as this program writes it"),
        (changed(stage=None), "is not a manifest: KeyError: 'stage'"),
        (changed(shards=[{"nam": "x"}]), "is not a manifest: TypeError"),
        (changed(counts={"in": 1}), "is not a manifest: KeyError"),
        (changed(counts=COUNTS.as_dict() | {"in": 7}), "is not a manifest: AssertionError: conservation broken"),
        (changed(counts=COUNTS.as_dict() | {"rejected": 3}), "is not a manifest: AttributeError"),
    ],
)
def test_damaged(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=rf"manifest\.json.* {message}|manifest\.json {message}"):
        read_manifest(tmp_path)


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    write_manifest(tmp_path, VALUE)
    path = tmp_path / MANIFEST
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"manifest\.json"):
            read_manifest(tmp_path)


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80, 0xFF])
def test_every_flip_is_noticed(tmp_path: Path, mask: int) -> None:
    write_manifest(tmp_path, VALUE)
    path = tmp_path / MANIFEST
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r"manifest\.json"):
            read_manifest(tmp_path)
