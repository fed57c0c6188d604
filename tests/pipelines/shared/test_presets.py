"""Presets against the published rules, written out row by row as their authors' code has them."""

import functools

import numpy as np
import pytest

from pipelines.shared.columns import Columns
from pipelines.shared.files import digest_file
from pipelines.shared.filtering import FilterEntry, columns_of, judge, load_rules
from pipelines.shared.params import build
from pipelines.shared.presets import PRESETS, preset_rules

ROWS = 4000
SIDES = np.array([100, 199, 200, 201, 300, 480, 600, 601, 1080, 1280, 4096, 5000, 5001])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    (folder / "words.txt").write_text("dog\ncat\n")
    (folder / "clusters.txt").write_text("3\n8\n")
    return {
        name: {"file": str(folder / f"{name}.txt"), "sha256": digest_file(folder / f"{name}.txt")}
        for name in ("words", "clusters")
    }


@functools.cache
def pool():
    """One caption a sample, values at and around all limits."""
    rng = np.random.default_rng(0)
    texts = np.array(["a dog", "Cat on mat", "a b c", "kitten", "one two three four", "dogs"], dtype=object)
    sample = {
        "width": rng.choice(SIDES, ROWS),
        "height": rng.choice(SIDES, ROWS),
        "num_bytes": rng.choice([4999, 5000, 5001], ROWS),
        "cluster": rng.integers(0, 10, ROWS),
        "unsafe": rng.choice([0.4, 0.5, 0.6], ROWS),
        "watermark": rng.choice([0.79, 0.8, 0.81], ROWS),
        "duration_sec": rng.choice([0.0, 10.0, 10.1], ROWS),
        "motion": rng.choice([0.24, 0.25, 1.0], ROWS),
    }
    caption = {
        "caption_text": rng.choice(texts, ROWS),
        "caption_language": rng.choice(np.array(["en", "de"], dtype=object), ROWS),
        "caption_language_confidence": rng.choice([0.79, 0.8, 0.9], ROWS),
        "caption_words": rng.choice([1, 2, 3, 9, 10], ROWS),
        "caption_characters": rng.choice([4, 5, 6, 9, 10], ROWS),
        "caption_special_frac": rng.choice([0.2, 0.25, 0.26], ROWS),
        "caption_character_repetition": rng.choice([0.5, 0.51], ROWS),
        "caption_word_repetition": rng.choice([0.5, 0.51], ROWS),
        "b32": rng.choice([9.9, 10.0, 25.9, 26.0, 27.9, 28.0, 29.9, 30.0], ROWS),
        "l14": rng.normal(20, 5, ROWS).round(4),
        "mclip": rng.choice([25.9, 26.0, 28.0], ROWS),
    }
    return Columns(num_captions=np.ones(ROWS, dtype=np.int64), sample=sample, caption=caption)


def kept(name, **settings):
    rules = load_rules(preset_rules({name: settings}, "f.presets"), "f.rules")
    columns = pool()
    rules = tuple(
        type(rule)(rule.key, rule.filter.fitted(columns.of(rule.filter.scope)))
        if not getattr(rule.filter, "is_fitted", True)
        else rule
        for rule in rules
    )
    assert set(columns_of(rules)) <= {*columns.sample, *columns.caption}
    found = judge(columns, rules).rule == -1
    assert 0 < found.sum() < ROWS
    return found.tolist()


def expected(says):
    columns = pool()
    values = {**columns.sample, **columns.caption}
    rows = ({name: column[row] for name, column in values.items()} for row in range(ROWS))
    return [bool(says(row)) for row in rows]


def sides(row):
    return min(row["width"], row["height"]), max(row["width"], row["height"])


@functools.cache
def threshold():
    return -np.sort(-pool().caption["l14"])[int(ROWS * 0.3)]


def top_30(row):
    return row["l14"] >= threshold()


def basic(row):
    small, large = sides(row)
    caption = row["caption_words"] > 2 and row["caption_characters"] > 5
    return row["caption_language"] == "en" and caption and small >= 200 and large / small <= 3.0


def image_based(row):
    text = row["caption_language"] == "en" and row["caption_words"] > 1 and row["caption_characters"] > 5
    return text and row["cluster"] in {3, 8}


