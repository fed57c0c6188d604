"""Local copies of objects: used while they are whole and the object is the same, made again else."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from pipelines.shared import inputs
from pipelines.shared.inputs import bring_file, bring_folder, local_file, local_folder
from pipelines.shared.storage import RemoteFolder


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Bucket:
    """A folder of objects, and the names of those that were downloaded."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = RemoteFolder(url)
        self.downloads: list[str] = []
        download = RemoteFolder.download

        def noted(folder: RemoteFolder, name: str, target: Path) -> None:
            self.downloads.append(name)
            download(folder, name, target)

        monkeypatch.setattr(RemoteFolder, "download", noted)

    def put(self, name: str, content: bytes) -> None:
        Path("source").write_bytes(content)
        self.folder.upload(Path("source"), name)

    def downloaded(self) -> list[str]:
        """Names since the last call."""
        names, self.downloads[:] = sorted(self.downloads), []
        return names


@pytest.fixture(params=["s3", "file", "memory"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    urls = {"file": f"file://{tmp_path}/in", "memory": "memory://in"}
    yield Bucket(urls.get(request.param) or f"{request.getfixturevalue('s3')}/in", monkeypatch)
    fsspec.filesystem("memory").store.clear()


def test_paths_are_left_alone() -> None:
    assert (local_file("a/list.csv"), local_folder("a/site")) == (Path("a/list.csv"), Path("a/site"))


def test_a_file_is_fetched_once(bucket: Bucket) -> None:
    url = bucket.folder.place("some/list.csv")
    bucket.put("some/list.csv", b"one")
    assert bring_file(url) == sha256(b"one") and bucket.downloaded() == ["list.csv"]
    assert local_file(url).name == "list.csv" and local_file(url).read_bytes() == b"one"
    assert bring_file(url) == sha256(b"one") and bucket.downloaded() == []


def test_an_object_that_changed_is_fetched_again(bucket: Bucket) -> None:
    url = bucket.folder.place("list.csv")
    bucket.put("list.csv", b"one")
    bring_file(url)
    bucket.put("list.csv", b"two")
    assert bring_file(url) == sha256(b"two") and local_file(url).read_bytes() == b"two"


@pytest.mark.parametrize("content", [b"onf", b"", None])
def test_a_damaged_copy_is_made_again(bucket: Bucket, content: bytes | None) -> None:
    url = bucket.folder.place("list.csv")
    bucket.put("list.csv", b"one")
    bring_file(url)
    local_file(url).unlink()
    if content is not None:
        local_file(url).write_bytes(content)
    assert bring_file(url) == sha256(b"one") and local_file(url).read_bytes() == b"one"


def test_a_folder_becomes_what_it_is_there(bucket: Bucket) -> None:
    url = bucket.folder.place("site")
    for name in ("a.tar", "deep/b.tar", "old/c.tar"):
        bucket.put(f"site/{name}", name.encode())
    bucket.put("site2/other.tar", b"x")
    names = ("a.tar", "deep/b.tar", "old/c.tar")
    assert bring_folder(url) == {name: sha256(name.encode()) for name in names}
    assert bucket.downloaded() == list(names)
    bucket.folder.remove("site/old/c.tar")
    bucket.put("site/deep/b.tar", b"another")
    bucket.put("site/new.tar", b"new")
    expected = {"a.tar": b"a.tar", "deep/b.tar": b"another", "new.tar": b"new"}
    assert bring_folder(url) == {name: sha256(content) for name, content in expected.items()}
    assert bucket.downloaded() == ["deep/b.tar", "new.tar"]
    home = local_folder(url)
    assert {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()} == set(expected)


def test_stages_side_by_side_do_not_disturb_each_other(bucket: Bucket) -> None:
    """Each removes what does not belong there, such as the unfinished files of the other one."""
    for number in range(20):
        bucket.put(f"site/{number:02d}.tar", bytes([number]) * 1000)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: bring_folder(bucket.folder.place("site")), range(4)))
    assert made == [made[0]] * 4 and len(made[0]) == 20
    assert bucket.downloaded() == [f"{number:02d}.tar" for number in range(20)], "each once"


def test_an_object_without_a_version_is_always_fetched(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "VERSION_FACTS", ())
    bucket.put("list.csv", b"one")
    for _ in range(2):
        assert bring_file(bucket.folder.place("list.csv")) == sha256(b"one")
        assert bucket.downloaded() == ["list.csv"]


def test_nothing_there(bucket: Bucket) -> None:
    with pytest.raises(ValueError, match=r"in/none.csv does not exist"):
        bring_file(bucket.folder.place("none.csv"))
    with pytest.raises(ValueError, match=r"in/none is not a folder with objects"):
        bring_folder(bucket.folder.place("none"))


@pytest.mark.parametrize("name", ["../out.tar", "a/../../out.tar", "a//b.tar", "./a.tar"])
def test_names_that_lead_elsewhere(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of an object store are any text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RemoteFolder, "listed", lambda self: {name: {"size": 1}})
    with pytest.raises(ValueError, match="has an object whose name is none for a file"):
        bring_folder("s3://bucket/x")
    assert list(tmp_path.iterdir()) == []
