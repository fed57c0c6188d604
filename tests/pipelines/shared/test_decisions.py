import numpy as np
import pyarrow
import pytest

from pipelines.shared.contamination import Decontamination
from pipelines.shared.cosine_pairs import EmbeddingDuplicates
from pipelines.shared.decisions import DecisionSettings, decide, fixed_bytes
from pipelines.shared.duplicates import NearDuplicates
from pipelines.shared.filtering import VERDICTS_SCHEMA
from pipelines.shared.minhash import TextDuplicates


def row(key: int, **values):
    """A passing sample that is like no other."""
    digest = int(np.random.default_rng(key).integers(0, 2**63))
    return {
        "key": f"{key:020x}",
        "reason": "",
        "rule": "",
        "status": "success",
        "captions_kept": [0],
        "human_captions": [],
        "media": "image",
        "sha256": f"{digest:064x}",
        "width": 100,
        "height": 100,
        "phash": f"{digest:016x}",
        "phash_first": values.get("phash", f"{digest:016x}"),
        "phash_contrast": 40.0,
        "colour_grid": bytes(192),
    } | values


def decided(rows, sources=None, exact=True, near=True, shares=(0.0, 0.5), embeddings=None, texts=None, test=None):
    settings = DecisionSettings(
        exact_duplicates=exact,
        near_duplicates=NearDuplicates(enabled=near),
        embedding_duplicates=embeddings or EmbeddingDuplicates(),
        text_duplicates=texts or TextDuplicates(),
        decontaminate=test or Decontamination(),
        shares=(np.full(3, shares[0]), np.full(3, shares[1])),
        seed=0,
    )
    table = pyarrow.Table.from_pylist(rows, schema=VERDICTS_SCHEMA)
    found = decide(table, np.array(sources or [0] * len(rows), dtype=np.int64), settings)
    return {int(each["key"], 16): each for each in found.to_pylist()}


TWIN = {"sha256": "a" * 64, "phash": "00ff00ff00ff00ff"}
ALIKE = {"phash": "00ff00ff00ff00ff"}
NEAR = {"phash": "00ff00ff00ff00fe"}


def reasons(found):
    return {key: each["reason"] for key, each in found.items() if each["reason"]}


def test_of_equal_bytes_the_smallest_key_is_kept_unless_another_has_a_human_caption():
    assert reasons(decided([row(1, **TWIN), row(2, **TWIN), row(3)])) == {2: "exact_duplicate"}
    human = row(2, **TWIN, human_captions=["a"])
    assert reasons(decided([row(1, **TWIN), human, row(3)])) == {1: "exact_duplicate"}


def test_of_one_picture_the_largest_is_kept():
    found = decided([row(1, **ALIKE), row(2, **NEAR, width=101), row(3)])
    assert reasons(found) == {1: "near_duplicate"}
    assert found[1]["cluster"] == found[2]["cluster"] == f"{1:020x}"
    assert found[1]["split"] == "" and found[2]["split"] != ""


def test_a_picture_and_a_clip_both_stay_but_share_a_split():
    found = decided([row(1, **ALIKE), row(2, **NEAR, media="video")])
    assert reasons(found) == {}
    assert found[1]["cluster"] == found[2]["cluster"]


def test_equal_human_captions_share_a_cluster_over_media_and_sources():
    rows = [row(i, human_captions=["red fox"], media=media) for i, media in ((5, "image"), (6, "video"), (7, "image"))]
    found = decided([*rows, row(8, human_captions=["fox"])], sources=[0, 1, 2, 0])
    assert {found[key]["cluster"] for key in (5, 6, 7)} == {f"{5:020x}"}
    assert found[8]["cluster"] == f"{8:020x}"


def test_a_twin_that_was_left_out_still_binds():
    rows = [row(1, **TWIN), row(2, **TWIN, human_captions=["x"]), row(3, human_captions=["x"])]
    found = decided(rows)
    assert reasons(found) == {1: "exact_duplicate"}
    assert len({each["cluster"] for each in found.values()}) == 1


def test_rejected_samples_neither_displace_nor_bind():
    lost = row(1, **TWIN) | dict.fromkeys(
        ("media", "sha256", "width", "height", "phash", "phash_first", "phash_contrast", "colour_grid")
    )
    lost |= {"reason": "small_side", "rule": "min-side"}
    found = decided([lost, row(2, **TWIN)])
    assert found[1] == {
        "key": f"{1:020x}",
        "kept": False,
        "reason": "small_side",
        "rule": "min-side",
        "split": "",
        "cluster": "",
        "captions_kept": [0],
    }
    assert found[2]["kept"] and found[2]["cluster"] == f"{2:020x}"


def test_searches_can_be_switched_off():
    rows = [row(1, **TWIN), row(2, **TWIN), row(3, **NEAR)]
    assert reasons(decided(rows, exact=False, near=False)) == {}
    assert reasons(decided(rows, near=False)) == {2: "exact_duplicate"}
    assert reasons(decided(rows, exact=False)) == {2: "near_duplicate", 3: "near_duplicate"}


def test_order_of_rows_changes_nothing():
    rows = [row(i, **(ALIKE if i % 3 == 0 else {}), human_captions=["a"] if i % 7 == 0 else []) for i in range(60)]
    assert decided(rows) == decided(rows[::-1])
    assert sum(each["kept"] for each in decided(rows).values()) == 41


