"""`croissant.json` is what the format's own implementation accepts, and what it loads is what the shards hold."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.shared.decode import open_image
from pipelines.shared.manifests import read_manifest, write_manifest
from pipelines.shared.reporting.croissant import croissant
from pipelines.shared.shards import read_shard
from tests.pipelines.shared.reporting import world

mlcroissant = pytest.importorskip("mlcroissant")


@pytest.fixture
def described(tmp_path: Path) -> Path:
    world.write_web_pack(tmp_path / "data" / "pack" / "web")
    document = croissant("Squares", tmp_path / "data" / "pack", ["web"], ["CC0-1.0"], "../data/pack/")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "croissant.json").write_text(json.dumps(document))
    return tmp_path


def load(root: Path) -> "mlcroissant.Dataset":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mlcroissant.Dataset(root / "reports" / "croissant.json")


def test_valid_and_complete(described: Path) -> None:
    metadata = load(described).metadata
    assert not metadata.issues.errors
    recommended = {warning.partition('Property "')[2].partition('"')[0] for warning in metadata.issues.warnings}
    # there is no paper to cite, and a date would be another one at every build
    assert recommended <= {"http://mlcommons.org/croissant/citeAs", "https://schema.org/datePublished"}
    document = json.loads((described / "reports" / "croissant.json").read_text())
    shards = {each["@id"]: each for each in document["distribution"] if each["@type"] == "cr:FileObject"}
    for info in read_manifest(described / "data" / "pack" / "web").shards:
        shard = shards[f"web/{info.name}"]
        assert (shard["sha256"], shard["contentSize"]) == (info.sha256, f"{info.num_bytes} B")
        assert (described / "reports" / shard["contentUrl"]).is_file()
    assert document["license"] == ["CC0-1.0"]


def test_what_it_loads_is_what_the_shards_hold(described: Path) -> None:
    pack = described / "data" / "pack" / "web"
    samples = [sample for info in read_manifest(pack).files("test/") for sample in read_shard(pack, info)]
    dataset = load(described)
    pictures = {each["web/test/key"]: each["web/test/image"] for each in dataset.records("web/test")}
    texts = {
        each["web/test/captions/key"]: each["web/test/captions/caption"]
        for each in dataset.records("web/test/captions")
    }
    assert len(samples) == len(pictures) == len(texts)
    for sample in samples:
        key = sample.key.encode()
        assert np.array_equal(np.asarray(pictures[key].convert("RGB")), np.asarray(open_image(sample.media)))
        assert texts[key] == sample.captions[0].text.encode()


def test_the_version_follows_the_data(described: Path) -> None:
    def version(*licences: str) -> str:
        return str(croissant("Squares", described / "data" / "pack", ["web"], licences, "x/")["version"])

    before = version()
    assert before == version("CC0-1.0")
    folder = described / "data" / "pack" / "web"
    write_manifest(folder, replace(read_manifest(folder), instance="other"))
    assert version() != before
    assert "license" not in croissant("Squares", described / "data" / "pack", ["web"], [], "x/")
