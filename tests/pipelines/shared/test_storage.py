"""The same few operations on S3, on a folder, and in memory; and what is said when one fails."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from pipelines.shared import storage
from pipelines.shared.storage import MissingError, RemoteFolder, is_url, split_url


@pytest.fixture(params=["s3", "file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RemoteFolder]:
    if request.param == "s3":
        yield RemoteFolder(f"{request.getfixturevalue('s3')}/some/where")
    elif request.param == "file":
        yield RemoteFolder(f"file://{tmp_path}/some/where")
    else:
        yield RemoteFolder("memory://some/where")
        fsspec.filesystem("memory").store.clear()


def test_what_is_put_is_there(folder: RemoteFolder, tmp_path: Path) -> None:
    contents = {"a.txt": b"first", "deep/er/b.bin": bytes(range(256)) * 1000, "deep/empty": b"", "deeper": b"no child"}
    for name, content in contents.items():
        (tmp_path / "source").write_bytes(content)
        folder.upload(tmp_path / "source", name)
    assert {name: facts["size"] for name, facts in folder.listed().items()} == {
        name: len(content) for name, content in contents.items()
    }
    assert list(folder.listed("deep")) == ["deep/empty", "deep/er/b.bin"]
    for name, content in contents.items():
        folder.download(name, tmp_path / "back" / name)
        assert (tmp_path / "back" / name).read_bytes() == content == folder.read(name)
        assert folder.num_bytes(name) == len(content)
        assert folder.digest(name) == hashlib.sha256(content).hexdigest()
    (tmp_path / "source").write_bytes(b"second")
    folder.upload(tmp_path / "source", "a.txt")
    assert folder.read("a.txt") == b"second" and folder.num_bytes("a.txt") == 6
    folder.remove("deep")
    assert list(folder.listed()) == ["a.txt", "deeper"]
    folder.remove("deep")
    folder.remove("a.txt")
    assert list(folder.listed()) == ["deeper"] and folder.listed("deep") == {}


def test_a_missing_object(folder: RemoteFolder, tmp_path: Path) -> None:
    assert folder.num_bytes("none.txt") is None and folder.listed("none") == {}
    for call in (folder.read, folder.digest, folder.facts):
        with pytest.raises(MissingError, match=r"://.*some/where/none.txt does not exist$"):
            call("none.txt")
    with pytest.raises(MissingError, match="does not exist"):
        folder.download("none.txt", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_many_parts(s3: str, tmp_path: Path) -> None:
    """A file that S3 takes and gives in several parts."""
    content = hashlib.shake_256(b"long").digest(13 << 20)
    (tmp_path / "source").write_bytes(content)
    folder = RemoteFolder(s3)
    files, path = storage._file_system(s3)
    files.put_file(str(tmp_path / "source"), f"{path}/parts", chunksize=5 << 20)
    folder.upload(tmp_path / "source", "whole")
    folder.download("parts", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    assert folder.digest("parts") == folder.digest("whole") == hashlib.sha256(content).hexdigest()


def test_which_settings_are_urls() -> None:
    assert all(map(is_url, ("s3://bucket/x", "memory://", "gs://b", "hdfs://host:9000/x")))
    assert not any(map(is_url, ("data/x.csv", "/abs/x", "c:/x", "x", "a::s3://bucket/x", "")))
    assert split_url("s3://bucket/a/b.csv") == ("s3://bucket/a", "b.csv")
    assert split_url("memory://b.csv") == ("memory://", "b.csv")


def test_mistakes(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="must be a URL such as"):
        RemoteFolder("data/x")
    with pytest.raises(ValueError, match="must not hold a password") as error:
        RemoteFolder("s3://name:secret@bucket/x")
    assert "secret" not in str(error.value)
    assert RemoteFolder("hdfs://name@host:9000/a:b@c").url
    with pytest.raises(ValueError, match="Protocol not known: nowhere"):
        RemoteFolder("nowhere://x").listed()
    with pytest.raises(MissingError, match=r"s3://no-such-bucket-here/x does not exist"):
        RemoteFolder("s3://no-such-bucket-here").read("x")
    (tmp_path / "x").touch()
    with pytest.raises(MissingError, match=r"s3://no-such-bucket-here/x does not exist"):
        RemoteFolder("s3://no-such-bucket-here").upload(tmp_path / "x", "x")
    with pytest.raises(ValueError, match="Read only filesystem"):
        RemoteFolder("data://text/plain;base64,eA==").upload(tmp_path / "x", "x")


def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: object, **settings: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(ValueError, match=r"s3:// is not installed: pip install 'vignette\[s3\]'"):
        RemoteFolder("s3://never-seen-before/x").read("y")
    with pytest.raises(ValueError, match="gs:// is not installed: Install s3fs"):
        RemoteFolder("gs://never-seen-before/x").read("y")


def test_no_credentials(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    fresh = fsspec.filesystem("s3", skip_instance_cache=True)
    monkeypatch.setattr(storage, "_file_system", lambda url: (fresh, url.removeprefix("s3://")))
    with pytest.raises(ValueError, match="no credentials on this machine: Unable to locate credentials"):
        RemoteFolder(s3).read("x")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            PermissionError("Access Denied"),
            "s3://b/x: access is denied to the credentials of this machine: Access Denied",
        ),
        (NotImplementedError("no writing"), "s3://b/x: this file system cannot do that: no writing"),
        (IsADirectoryError("a folder"), "s3://b/x: IsADirectoryError: a folder"),
        (KeyError("odd"), "s3://b/x: KeyError: 'odd'"),
    ],
)
def test_lasting_errors_are_not_tried_again(error: Exception, message: str) -> None:
    calls = []

    def broken() -> None:
        calls.append("x")
        raise error

    with pytest.raises(ValueError, match=message):
        storage._tried("s3://b/x", broken)
    assert len(calls) == 1


@pytest.mark.parametrize(("failures", "ends_well"), [(0, True), (2, True), (3, False)])
def test_errors_that_may_pass_are_tried_again(failures: int, ends_well: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PAUSES_SEC", (0.0, 0.0))
    calls = []

    def shaky() -> str:
        calls.append("x")
        if len(calls) <= failures:
            raise OSError("try again")
        return "done"

    if ends_well:
        assert storage._tried("s3://b/x", shaky) == "done" and len(calls) == failures + 1
    else:
        with pytest.raises(ValueError, match="s3://b/x: OSError: try again"):
            storage._tried("s3://b/x", shaky)
        assert len(calls) == 3


def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PAUSES_SEC", ())
    folder = RemoteFolder(f"file://{tmp_path}/out")
    (tmp_path / "source").write_bytes(b"new")
    (tmp_path / "old").write_bytes(b"old")
    folder.upload(tmp_path / "old", "x")
    files, _ = storage._file_system(folder.url)

    def breaks(source: str, target: str) -> None:
        Path(target).write_bytes(b"n")
        raise OSError("connection lost")

    monkeypatch.setattr(files, "put_file", breaks)
    with pytest.raises(ValueError, match="connection lost"):
        folder.upload(tmp_path / "source", "x")
    assert folder.read("x") == b"old" and list(folder.listed()) == ["x"]