def test_no_two_splits_share_a_cluster():
    rows = [row(i, human_captions=[f"name {i % 40}"]) for i in range(200)]
    found = decided(rows, shares=(0.2, 0.3))
    by_cluster = {}
    for each in found.values():
        by_cluster.setdefault(each["cluster"], set()).add(each["split"])
    assert len(by_cluster) == 40 and all(len(splits) == 1 for splits in by_cluster.values())
    assert {split for splits in by_cluster.values() for split in splits} == {"train", "val", "test"}


@pytest.mark.parametrize("rows", [[], [row(1) | {"reason": "small_side"}]])
def test_nothing_to_decide(rows):
    assert len(decided(rows)) == len(rows)


def test_bytes_of_one_size_come_without_a_copy_of_each():
    column = pyarrow.chunked_array([["ab", "cd"], ["ef"]])
    assert fixed_bytes(column, 2).tobytes() == b"abcdef"
    assert fixed_bytes(column.slice(1), 2).tobytes() == b"cdef"
    assert fixed_bytes(column.slice(0, 0), 2).shape == (0, 2)


def vector(*values):
    return np.asarray(values, dtype="<f2").tobytes()


def test_alike_by_embedding_one_of_each_medium_is_kept():
    rows = [
        row(1, embedding=vector(1, 0)),
        row(2, embedding=vector(10, 1), width=200),
        row(3, embedding=vector(0, 1)),
        row(4, embedding=vector(1, 0), media="video"),
        row(5),
    ]
    found = decided(rows, embeddings=EmbeddingDuplicates(enabled=True, min_cosine=0.9))
    assert reasons(found) == {1: "embedding_duplicate"}
    assert found[1]["cluster"] == found[2]["cluster"] == found[4]["cluster"] != found[3]["cluster"]
    assert reasons(decided(rows)) == {}


def test_alike_by_text():
    rows = [
        row(1, texts=["a red fox in deep snow", "logo"]),
        row(2, texts=["a red fox in deep snows"]),
        row(3, texts=["logo", "nothing of the kind"]),
        row(4, texts=[]),
        row(5, texts=["a red fox"]),
    ]
    found = decided(rows, texts=TextDuplicates(enabled=True, min_jaccard=0.8))
    assert reasons(found) == {2: "text_duplicate", 3: "text_duplicate"}
    assert len({found[key]["cluster"] for key in (1, 2, 3)}) == 1


def test_the_first_kind_of_duplicate_is_the_reason():
    alike = {"embedding": vector(1, 0), "texts": ["the same caption"]}
    rows = [
        row(1, **alike, **TWIN),
        row(2, **alike, **TWIN),
        row(3, **alike, **NEAR),
        row(4, **alike),
        row(5, texts=alike["texts"]),
    ]
    found = decided(
        rows, embeddings=EmbeddingDuplicates(enabled=True), texts=TextDuplicates(enabled=True), shares=(0.0, 0.0)
    )
    assert reasons(found) == {2: "exact_duplicate", 3: "near_duplicate", 4: "embedding_duplicate", 5: "text_duplicate"}


@pytest.mark.parametrize(
    "limits,kinds",
    [
        ({"radius": 8}, {"hash"}),
        ({"min_cosine": 0.9}, {"embedding"}),
        ({"min_jaccard": 0.8}, {"text"}),
        ({"radius": 8, "min_cosine": 0.9, "min_jaccard": 0.8}, {"hash", "embedding", "text"}),
        ({}, set()),
    ],
)
def test_what_is_near_the_test_split_is_not_trained_on(limits, kinds):
    """Source 0 is a benchmark, source 1 is for training; three of its samples are near in one way each."""
    sides = {"embedding": vector(0, 0, 1), "texts": ["nothing of the kind"]}
    rows = [
        row(1, **ALIKE, embedding=vector(1, 0, 0), texts=["a red fox in deep snow"]),
        row(2, **{**sides, "phash": "00ff00ff00ff0ff0", "phash_first": "00ff00ff00ff0ff0"}),
        row(3, **{**sides, "embedding": vector(9, 1, 0)}),
        row(4, **{**sides, "texts": ["a red fox in deep snows", "other"]}),
        row(5, **sides),
    ]
    shares = (np.zeros(2), np.array([1.0, 0.0]))
    settings = DecisionSettings(
        exact_duplicates=True,
        near_duplicates=NearDuplicates(radius=0),
        embedding_duplicates=EmbeddingDuplicates(),
        text_duplicates=TextDuplicates(),
        decontaminate=Decontamination(**limits),
        shares=shares,
        seed=0,
    )
    table = pyarrow.Table.from_pylist(rows, schema=VERDICTS_SCHEMA)
    found = {int(each["key"], 16): each for each in decide(table, np.array([0, 1, 1, 1, 1]), settings).to_pylist()}
    number = {"hash": 2, "embedding": 3, "text": 4}
    assert reasons(found) == {number[kind]: "near_test" for kind in kinds}
    assert found[1]["split"] == "test" and found[5]["split"] == "train"
    assert all(found[number[kind]]["split"] == "" and not found[number[kind]]["kept"] for kind in kinds)


def test_blank_pictures_are_near_nothing():
    rows = [row(1, **ALIKE, phash_contrast=0.0), row(2, **ALIKE, phash_contrast=0.0)]
    found = decided(rows, sources=[0, 1], near=False, test=Decontamination(radius=8))
    assert reasons(found) == {}
