import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.shared.minhash import TextDuplicates, jaccard_pairs
from pipelines.shared.splits import SplitShares, assign_splits, equal_captions, normalise_caption

SOURCES = ("emoji", "clipart")


@pytest.mark.parametrize(
    "first,second",
    [
        ("Waving Hand: light-skin tone", "waving hand light skin tone"),
        ("ﬁne  art", "fine art"),
        ("STRASSE!", "straße"),
        ("a_b", "a b"),
        ("İstanbul", "istanbul"),
        ("cafe\u0301", "CAFÉ"),
        ("a\u00ad cat\u200e", "a cat"),
        ("Bob\u00b4s", "bob s"),
        ("می\u200cروم", "میروم"),
    ],
)
def test_equal_captions_are_normalised_to_one(first, second):
    assert normalise_caption(first) == normalise_caption(second) != ""


@given(st.text(st.characters(max_codepoint=127), max_size=30))
def test_the_short_way_of_ascii_is_the_long_one(text):
    """A letter that is not ASCII takes the other way."""
    assert f"{normalise_caption(text)} ж".lstrip() == normalise_caption(f"{text} ж")


def test_other_words_stay_apart():
    assert normalise_caption("red heart") != normalise_caption("red hearts")
    male, female = "काला कुत्ता", "काली कुत्ती"
    assert (normalise_caption(male), normalise_caption(female)) == (male, female)
    (found,) = {len(pairs[0]) for pairs in jaccard_pairs([male, female], TextDuplicates(min_jaccard=0.8))} or {0}
    assert found == 0, "texts that differ in vowel signs are no duplicates"
    assert normalise_caption("قِطّ") != normalise_caption("قَطّ")
    assert normalise_caption(" !! ") == ""


def test_equal_captions_bind():
    captions = pyarrow.array([["a", "b"], [], ["c"], ["b"], ["c", "c"]], pyarrow.list_(pyarrow.string()))
    pairs = set(zip(*(side.tolist() for side in equal_captions(captions)), strict=True))
    assert {(0, 3), (2, 4)} <= pairs
    assert all({first, second} in ({0}, {2}, {0, 3}, {2, 4}) for first, second in pairs)


def test_no_captions_bind_nothing():
    first, second = equal_captions(pyarrow.array([[], []], pyarrow.list_(pyarrow.string())))
    assert len(first) == len(second) == 0


def shares(val, test):
    return SplitShares(val=val, test=test).of(SOURCES, "filters.base.split")


def test_shares_are_met_and_do_not_depend_on_others():
    clusters = np.array([f"{i:020x}" for i in range(4000)])
    sources = np.arange(4000) % 2
    split = assign_splits(clusters, sources, shares(0.1, {"emoji": 0.4}), seed=3)
    for source, (val, test) in enumerate([(0.1, 0.4), (0.1, 0.1)]):
        counts = np.bincount(split[sources == source], minlength=3) / 2000
        assert counts == pytest.approx([1 - val - test, val, test], abs=0.04)
    alone = assign_splits(clusters[10:12], sources[10:12], shares(0.1, {"emoji": 0.4}), seed=3)
    assert alone.tolist() == split[10:12].tolist()
    other = assign_splits(clusters, sources, shares(0.1, {"emoji": 0.4}), seed=4)
    assert (other != split).any()


def test_a_cluster_never_parts_and_takes_the_greatest_share():
    clusters = np.array([f"{i // 2:020x}" for i in range(200)])
    sources = np.arange(200) % 2
    split = assign_splits(clusters, sources, shares(0.0, {"emoji": 1.0, "clipart": 0.0}), seed=0)
    assert (split == 2).all()


@pytest.mark.parametrize(
    "val,test,message",
    [
        (0.6, 0.5, "val and test of emoji add up to 1.1"),
        (0.1, {"emojy": 0.2}, r"split.test.emojy: not a source of this filter \(did you mean emoji\?\)"),
        (-0.1, 0.1, "share of emoji must be in"),
    ],
)
def test_shares_are_checked(val, test, message):
    with pytest.raises(ValueError, match=message):
        shares(val, test)
