"""Pages that are kept."""

from pathlib import Path

import pytest

from pipelines.shared.answers import Held
from pipelines.shared.pages import PageStore

HELD = Held(final_url="http://a.com/x", etag='"1"')
URL = "http://a.com/"


def test_there_and_back(tmp_path: Path) -> None:
    store = PageStore(tmp_path)
    assert store.find(URL) is None
    store.keep(URL, HELD, "text/html", "ünï\n".encode() * 1000)
    found = PageStore(tmp_path).find(URL)
    assert found and (found.held, found.content_type, found.body) == (HELD, "text/html", "ünï\n".encode() * 1000)
    assert store.find("http://a.com/other") is None


def test_only_what_can_be_asked_for_is_kept(tmp_path: Path) -> None:
    PageStore(tmp_path).keep(URL, Held(final_url=URL), "text/html", b"x")
    PageStore(tmp_path, is_kept=False).keep(URL, HELD, "text/html", b"x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [0, 20, -1, -10])
def test_damage_is_noticed(tmp_path: Path, place: int) -> None:
    PageStore(tmp_path).keep(URL, HELD, "text/html", b"some text that is long enough" * 9)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert PageStore(tmp_path).find(URL) is None


def test_pages_that_nobody_asks_for_go(tmp_path: Path) -> None:
    for number in range(3):
        PageStore(tmp_path).keep(f"{URL}{number}", HELD, "text/html", b"x")
    later = PageStore(tmp_path)
    later.find(f"{URL}1")
    later.find(f"{URL}new")
    later.sweep()
    assert [PageStore(tmp_path).find(f"{URL}{number}") is not None for number in range(3)] == [False, True, False]
    unkept = PageStore(tmp_path, is_kept=False)
    unkept.sweep()
    assert PageStore(tmp_path).find(f"{URL}1"), "a store that writes nothing removes nothing"
    PageStore(tmp_path / "none").sweep()
