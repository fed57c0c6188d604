"""The whole report from files on disk; captions are hostile text."""

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipelines import report
from tests.pipelines.shared.reporting import world

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Elements and attributes of a page, and whether its tags are balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict]:
    monkeypatch.chdir(tmp_path)
    params = world.build(tmp_path)
    report.run(params)
    return tmp_path, params


def test_page_and_files(built: tuple[Path, dict]) -> None:
    project, _ = built
    text = (project / "reports" / "index.html").read_text()
    page = Page()
    page.feed(text)
    assert not page.open, "every element is closed"
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 1, "no caption became a script"
    assert not [attributes for _, attributes in page.elements if any(name.startswith("on") for name in attributes)]
    for tag, attributes in page.elements:
        for name in ("src", "href"):
            value = attributes.get(name) or ""
            assert not value.startswith(("http", "//")), f"{tag} reads {value} from a network"
        if tag == "img":
            assert (attributes["src"] or "").startswith("data:image/webp;base64,")
    assert "<script>alert(1)</script>" in page.text, "the hostile caption is there to be read"
    assert "\\u202e" in page.text and "\u202e" not in text, "direction marks are made visible"
    assert "better" in page.text, "the paired difference has a verdict"
    assert "crawl:http_404" in page.text, "every loss has its reason"
    rows = list(csv.DictReader((project / "reports" / "leaderboard.csv").open()))
    assert len(rows) == len(json.loads((project / "reports" / "leaderboard.json").read_text())) == 4
    assert rows[0]["metric"] == "recall" and rows[0]["model"] == "second"


def test_the_same_bytes_twice(built: tuple[Path, dict]) -> None:
    project, params = built
    before = {path.name: path.read_bytes() for path in (project / "reports").iterdir()}
    report.run(params)
    assert before == {path.name: path.read_bytes() for path in (project / "reports").iterdir()}
