from dataclasses import replace

import pytest

from pipelines.shared.files import digest_file
from pipelines.shared.layers import write_layer
from pipelines.shared.recaptioning import CANDIDATES_SCHEMA
from pipelines.shared.records import Sample
from pipelines.shared.repacking import RepackedShard, RepackEntry, RepackShard, chosen_captions
from pipelines.shared.shards import FileInfo, describe, read_shard, write_shard
from tests.pipelines.builders import captions


def candidate(text, origin, kept, **scores):
    return {
        "text": text,
        "origin": origin,
        "place": "",
        "model_sha256": "",
        "scores": list(scores.items()),
        "kept": kept,
    }


CANDIDATES = [
    candidate("web", "web", True, match=0.7),
    candidate("noise", "web", False, match=0.1),
    candidate("name", "human", True),
    candidate("written", "synthetic", True, match=0.9, clip=31.0),
]


@pytest.mark.parametrize(
    "origins,expected",
    [
        (("web", "human", "synthetic"), ["web", "name", "written"]),
        (("synthetic",), ["written"]),
        (("web",), ["web"]),
    ],
)
def test_kept_candidates_of_the_origins(origins, expected):
    assert [caption.text for caption in chosen_captions(CANDIDATES, entry(origins=origins))] == expected


def entry(**settings):
    return RepackEntry(pack="p", recaption="r", **settings)


@pytest.mark.parametrize(
    "threshold,expected",
    [
        (0.0, ["web", "noise", "name", "written"]),
        (0.1, ["web", "noise", "name", "written"]),
        (0.7, ["web", "name", "written"]),
        (0.8, ["name", "written"]),
        (1.0, ["name"]),
    ],
)
def test_another_threshold_than_the_rounds(threshold, expected):
    assert [caption.text for caption in chosen_captions(CANDIDATES, entry(threshold=threshold))] == expected


def test_a_threshold_passes_over_the_ranking_of_the_round():
    ranked_out = candidate("second", "synthetic", False, match=0.8, clip=20.0)
    found = chosen_captions([*CANDIDATES, ranked_out], entry(threshold=0.75, origins=("synthetic",)))
    assert [caption.text for caption in found] == ["written", "second"]


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_a_threshold_is_a_probability(threshold):
    with pytest.raises(ValueError, match=r"threshold must be in \[0, 1\] or absent, got -?[01].1"):
        entry(threshold=threshold)


def test_scores_are_kept():
    assert chosen_captions(CANDIDATES, entry(origins=("synthetic",)))[0].scores == {"match": 0.9, "clip": 31.0}


@pytest.fixture
def shard(tmp_path):
    samples = [
        Sample(key=f"{i:020x}", extension="png", media=bytes([i]), captions=captions("old"), facts={"n": i})
        for i in range(3)
    ]
    return describe(tmp_path / "a.tar", tmp_path, write_shard(tmp_path / "a.tar", samples))


def work(folder):
    return RepackShard(
        entry=RepackEntry(pack="p", recaption="r"), pack_folder=folder, recaption_folder=folder / "recaption"
    )


def layer(folder, rows):
    path = folder / "recaption" / "a.parquet"
    return describe(path, folder / "recaption", write_layer(path, rows, CANDIDATES_SCHEMA))


def test_samples_without_a_caption_are_left_out(tmp_path, shard):
    rows = [
        {"key": f"{i:020x}", "candidates": [candidate("old", "web", False), candidate("new", "synthetic", i != 1)]}
        for i in range(3)
    ]
    result = work(tmp_path)(RepackedShard(shard, layer(tmp_path, rows)), tmp_path / "out")
    found = list(read_shard(tmp_path / "out", FileInfo(**result["shard"])))
    assert [(sample.media, sample.facts, sample.captions[0].text) for sample in found] == [
        (b"\x00", {"n": 0}, "new"),
        (b"\x02", {"n": 2}, "new"),
    ]
    assert result["rejected"] == {"no_caption_kept": 1}
    assert result["num_captions"]["synthetic"] == 2


def test_without_candidates_a_shard_stays_as_it_is(tmp_path, shard):
    result = work(tmp_path)(RepackedShard(shard, None), tmp_path / "out")
    assert digest_file(tmp_path / "out" / "a.tar") == shard.sha256 == result["shard"]["sha256"]
    assert result["num_captions"]["web"] == 3 and result["first_key"] == f"{0:020x}"


def test_candidates_in_another_order_are_our_mistake(tmp_path, shard):
    rows = [{"key": f"{i:020x}", "candidates": CANDIDATES} for i in (0, 1, 7)]
    with pytest.raises(AssertionError, match="not in the pack's order"):
        work(tmp_path)(RepackedShard(shard, layer(tmp_path, rows)), tmp_path / "out")


def test_a_task_is_decided_by_its_two_files(shard):
    candidates = replace(shard, sha256="c" * 64)
    digests = {
        RepackedShard(one, other).task(decided).digest
        for one in (shard, candidates, replace(shard, name="b.tar"))
        for other in (None, shard, candidates)
        for decided in ("x", "y")
    }
    assert len(digests) == 18 and RepackedShard(shard, None).task("x").digest in digests


@pytest.mark.parametrize("origins", [(), ("robot",)])
def test_origins_are_checked(origins):
    with pytest.raises(ValueError, match="origins must be some of web, human, synthetic"):
        RepackEntry(pack="p", recaption="r", origins=origins)
