import pytest

from pipelines.filter import run
from pipelines.shared.files import digest_tree
from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import read_manifest
from pipelines.shared.stage import DATA, StageRun
from tests.pipelines.builders import WORLD, build_world, key_of

FOLDER = DATA / "filter" / "base"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("world"))
        yield build_world(("annotate", "filter"))


def decisions():
    manifest = read_manifest(FOLDER)
    return {row["key"]: row for layer in manifest.layers for row in read_layer(FOLDER, layer).to_pylist()}


def reason(source, name):
    return decisions()[key_of(source, name)]["reason"]


def test_every_link_has_a_row_and_a_reason(world):
    assert len(decisions()) == 32 + 7
    expected = {
        "small": "small_side",
        "long": "long_aspect",
        "wordless": "few_words",
        "gone": "crawl:http_404",
        "denied": "crawl:robots_denied",
        "exif": "",
    }
    assert {name: reason("web", name) for name in expected} == expected
    assert {reason("web", "copy"), reason("web", "good3")} == {"exact_duplicate", ""}
    assert {reason("web", "saved"), reason("web", "good4")} == {"near_duplicate", ""}
    assert decisions()[key_of("web", "small")]["rule"] == "side"


def test_the_account_adds_up(world):
    counts = read_manifest(FOLDER).counts
    assert counts.as_dict() == {
        "in": 39,
        "kept": 32,
        "rejected": {
            "crawl:robots_denied": 1,
            "exact_duplicate": 1,
            "few_words": 1,
            "long_aspect": 1,
            "near_duplicate": 1,
            "small_side": 1,
        },
        "failed": {"crawl:http_404": 1},
    }
    splits = read_manifest(FOLDER).details["splits"]
    assert sum(splits.values()) == 32 and min(splits.values()) > 0


def test_captions_that_pass_are_kept_by_position(world):
    assert decisions()[key_of("web", "good7")]["captions_kept"] == [0, 2]
    assert decisions()[key_of("web", "gone")]["captions_kept"] == []


def test_a_clip_and_a_picture_of_one_name_share_a_split(world):
    clip, twin = (decisions()[key_of("moving", name)] for name in ("clip1", "twin"))
    assert clip["cluster"] == twin["cluster"] and clip["split"] == twin["split"] != ""


def test_neither_order_of_rules_nor_workers_change_a_byte(world):
    before = digest_tree(FOLDER)
    base = WORLD["filters"]["base"]
    turned = {**base, "rules": dict(reversed(base["rules"].items()))}
    beam = {"direct_running_mode": "multi_threading", "direct_num_workers": 2}
    run(StageRun(stage="filter", key="base", params={**world, "filters": {"base": turned}, "beam": beam}))
    assert digest_tree(FOLDER) == before


def test_a_top_fraction_is_in_the_manifest(world):
    rules = {"sharp": {"module": "score_threshold", "column": "sharpness", "top_frac": 0.5}}
    entry = {"sources": ("web",), "rules": rules, "near_duplicates": {"enabled": False}, "exact_duplicates": False}
    run(StageRun(stage="filter", key="sharp", params={**world, "filters": {"sharp": entry}}))
    manifest = read_manifest(DATA / "filter" / "sharp")
    assert manifest.counts.kept == 16
    assert set(manifest.details["thresholds"]["sharp"]) == {"min_value"}


@pytest.mark.parametrize(
    "change,message",
    [
        (
            {"rules": {"x": {"module": "score_threshold", "column": "clip_score", "min_value": 1.0}}},
            "no column 'clip_score'",
        ),
        ({"split": {"test": {"wep": 0.1}}}, r"split.test.wep: not a source of this filter \(did you mean web\?\)"),
        ({"near_duplicates": {"radius": 20}}, "radius must be from 0 to 8, got 20"),
        ({"sources": ("nowhere",)}, "data/crawl/nowhere"),
        ({"rulez": {}}, r"filters.base.rulez is not a setting \(did you mean rules\?\)"),
    ],
)
def test_mistakes_are_named(world, change, message):
    params = {**world, "filters": {"base": {**WORLD["filters"]["base"], **change}}}
    with pytest.raises(ValueError, match=message):
        run(StageRun(stage="filter", key="base", params=params))
