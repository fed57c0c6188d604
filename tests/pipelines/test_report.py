"""The whole report from files on disk; captions are hostile text."""

import csv
import itertools
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipelines import report
from pipelines.shared.inert_texts import visible
from tests.pipelines.shared.reporting import world
from tests.pipelines.shared.reporting.world import FD, MEDIAN, RECALL

VOID = {"meta", "img", "br", "wbr", "line", "circle", "polyline"}
PAGES = ("index.html", "data.html")


class Page(HTMLParser):
    """Elements and attributes of a page, and whether its tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A project with its report, which no test changes."""
    project = tmp_path_factory.mktemp("project")
    params = world.build(project)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        report.run(params)
    return project, params


@pytest.fixture
def built(
    once: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, dict[str, Any]]:
    """The reports of a copy of it, in the working directory."""
    shutil.copytree(once[0], tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project" / "reports", once[1]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_one_inert_file(built: tuple[Path, dict[str, Any]], name: str) -> None:
    text = (built[0] / name).read_text()
    page = Page(text)
    assert not page.open, "every element is closed"
    scripts = [attributes.get("type") for attributes in page.all("script")]
    assert scripts == ([None] if name == "index.html" else ["application/ld+json", None]), "no caption became one"
    assert not [attributes for _, attributes in page.elements if any(each.startswith("on") for each in attributes)]
    for tag, attributes in page.elements:
        assert "style" not in attributes, "the policy allows no style but the sheet"
        for each in ("src", "href"):
            value = attributes.get(each) or ""
            assert not value.startswith(("http", "//")), f"{tag} reads {value} from a network"
            if value and not value.startswith(("#", "data:")):
                assert (built[0] / value).is_file(), f"{value} is linked and missing"
        if tag == "img":
            assert (attributes["src"] or "").startswith("data:image/webp;base64,")
            assert "alt" in attributes
    assert "<script>window.canary = 1</script>" in page.text, "the hostile caption is there to be read"
    assert "\\u202e" in page.text and "\u202e" not in text, "direction marks are made visible"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_navigable(built: tuple[Path, dict[str, Any]], name: str) -> None:
    page = Page((built[0] / name).read_text())
    assert page.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), "no level is left out"
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    targets = {(link["href"] or "")[1:] for link in page.all("a") if (link["href"] or "").startswith("#")}
    assert targets <= set(names), "every link inside the page has its target"
    assert all(region.get("aria-label") for region in page.all("div") if region.get("role") == "region")


def test_the_leaderboard_says_what_is_shown_and_what_is_not(built: tuple[Path, dict[str, Any]]) -> None:
    text = (built[0] / "index.html").read_text()
    rows = {row["row"]: row for row in json.loads((built[0] / "leaderboard.json").read_text())}
    assert set(rows) == {
        f"{key}/{name}" for key in ("first", "second", "third", "noise") for name in (RECALL, FD, MEDIAN)
    }
    assert [rows[f"{key}/{RECALL}"]["tie_group"] for key in ("second", "third", "first", "noise")] == [1, 1, 2, None]
    best = re.findall(r'<td class="num best" data-value="([^"]*)">', text)
    assert {"0.8", "0.75"} <= set(best) and "0.2" not in best, "the best group is marked, not the best value"
    assert '<tr class="reference">' in text and "reference: shuffled" in text
    assert "smallest detectable difference" in text and "2 of 3" in text
    assert "Not independent of the training: the detector lite0" in text
    assert rows[f"third/{FD}"]["marked"] and not rows[f"first/{FD}"]["marked"]
    assert rows[f"second/{RECALL}"]["train_seconds"] == 120.0 and "120 s, cpu" in text
    table = list(csv.DictReader((built[0] / "leaderboard.csv").open()))
    assert [row["row"] for row in table] == [
        row["row"] for row in json.loads((built[0] / "leaderboard.json").read_text())
    ]
    assert table[0]["metric"] == RECALL and table[0]["model"] == "second"


