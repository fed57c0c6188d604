"""What is said of packs."""

from pathlib import Path

from pipelines.shared.manifests import manifest_digest
from pipelines.shared.reporting.packs import pack_facts, pack_keys, pack_licences, pack_sources
from tests.pipelines.shared.reporting import world

PARAMS = {
    "filters": {"base": {"sources": ("a", "b")}},
    "packs": {"web": {"filter": "base"}},
    "repacks": {"once": {"pack": "web"}, "twice": {"pack": "once"}},
}


def test_sources_of_packs_and_of_what_is_made_of_them() -> None:
    assert pack_keys(PARAMS) == ["once", "twice", "web"]
    assert {key: pack_sources(PARAMS, key) for key in pack_keys(PARAMS)} == dict.fromkeys(
        ("once", "twice", "web"), ("a", "b")
    )


def test_licences_by_pack_and_source() -> None:
    assert pack_licences(PARAMS, {"a": "CC0-1.0", "elsewhere": "MIT"})["twice"] == {"a": "CC0-1.0", "b": ""}


def test_facts_are_the_manifest_s(tmp_path: Path) -> None:
    world.write_web_pack(tmp_path / "web")
    (found,) = pack_facts(tmp_path, ["web"])
    assert (found.media, found.num_shards, found.splits["test"]) == ("image", 2, 11)
    assert found.captions == {"human": 34, "web": 22}, "origins without a caption are left out"
    assert found.num_bytes == sum(path.stat().st_size for path in (tmp_path / "web").rglob("*.tar"))
    assert found.sha256 == manifest_digest(tmp_path / "web")
