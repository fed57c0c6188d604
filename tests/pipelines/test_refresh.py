"""`vignette refresh`."""

import json
import re
from pathlib import Path

import pytest

from pipelines.refresh import main, refresh
from pipelines.shared.lock import LOCK_FILE

PARAMS = """
sources:
  site: {module: html_site, serve: site, start: ""}
  list: {module: url_list, path: links.csv}
  web: {module: html_site, start: "https://a.example/"}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("site").mkdir()
    Path("site/index.html").write_text("x")
    Path("links.csv").write_text("url,caption\n")
    Path("params.yaml").write_text(PARAMS)


def lock() -> dict:
    return json.loads(LOCK_FILE.read_text())


def test_all_sources() -> None:
    assert refresh() == ("site", "list", "web")
    assert list(lock()) == ["list", "site", "web"]
    assert set(lock()["site"]) == {"local"} and set(lock()["list"]["local"]) == {"links.csv"}
    assert lock()["web"]["local"] == {} and re.fullmatch(r"\d{4}-\d\d-\d\d", lock()["web"]["day"])
    assert refresh() == ()


def test_one_source_leaves_the_others() -> None:
    refresh()
    Path("site/index.html").write_text("y")
    Path("links.csv").write_text("url,caption\nhttp://a/,x\n")
    before = lock()
    assert refresh("list") == ("list",)
    assert lock()["list"] != before["list"] and lock()["site"] == before["site"]


def test_sources_that_are_gone_are_dropped_by_a_full_refresh() -> None:
    refresh()
    Path("params.yaml").write_text(PARAMS.replace("  list:", "  other:"))
    refresh()
    assert list(lock()) == ["other", "site", "web"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("serve: site", "serve: none", "serve: none is not a folder"),
        ("path: links.csv", "path: none.csv", "none.csv does not exist"),
        ("path: links.csv", "path: links.doc", "path must end in one of"),
    ],
)
def test_mistakes(old: str, new: str, message: str) -> None:
    Path("params.yaml").write_text(PARAMS.replace(old, new))
    with pytest.raises(ValueError, match=message):
        refresh()
    assert not LOCK_FILE.exists()


def test_unknown_source() -> None:
    with pytest.raises(ValueError, match=r"sources.sight does not exist .did you mean site"):
        refresh("sight")


def test_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("sys.argv", ["vignette refresh"])
    main()
    assert capsys.readouterr().out == "sources.lock: changed: site, list, web\n"
    main()
    assert capsys.readouterr().out == "sources.lock: nothing has changed\n"