def test_the_other_sections(built: tuple[Path, dict[str, Any]]) -> None:
    page = Page((built[0] / "index.html").read_text())
    assert "main: promote" in page.text, "the gate's verdict"
    assert "better" in page.text, "the paired difference has a verdict"
    assert f"{visible(world.HOSTILE)}: shown" in page.text and "first < second" in page.text, "a claim and its steps"
    assert "caption origin: human, n = 20" in page.text and "n too small" in page.text
    assert "not comparable: samples_sha256" in page.text, "the history says where it breaks"
    data = Page((built[0] / "data.html").read_text())
    assert "crawl:http_404: 1" in data.text, "every loss has its reason"
    assert "CC0-1.0" in data.text
    found = {what for what in ("recall: right captions", "wrong captions accepted", "precision: ") if what in data.text}
    assert found == {"recall: right captions", "wrong captions accepted"}, "there is no precision of nothing accepted"
    assert "67677" in data.text and "98989" not in data.text, "a single captioner is what is synthetic"
    assert sorted(path.name for path in (built[0] / "cards").iterdir()) == ["first.md", "second.md", "third.md"]


def test_what_was_reproduced(built: tuple[Path, dict[str, Any]]) -> None:
    page = Page((built[0] / "index.html").read_text())
    assert "Not reproduced (against ddddddd): 1 of 5 stages equal, 3 differ" in page.text
    assert "crawl@site: fault; data/crawl/site (1 of 2 files: shard)" in page.text
    assert "filter@base: follows, from crawl@site" in page.text
    assert "train@first: changed, code: 0.py, code: 1.py, code: 2.py, code: 3.py and 2 more" in page.text
    assert "Of the scores 1 equal, 2 inside, 1 beyond, 1 other protocol." in page.text
    assert "a processor" in page.text
    (built[0].parent / "scores" / "later.json").write_text("{}")  # it speaks of other scores than these
    report.run(built[1])
    assert 'id="reproduced"' not in (built[0] / "index.html").read_text()


def test_the_page_holds_its_croissant(built: tuple[Path, dict[str, Any]]) -> None:
    text = (built[0] / "data.html").read_text()
    block = text.partition('<script type="application/ld+json">')[2].partition("</script>")[0]
    document = json.loads(block)
    assert document == json.loads((built[0] / "croissant.json").read_text())
    assert document["name"].endswith(world.HOSTILE), "a hostile title stays one"


def test_what_a_project_does_not_have_is_left_out(built: tuple[Path, dict[str, Any]]) -> None:
    project, params = built[0].parent, built[1]
    (project / "scores" / "records.jsonl").unlink()
    shutil.rmtree(project / "scores" / "reproduced")
    small = {name: params[name] for name in ("seed", "sources", "filters", "packs", "evaluations")}
    report.run({**small, "report": {"columns": (RECALL,)}})
    text = (built[0] / "index.html").read_text()
    for section in ("gates", "bootstrapping", "orderings", "history", "captions", "reproduced"):
        assert f'id="{section}"' not in text
    assert 'id="audits"' not in (built[0] / "data.html").read_text()
    assert "reference: shuffled" not in text, "an evaluation that params.yaml does not name"
    assert "120 s" not in text


def test_models_on_other_samples_are_not_ranked_with_the_rest(built: tuple[Path, dict[str, Any]]) -> None:
    project, params = built[0].parent, built[1]
    path = project / "scores" / "second.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "samples_sha256": "d" * 64}))
    report.run({**params, "report": {**params["report"], "pairs": (), "orderings": {}}})
    page = Page((built[0] / "index.html").read_text())
    assert "Not comparable with the table above" in page.text and "samples_sha256 is cccc" in page.text
    rows = {row["row"]: row for row in json.loads((built[0] / "leaderboard.json").read_text())}
    assert rows[f"second/{RECALL}"]["rank_low"] is None
    assert rows[f"third/{RECALL}"]["rank_low"] == 1, "first of the two that can be compared"
    with pytest.raises(ValueError, match=r"report\.pairs: .*samples_sha256"):
        report.run(params)


def test_missing_evaluation(built: tuple[Path, dict[str, Any]]) -> None:
    params = {**built[1], "evaluations": {"first": {}, "clip": {}}}
    with pytest.raises(ValueError, match="vignette evaluate clip"):
        report.run(params)


def test_the_same_bytes_twice(built: tuple[Path, dict[str, Any]]) -> None:
    before = files(built[0])
    report.run(built[1])
    assert before == files(built[0])
