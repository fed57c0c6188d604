"""Folders on S3: what other libraries read there, in which order it came, and what an interruption leaves."""

from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow.parquet
import pytest
from webdataset.tariterators import group_by_keys, tar_file_expander

from pipelines.shared.exporting import Exported, export
from pipelines.shared.manifests import MANIFEST, read_manifest
from pipelines.shared.storage import RemoteFolder
from tests.pipelines.builders import captions, drawing, picture_item, write_crawl
from tests.pipelines.crawl_site import digests

FOLDER = Path("data/crawl/web")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A crawl of three shards."""
    monkeypatch.chdir(tmp_path)
    write_crawl("web", [picture_item(f"p{i}", drawing(i), captions(f"text {i}")) for i in range(7)], 3)
    (FOLDER / ".x.tar.tmp").touch()
    return FOLDER


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is uploaded, and of what is removed behind a minus, in order."""
    names: list[str] = []
    upload, remove = RemoteFolder.upload, RemoteFolder.remove
    monkeypatch.setattr(RemoteFolder, "upload", lambda self, path, name: (names.append(name), upload(self, path, name)))
    monkeypatch.setattr(RemoteFolder, "remove", lambda self, name: (names.append(f"-{name}"), remove(self, name)))
    return names


def files() -> dict[str, str]:
    return {name: digest for name, digest in digests(FOLDER).items() if not name.startswith(".")}


def test_others_read_it_there(s3: str) -> None:
    done = export(FOLDER, f"{s3}/crawl/web")
    remote, manifest = RemoteFolder(f"{s3}/crawl/web"), read_manifest(FOLDER)
    num_bytes = sum((FOLDER / name).stat().st_size for name in files())
    assert done == Exported(num_sent=len(files()), num_kept=0, num_bytes=num_bytes)
    assert {name: remote.digest(name) for name in remote.listed()} == files()
    rows = [
        row
        for info in manifest.layers
        for row in pyarrow.parquet.read_table(remote.place(info.name), filesystem=fsspec.filesystem("s3")).to_pylist()
    ]
    assert sorted(row["captions"][0]["text"] for row in rows) == [f"text {i}" for i in range(7)]
    streams = [{"url": info.name, "stream": fsspec.open(remote.place(info.name)).open()} for info in manifest.shards]
    samples = list(group_by_keys(tar_file_expander(streams)))
    assert sorted(sample["txt"].decode() for sample in samples) == [f"text {i}" for i in range(7)]
    assert {sample["__key__"] for sample in samples} == {row["key"] for row in rows}


def test_what_is_there_is_not_sent_again(s3: str, sent: list[str]) -> None:
    export(FOLDER, s3)
    assert sorted(sent) == sorted(files()) and sent[-1] == MANIFEST
    sent.clear()
    assert export(FOLDER, f"{s3}/").num_kept == len(files()) and sent == []


@pytest.mark.parametrize("change", [lambda content: content[:-1] + b"?", lambda content: content[:-1]])
def test_a_damaged_object_is_sent_again(s3: str, sent: list[str], change: Callable[[bytes], bytes]) -> None:
    """Also one of equal size."""
    export(FOLDER, s3)
    name = read_manifest(FOLDER).shards[1].name
    Path("damaged").write_bytes(change((FOLDER / name).read_bytes()))
    RemoteFolder(s3).upload(Path("damaged"), name)
    sent.clear()
    assert export(FOLDER, s3).num_sent == 1
    assert sent == [name] and RemoteFolder(s3).digest(name) == files()[name]


def test_an_interrupted_export_goes_on(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = read_manifest(FOLDER).shards[-1].name
    upload = RemoteFolder.upload

    def breaks(self: RemoteFolder, path: Path, name: str) -> None:
        if name == lost:
            raise ValueError("connection lost")
        upload(self, path, name)

    with monkeypatch.context() as patch:
        patch.setattr(RemoteFolder, "upload", breaks)
        with pytest.raises(ValueError, match="connection lost"):
            export(FOLDER, s3)
    there = set(RemoteFolder(s3).listed())
    assert MANIFEST not in there and lost not in there
    done = export(FOLDER, s3)
    assert done.num_kept == len(there) and done.num_sent == len(files()) - len(there)
    assert {name: RemoteFolder(s3).digest(name) for name in files()} == files()


def test_an_old_manifest_goes_before_its_files_change(s3: str, sent: list[str]) -> None:
    export(FOLDER, s3)
    before = read_manifest(FOLDER)
    for path in FOLDER.iterdir():
        path.unlink()
    write_crawl("web", [picture_item(f"p{i}", drawing(i + 50), captions(f"new {i}")) for i in range(7)], 3)
    sent.clear()
    export(FOLDER, s3)
    assert sent[0] == f"-{MANIFEST}" and sent[-1] == MANIFEST
    assert {info.name for info in before.files()} & set(sent[1:-1]), "files of the same name have changed"


def test_manifests_of_folders_in_it(s3: str, sent: list[str]) -> None:
    """All of `data/crawl`; the deepest entry points first."""
    (FOLDER.parent / "index.html").write_text("x")
    export(FOLDER.parent, s3)
    assert sent[-2:] == [f"web/{MANIFEST}", "index.html"]


def test_what_comes_back_is_compared(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = read_manifest(FOLDER).shards[0].name
    upload = RemoteFolder.upload

    def garbles(self: RemoteFolder, path: Path, into: str) -> None:
        Path("garbled").write_bytes(path.read_bytes()[::-1])
        upload(self, Path("garbled") if into == name else path, into)

    monkeypatch.setattr(RemoteFolder, "upload", garbles)
    with pytest.raises(ValueError, match=rf"{s3}/{name} has sha256 .* after it was sent, expected {files()[name]}"):
        export(FOLDER, s3)
    assert MANIFEST not in RemoteFolder(s3).listed()


@pytest.mark.parametrize("content", [b"other", None])
def test_a_folder_that_is_not_as_its_manifest_says(s3: str, sent: list[str], content: bytes | None) -> None:
    path = FOLDER / read_manifest(FOLDER).layers[0].name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} is not the file that {FOLDER / MANIFEST} lists"):
        export(FOLDER, s3)
    assert sent == []


def test_nothing_to_export(s3: str) -> None:
    with pytest.raises(ValueError, match="none is not a folder with files"):
        export(Path("none"), s3)
    with pytest.raises(ValueError, match="must be a URL such as"):
        export(FOLDER, "elsewhere")
