import copy

import pytest

from pipelines.filter import run
from pipelines.shared.files import digest_tree
from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import read_manifest
from pipelines.shared.stage import DATA, StageRun
from pipelines.shared.supposing import Change, changed_entry, parse_change, suppose, wall
from tests.pipelines.builders import WORLD, build_world, key_of

BASE = WORLD["filters"]["base"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("world"))
        yield build_world(("annotate", "filter"))


def published(name):
    folder = DATA / "filter" / name
    rows = [row for info in read_manifest(folder).layers for row in read_layer(folder, info).to_pylist()]
    return {row["key"]: (row["reason"] or "kept", row["split"]) for row in rows}


def decided(comparison, side):
    return dict(zip(comparison.keys.tolist(), zip(side.reason.tolist(), side.split.tolist(), strict=True), strict=True))


@pytest.mark.parametrize(
    "texts",
    [
        ["rules.words.min_words=4", "near_duplicates.radius=0"],
        ["near_duplicates.enabled=false", "exact_duplicates=false", "split.test=0.0"],
        ["rules.sharp={module: score_threshold, column: sharpness, top_frac: 0.3}", "rules.words.min_words=4"],
    ],
)
def test_both_sides_are_what_the_stage_publishes(world, texts):
    changes = [parse_change(text) for text in texts]
    comparison = suppose(world, "base", changes)
    assert decided(comparison, comparison.before) == published("base")
    entry = changed_entry(BASE, changes, (), "filters.base")
    run(StageRun(stage="filter", key="other", params={**world, "filters": {"other": entry}}))
    assert decided(comparison, comparison.after) == published("other")
    counts = read_manifest(DATA / "filter" / "other").counts
    funnel = {name: after for name, _, after in comparison.funnel if after}
    splits = {name: funnel.pop(name) for name in ("train", "val", "test") if name in funnel}
    assert funnel.pop("kept") == counts.kept == sum(splits.values())
    assert funnel.pop("found") == counts.num_in
    assert funnel == {**counts.rejected, **counts.failed}


def test_nothing_is_written(world):
    before = digest_tree(DATA)
    comparison = suppose(world, "base", [Change(("rules", "side", "min_side_px"), 65)])
    wall(comparison, 3)
    assert digest_tree(DATA) == before
    assert world["filters"]["base"] == BASE


def test_what_moves(world):
    comparison = suppose(
        world, "base", [parse_change("rules.side.min_side_px=10"), parse_change("rules.shape.max_aspect=9")]
    )
    moves = {move: [comparison.keys[row] for row in rows] for move, rows in comparison.moves.items()}
    assert moves == {
        ("small_side", "kept"): [key_of("web", "small")],
        ("long_aspect", "kept"): [key_of("web", "long")],
    }
    assert ("kept", 32, 34) in comparison.funnel
    shown = wall(comparison, 5)[("small_side", "kept")]
    assert [(each.source, each.url, each.captions) for each in shown] == [
        ("web", "http://web.test/small", (("small but described", "web"),))
    ]
    assert shown[0].picture.startswith("data:image/webp;base64,")


def test_examples_are_those_of_the_smallest_keys(world):
    comparison = suppose(world, "base", [parse_change("rules.side.min_side_px=1000")])
    rows = comparison.moves[("kept", "small_side")]
    assert len(rows) == 32
    keys = [example.key for example in wall(comparison, 7)[("kept", "small_side")]]
    assert keys == sorted(comparison.keys[rows])[:7]
    sources = {example.source for example in wall(comparison, 32)[("kept", "small_side")]}
    assert sources == {"web", "moving"}


def test_reasons_stand_in_the_order_of_the_stage(world):
    comparison = suppose(world, "base", [parse_change("rules.words.min_words=30")])
    names = [name for name, _, _ in comparison.funnel]
    late = [name for name in names if name not in {"crawl:http_404", "crawl:robots_denied"}]
    assert names[0] == "found" and late[1:4] == ["few_words", "long_aspect", "small_side"]
    assert names[-6:] == ["exact_duplicate", "near_duplicate", "kept", "train", "val", "test"]


def test_a_rule_may_be_left_out_and_thresholds_are_told(world):
    entry = {**BASE, "rules": {"sharp": {"module": "score_threshold", "column": "sharpness", "top_frac": 0.5}}}
    params = {**world, "filters": {"base": entry}}
    comparison = suppose(params, "base", [parse_change("rules.sharp.top_frac=0.25")])
    ((name, before, after),) = comparison.thresholds
    assert name == "sharp.min_value" and after > before
    dropped = suppose(params, "base", [], ["sharp"])
    assert [after for _, _, after in dropped.thresholds] == [None]
    assert (dropped.after.reason == "threshold_sharpness").sum() == 0


def test_moves_between_splits_are_counted(world):
    comparison = suppose(world, "base", [parse_change("split.test=0.8")])
    kept = comparison.after.split != ""
    assert (comparison.after.split[kept] == "test").sum() > (comparison.before.split[kept] == "test").sum()
    assert comparison.num_split_moves == (comparison.before.split != comparison.after.split).sum() > 0
    assert comparison.moves == {}


@pytest.mark.parametrize(
    "text,path,value",
    [
        ("rules.a.min_value=0.3", ("rules", "a", "min_value"), 0.3),
        ("rules.p.patterns=['^a', 'b=c']", ("rules", "p", "patterns"), ("^a", "b=c")),
        ("near_duplicates.radius= 6", ("near_duplicates", "radius"), 6),
        ("exact_duplicates=false", ("exact_duplicates",), False),
    ],
)
def test_changes_are_read(text, path, value):
    assert parse_change(text) == (path, value)


@pytest.mark.parametrize("text", ["rules.a.b", "=3", "rules..b=1", "rules.a=[1"])
def test_what_is_not_a_change_is_refused(text):
    with pytest.raises(ValueError, match="--set"):
        parse_change(text)


@pytest.mark.parametrize(
    "changes,dropped,message",
    [
        (["rules.sid.min_side_px=3"], (), r"f.rules: there is no rule 'sid' \(did you mean side\?\)"),
        ([], ("shapes",), r"no rule 'shapes' to drop \(did you mean shape\?\)"),
        (["sources=[web]"], (), "f.sources stay as they are"),
        (["exact_duplicates.x=1"], (), "f.exact_duplicates is True, which has no setting 'x'"),
    ],
)
def test_mistakes_are_named(changes, dropped, message):
    entry = {**BASE, "exact_duplicates": True}
    with pytest.raises(ValueError, match=message):
        changed_entry(entry, [parse_change(text) for text in changes], dropped, "f")


def test_the_entry_is_not_changed():
    before = copy.deepcopy(BASE)
    changed = changed_entry(BASE, [parse_change("rules.side.min_side_px=9")], ["words"], "f")
    assert before == BASE
    assert changed["rules"]["side"] == {"module": "min_side", "min_side_px": 9} and "words" not in changed["rules"]


def test_unknown_settings_and_filters_are_refused(world):
    with pytest.raises(ValueError, match=r"min_side_pix is not a setting \(did you mean min_side_px\?\)"):
        suppose(world, "base", [parse_change("rules.side.min_side_pix=3")])
    with pytest.raises(ValueError, match=r"filters\.bass does not exist"):
        suppose(world, "bass", [])
