"""What the data page is told."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.shared.reporting.dataset import NOT_STATED, dataset_page
from tests.pipelines.shared.reporting import world


@pytest.fixture
def page(tmp_path: Path) -> dict[str, Any]:
    params = world.build(tmp_path)
    return dataset_page(tmp_path / "data", params, {}, 1)


def test_reasons_with_examples(page: dict[str, Any]) -> None:
    (base,) = page["filters"]
    assert {reason: removed.count for reason, removed in base.removed.items()} == {"crawl:http_404": 1, "few_words": 1}
    lost, short = base.removed["crawl:http_404"], base.removed["few_words"]
    assert lost.meaning == "a status other than 200, such as `http_404`"
    assert short.meaning == "", "a rule's reason is its own"
    assert lost.examples[0].picture == "" and lost.examples[0].url == "http://localhost/2.png"
    assert short.examples[0].picture.startswith("data:image/webp;base64,")
    assert short.examples[0].captions[0] == (world.HOSTILE, "web")


def test_kept_examples_are_bounded(page: dict[str, Any]) -> None:
    (base,) = page["filters"]
    assert [example.key for example in base.kept["site"]] == [f"{0:020x}"], "two are kept, one was asked for"


def test_sources_captions_and_rounds(page: dict[str, Any]) -> None:
    (source,) = page["sources"]
    assert (source.source, source.module, source.licence) == ("site", "html_site", NOT_STATED)
    assert source.hosts == [("localhost", 4)]
    (base,) = page["filters"]
    assert [(each.origin, each.num_texts) for each in base.texts] == [("human", 2), ("web", 2)]
    (kept,) = page["rounds"]
    assert (kept.place, kept.origin, kept.num_texts) == ("round first", "synthetic", 1), "dropped texts do not count"


def test_audits_of_rounds(tmp_path: Path) -> None:
    params = world.build(tmp_path)
    audits = dataset_page(tmp_path / "data", params, {}, 1)["audits"]
    assert audits["first"]["planted"]["train"]["recall"]["value"] == 0.75
    (tmp_path / "data" / "recaption" / "first" / "audit.json").unlink()
    assert dataset_page(tmp_path / "data", params, {}, 1)["audits"] == {}


def test_a_stated_licence(tmp_path: Path) -> None:
    params = world.build(tmp_path)
    (source,) = dataset_page(tmp_path / "data", params, {"site": "CC0-1.0"}, 1)["sources"]
    assert source.licence == "CC0-1.0"