def test_datacomps_six_baselines(files):
    assert kept("datacomp-basic") == expected(basic)
    assert kept("datacomp-clip-score", column="l14") == expected(top_30)
    assert kept("datacomp-text-based", **files["words"]) == expected(
        lambda row: row["caption_language"] == "en" and {"dog", "cat"} & set(row["caption_text"].lower().split())
    )
    clusters = {"cluster_column": "cluster", **files["clusters"]}
    assert kept("datacomp-image-based", **clusters) == expected(image_based)
    assert kept("datacomp-image-based-clip-score", **clusters, column="l14") == expected(
        lambda row: image_based(row) and top_30(row)
    )
    assert kept("datacomp-laion-2b", column="b32", language_column="caption_language") == expected(
        lambda row: row["caption_language"] == "en" and row["b32"] >= 28
    )


def test_laions_rules():
    assert kept("laion-400m", column="b32") == expected(
        lambda row: row["caption_characters"] >= 5 and row["num_bytes"] >= 5000 and row["b32"] >= 30
    )

    def passes(row):
        score = row["b32"] >= 28 if row["caption_language"] == "en" else row["mclip"] >= 26
        return row["caption_characters"] >= 5 and row["num_bytes"] >= 5000 and score

    assert kept("laion-5b", column="b32", multilingual_column="mclip") == expected(passes)
    assert kept("laion-aesthetics", unsafe_column="unsafe", watermark_column="watermark") == expected(
        lambda row: row["unsafe"] < 0.5 and row["watermark"] < 0.8
    )


def test_data_juicers_ratios(files):
    def text(row):
        sizes = row["caption_words"] >= 10 and row["caption_characters"] >= 10 and row["caption_special_frac"] <= 0.25
        repeated = max(row["caption_character_repetition"], row["caption_word_repetition"]) > 0.5
        return sizes and not repeated and row["caption_language"] == "en" and row["caption_language_confidence"] >= 0.8

    assert kept("data-juicer-text") == expected(text)

    def clean(row):
        words = row["caption_text"].lower().split()
        return text(row) and sum(word in ("dog", "cat") for word in words) / len(words) <= 0.0045

    flagged = {f"flagged_{name}": value for name, value in files["words"].items()}
    assert kept("data-juicer-text", **flagged) == expected(clean)

    def image(row):
        small, large = sides(row)
        return small >= 200 and large <= 5000 and large / small <= 3 and row["b32"] >= 10

    assert kept("data-juicer-image", column="b32") == expected(image)

    def video(row):
        fits = 1280 <= row["width"] <= 4096 and 480 <= row["height"] <= 1080
        small, large = sides(row)
        return fits and large / small <= 21 / 9 and row["duration_sec"] <= 10 and row["motion"] >= 0.25

    assert kept("data-juicer-video", motion_column="motion") == expected(video)


def test_every_preset_is_described():
    for name, preset in PRESETS.items():
        assert preset.__doc__, name


def test_an_own_rule_takes_the_place_of_a_presets():
    values = {
        "sources": ("a",),
        "presets": {"datacomp-basic": {}},
        "rules": {
            "datacomp-basic-words": {"module": "min_words", "min_words": 5},
            "own": {"module": "min_words", "min_words": 1},
        },
    }
    rules = build(FilterEntry, values, "filters.x").all_rules("filters.x")
    assert rules["datacomp-basic-words"] == {"module": "min_words", "min_words": 5}
    assert sorted(rules) == [
        f"datacomp-basic-{name}" for name in ("aspect", "characters", "language", "side", "words")
    ] + ["own"]


@pytest.mark.parametrize(
    "chosen,message",
    [
        ({"datacomp-basics": {}}, r"f.presets.datacomp-basics does not exist \(did you mean datacomp-basic\?\)"),
        ({"datacomp-clip-score": {}}, "f.presets.datacomp-clip-score lacks column"),
        ({"laion-400m": {"colum": "x"}}, r"f.presets.laion-400m.colum is not a setting \(did you mean column\?\)"),
    ],
)
def test_mistakes_are_named(chosen, message):
    with pytest.raises(ValueError, match=message):
        preset_rules(chosen, "f.presets")
