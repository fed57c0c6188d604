"""`sources.lock`: what is noted and what is noticed."""

import datetime
from pathlib import Path

import fsspec
import pytest

from pipelines.shared.files import digest_file, digest_tree
from pipelines.shared.lock import LOCK_FILE, LocalState, check_lock, local_state, lock_entry, read_lock, write_lock
from pipelines.shared.storage import RemoteFolder

DAY = datetime.date(2030, 1, 2)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("site").mkdir()
    Path("site/x.html").write_text("x")
    Path("list.csv").write_text("url\n")


def entry(serve: str, *files: str) -> dict:
    return lock_entry(state(serve, *files), DAY)


def state(serve: str, *files: str) -> LocalState:
    return local_state(serve, files)


def test_entries() -> None:
    served = entry("site")
    assert set(served) == {"local"} and set(served["local"]) == {"site"}
    listed = entry("", "list.csv")
    assert listed["day"] == "2030-01-02" and set(listed["local"]) == {"list.csv"}
    assert entry("") == {"local": {}, "day": "2030-01-02"}


def test_what_is_behind_urls_is_noted_like_what_is_here() -> None:
    """Under the URL; the copy is served."""
    fsspec.filesystem("memory").store.clear()
    store = RemoteFolder("memory://inputs")
    store.upload(Path("site/x.html"), "site/x.html")
    store.upload(Path("list.csv"), "list.csv")
    here, there = state("site", "list.csv"), state("memory://inputs/site", "memory://inputs/list.csv")
    assert there.digests == {f"memory://inputs/{name}": digest for name, digest in here.digests.items()}
    assert there.served == here.served and Path(there.serve, "x.html").read_text() == "x"
    write_lock({"web": lock_entry(there, DAY)})
    assert check_lock("web", state("memory://inputs/site", "memory://inputs/list.csv"))
    Path("list.csv").write_text("another")
    store.upload(Path("list.csv"), "list.csv")
    with pytest.raises(ValueError, match=r"memory://inputs/list.csv changed since sources.lock was written"):
        check_lock("web", state("memory://inputs/site", "memory://inputs/list.csv"))
    fsspec.filesystem("memory").store.clear()


def test_state_of_a_folder() -> None:
    found = state("site")
    assert found.serve == "site" and found.digests == {"site": digest_tree(Path("site"))}
    assert found.served == {"x.html": digest_file(Path("site/x.html"))}


def test_unchanged_sources_pass() -> None:
    write_lock({"a": entry("site", "list.csv")})
    assert check_lock("a", state("site", "list.csv")) == read_lock()["a"]


@pytest.mark.parametrize("change", ["edit", "add", "remove", "rename", "list"])
def test_any_change_is_noticed(change: str) -> None:
    write_lock({"a": entry("site", "list.csv")})
    page = Path("site/x.html")
    if change == "edit":
        page.write_text("y")
    elif change == "add":
        Path("site/y.html").write_text("y")
    elif change == "remove":
        page.unlink()
    elif change == "rename":
        page.rename("site/z.html")
    else:
        Path("list.csv").write_text("url\nx")
    with pytest.raises(ValueError, match=r"(site|list.csv) changed since sources.lock was written: run `vignette refr"):
        check_lock("a", state("site", "list.csv"))


def test_another_folder_is_a_change() -> None:
    write_lock({"a": entry("site")})
    Path("other").mkdir()
    with pytest.raises(ValueError, match="changed"):
        check_lock("a", state("other"))


def test_missing_entry_and_file() -> None:
    with pytest.raises(ValueError, match="has no 'clipart'"):
        check_lock("clipart", state("site"))
    write_lock({"clip-art": {}})
    with pytest.raises(ValueError, match="did you mean clip-art"):
        check_lock("clipart", state("site"))
    with pytest.raises(ValueError, match="is not a folder"):
        state("none")
    with pytest.raises(ValueError, match="does not exist"):
        state("", "none.csv")


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', ""])
def test_damaged_lock(text: str) -> None:
    LOCK_FILE.write_text(text)
    with pytest.raises(ValueError, match="run `vignette refresh`"):
        read_lock()


def test_bytes_depend_on_content_alone() -> None:
    write_lock({"b": {"local": {}}, "a": {"local": {}}})
    first = LOCK_FILE.read_bytes()
    write_lock({"a": {"local": {}}, "b": {"local": {}}})
    assert LOCK_FILE.read_bytes() == first
