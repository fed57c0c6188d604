from collections.abc import Mapping

import numpy as np
import pytest

from pipelines.shared.columns import Columns, source_layers
from pipelines.shared.filtering import (
    FilterEntry,
    Rule,
    check_columns,
    columns_of,
    fit_rules,
    fitted_thresholds,
    judge,
    load_rules,
    verdict_table,
)
from pipelines.shared.params import build
from tests.pipelines.builders import Item, captions, drawing, picture_item, stage_run, write_crawl


class Passing:
    """A rule that lets pass what a column says."""

    def __init__(self, name: str, scope: str) -> None:
        self.columns, self.scope, self.reason = (name,), scope, f"not_{name}"

    def keep(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        return columns[self.columns[0]]


def rule(name: str, scope: str) -> Rule:
    return Rule(name, Passing(name, scope))


def test_the_first_reason_is_that_of_the_rule_that_took_the_last_caption():
    columns = Columns(
        num_captions=np.array([2, 2, 1, 0, 1]),
        sample={"s": np.array([True, False, False, True, True])},
        caption={
            "c1": np.array([True, True, False, True, False, True]),
            "c2": np.array([True, True, True, False, True, True]),
        },
    )
    verdict = judge(columns, [rule("c1", "caption"), rule("c2", "caption"), rule("s", "sample")])
    assert verdict.rule.tolist() == [-1, 1, 0, 3, -1]
    assert verdict.captions.tolist() == [True, True, False, False, False, True]
    assert verdict.outcomes["s"].tolist() == [True, False, False, True, True]


def test_rules_come_in_a_fixed_order():
    first = {"a-side": {"module": "min_side", "min_side_px": 2}, "words": {"module": "min_words", "min_words": 1}}
    turned = dict(reversed(first.items()))
    for entries in (first, turned):
        assert [each.key for each in load_rules(entries, "filters.x.rules")] == ["words", "a-side"]
    assert columns_of(load_rules(first, "filters.x.rules")) == ("caption_words", "height", "width")


def test_unknown_modules_and_settings_are_refused():
    with pytest.raises(ValueError, match=r"filters.x.rules.w.module: .*did you mean min_words"):
        load_rules({"w": {"module": "min_word"}}, "filters.x.rules")
    with pytest.raises(ValueError, match=r"filters.x.rules.w.words is not a setting"):
        load_rules({"w": {"module": "min_words", "words": 2}}, "filters.x.rules")


@pytest.mark.parametrize("sources", [(), ("a", "a")])
def test_sources_are_checked(sources):
    with pytest.raises(ValueError, match="each once"):
        build(FilterEntry, {"sources": sources}, "filters.x")


@pytest.fixture
def shards(tmp_path, monkeypatch):
    """Two shards of an annotated source: good pictures, one that does not decode, lost links."""
    from pipelines.annotate import run

    monkeypatch.chdir(tmp_path)
    items = [picture_item(f"p{i}", drawing(i), captions("one", "two words", f"{'x ' * i}")) for i in range(5)]
    items += [Item(name="bad", media=b"\x89PNG\r\n\x1a\nrubbish", size=(9, 9), captions=captions("a"))]
    items += [Item(name=name, reason=name) for name in ("deadline", "optout:noai", "no_caption")]
    items += [picture_item("human", drawing(9), captions("A Red-Fox!", "!!", origin="human"))]
    write_crawl("web", items, samples_per_shard=5)
    run(stage_run("annotate", "web", {"sources": {"web": {}}, "annotate": {"max_failed_frac": 1.0}}))
    return source_layers("web")[0]


RULES = {
    "words": {"module": "min_words", "min_words": 2},
    "clip": {"module": "score_threshold", "column": "sharpness", "top_frac": 0.5},
}


def test_verdicts_have_a_row_per_link(shards):
    rules = fit_rules(load_rules({"words": RULES["words"]}, "f"), shards)
    rows = [
        row
        for shard in shards
        for row in verdict_table(*shard.read(("caption_words", "sha256")), rules, {"sha256": "sha256"}).to_pylist()
    ]
    assert len(rows) == 10
    reasons = sorted(row["reason"] for row in rows)
    assert reasons[:6] == [""] * 6
    assert reasons[6:] == ["annotate:decode_error", "crawl:deadline", "crawl:no_caption", "crawl:optout.noai"]
    assert all((row["sha256"] is None) == bool(row["reason"]) for row in rows)
    assert [row["human_captions"] for row in rows if row["human_captions"]] == [["a red fox"]]
    kept = {tuple(row["captions_kept"]) for row in rows if not row["reason"]}
    assert kept == {(1,), (1, 2), (0,)}
    assert all(row["captions_kept"] == [] for row in rows if row["reason"])


def test_a_top_fraction_is_fitted_over_all_shards(shards):
    values = np.concatenate(
        [np.array(shard.read(("sharpness",))[1]["sharpness"].to_pylist(), float) for shard in shards]
    )
    rules = fit_rules(load_rules(RULES, "f"), shards)
    known = np.sort(values[~np.isnan(values)])[::-1]
    assert fitted_thresholds(rules) == {"clip": {"min_value": known[3]}}
    tables = [verdict_table(*shard.read(("sharpness", "caption_words")), rules, {}) for shard in shards]
    reasons = [reason for table in tables for reason in table["reason"].to_pylist()]
    assert reasons.count("threshold_sharpness") == 2


def test_columns_that_are_not_there_are_refused(shards):
    entry = {"x": {"module": "score_threshold", "column": "sharpnes", "min_value": 1.0}}
    with pytest.raises(ValueError, match=r"filters.f.rules.x: there is no column 'sharpnes' \(did you mean sharpness"):
        check_columns(load_rules(entry, "filters.f.rules"), {}, shards, "filters.f")
    with pytest.raises(ValueError, match=r"filters.f.near_duplicates: there is no column 'phush'"):
        check_columns((), {"phash": "phush"}, shards, "filters.f")


def test_a_crawl_that_changed_is_refused(shards):
    write_crawl("web", [picture_item("p", drawing(0), captions("a"))])
    with pytest.raises(ValueError, match="was made from another crawl: run `vignette annotate web` again"):
        source_layers("web")


def test_what_tells_samples_apart_is_read_under_its_own_name(shards):
    entry = build(
        FilterEntry,
        {
            "sources": ("web",),
            "embedding_column": "colour_grid",
            "embedding_duplicates": {"enabled": True},
            "decontaminate": {"min_jaccard": 0.8},
            "near_duplicates": {"enabled": False},
        },
        "filters.x",
    )
    identity = {name: name for name in ("media", "sha256", "width", "height")}
    assert entry.identity == {**identity, "embedding": "colour_grid", "texts": "caption_text"}
    check_columns((), entry.identity, shards, "filters.x")
    rules = load_rules({"words": RULES["words"]}, "f")
    names = ("caption_words", *entry.identity.values())
    rows = [row for shard in shards for row in verdict_table(*shard.read(names), rules, entry.identity).to_pylist()]
    assert all((row["embedding"] is None) == bool(row["reason"]) for row in rows)
    assert all(row["phash"] is None for row in rows)
    assert sorted(text for row in rows for text in row["texts"]) == sorted(
        ["two words"] * 5 + [("x " * i).strip() for i in range(2, 5)] + ["a red fox"]
    )


def test_embeddings_need_a_column(shards):
    with pytest.raises(ValueError, match=r"filters.x: embedding_column must be given"):
        build(FilterEntry, {"sources": ("a",), "decontaminate": {"min_cosine": 0.9}}, "filters.x")
    with pytest.raises(ValueError, match=r"filters.x.embedding_column: there is no column 'image_embedding'"):
        check_columns((), {"embedding": "image_embedding"}, shards, "filters.x")
