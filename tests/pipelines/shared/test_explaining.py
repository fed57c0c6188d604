import pytest

from pipelines.shared.explaining import explain, find
from pipelines.shared.files import write_json
from pipelines.shared.layers import write_layer
from pipelines.shared.manifests import Counts, Manifest, read_manifest, write_manifest
from pipelines.shared.recaptioning import CANDIDATES_SCHEMA, candidates_schema
from pipelines.shared.records import Caption
from pipelines.shared.shards import describe, read_shard
from pipelines.shared.stage import DATA, RUNS
from tests.pipelines.builders import WORLD, build_world, key_of


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("world"))
        yield build_world()


def lines(params, query):
    return explain(params, query).splitlines()


def test_a_kept_sample(world):
    key = key_of("web", "good7")
    found = lines(world, key)
    assert found[0] == f"{key}  success"
    assert "  url           http://web.test/good7" in found
    assert "  1  web alt: two.PNG" in found
    assert any(line.split()[:1] == ["phash"] for line in found)
    assert any(line.startswith("  kept for ") for line in found)
    assert "  rule patterns: caption 0 passes, caption 1 FAILS (caption_pattern), caption 2 passes" in found
    assert "  rule side: passes" in found
    home = found.index(next(line for line in found if line.startswith("pack pictures: ")))
    assert found[home + 1 : home + 3] == ["  0  web alt: picture number 7", "  1  web alt: a word or two"]
    assert not any(line.startswith("pack clips") for line in found)


def test_a_rejected_sample(world):
    found = lines(world, key_of("web", "small"))
    assert "  rejected: small_side by the rule side" in found
    assert "  rule side: FAILS (small_side)" in found and "  rule shape: passes" in found


def test_a_link_that_was_lost(world):
    found = lines(world, "http://web.test/gone")
    assert found[0] == f"{key_of('web', 'gone')}  failed  http_404"
    assert "  rejected: crawl:http_404" in found
    assert not any("rule" in line for line in found)


def test_a_duplicate_names_its_twin(world):
    keys = sorted((key_of("web", "copy"), key_of("web", "good3")))
    found = lines(world, keys[1])
    assert "  rejected: exact_duplicate" in found
    cluster = next(line for line in found if line.startswith("  cluster "))
    assert cluster.startswith(f"  cluster {keys[0]}: {keys[0]} ") and f"{keys[1]} exact_duplicate" in cluster


def test_the_beginning_of_a_key_is_enough(world):
    key = key_of("moving", "clip2")
    assert find(world, key[:12]).key == key


def test_several_and_none_are_explained(world):
    with pytest.raises(ValueError, match=r"links match '[0-9a-f]'; name one of them by its key: [0-9a-f]{20} \("):
        find(world, key_of("web", "good1")[0])
    for query in ("f" * 20, "http://web.test/never"):
        with pytest.raises(ValueError, match="no link of the crawled sources has a key that begins with"):
            find(world, query)


def test_changed_rules_are_said(world):
    base = WORLD["filters"]["base"]
    changed = {**base, "rules": {"side": {"module": "min_side", "min_side_px": 100}}}
    found = lines({**world, "filters": {"base": changed}}, key_of("web", "good7"))
    assert "  params.yaml has changed since; its rules now say:" in found
    assert "  rule side: FAILS (small_side)" in found


def test_candidates_and_models(world):
    folder, pack = DATA / "recaption" / "first", DATA / "pack" / "pictures"
    info = read_manifest(pack).files("train/")[0]
    rows = []
    for sample in read_shard(pack, info):
        new = Caption(text="written", origin="synthetic", place="captioner", scores={"match": 0.25})
        rows.append({"key": sample.key, "candidates": [{**new.as_dict(), "kept": False}]})
    path = folder / "train" / "00000.parquet"
    layer = describe(path, folder, write_layer(path, rows, CANDIDATES_SCHEMA))
    counts = Counts(num_in=layer.num_samples, kept=layer.num_samples)
    write_manifest(
        folder,
        Manifest(stage="recaption", instance="first", settings_digest="0" * 64, counts=counts, layers=(layer,)),
    )
    write_json(RUNS / "tiny" / "config.json", {"format_version": 1, "step": 1, "pack": {"key": "pictures"}})
    params = {**world, "recaptions": {"first": {}, "never": {}}, "models": {"tiny": {}, "untrained": {}}}
    found = lines(params, rows[0]["key"])
    assert "  0  synthetic captioner match 0.250: written  [REJECTED]" in found
    assert found[-2:] == ["models trained on it", "  tiny"]


def test_why_a_sample_was_not_judged(world):
    folder, pack = DATA / "recaption" / "first", DATA / "pack" / "pictures"
    (sample, *_) = read_shard(pack, read_manifest(pack).files("train/")[0])
    own = [{**caption.as_dict(), "kept": False} for caption in sample.captions]
    schema = candidates_schema(has_provenance=False, has_errors=True)
    path = folder / "train" / "00000.parquet"
    row = {"key": sample.key, "candidates": own, "error": "out_of_memory"}
    layer = describe(path, folder, write_layer(path, [row], schema))
    counts = Counts(num_in=1, kept=0, failed={"out_of_memory": 1})
    manifest = Manifest(stage="recaption", instance="first", settings_digest="0" * 64, counts=counts, layers=(layer,))
    write_manifest(folder, manifest)
    assert "  failed: out_of_memory" in lines({**world, "recaptions": {"first": {}}}, sample.key)
