"""What every source plug-in owes, whichever it is: the protocol, a stream, one order, links that can be crawled."""

import asyncio
import dataclasses
import importlib
import inspect
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pipelines.shared.fetch import Fetcher
from pipelines.shared.fetch_settings import FetchSettings
from pipelines.shared.guard import Guard
from pipelines.shared.params import plugin_names
from pipelines.shared.records import ORIGINS, Link
from pipelines.shared.serve import serving
from pipelines.shared.texts import clean_text

NAMES = plugin_names("pipelines.sources")
PAGE = """<figure><img src="a.png" alt="a"><figcaption>one</figcaption></figure><img src="a.png" alt="b">
    <img src="c.png" alt="c">"""


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """Settings by which each source gives two pictures, one of them twice; a new source adds its own here."""
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "list.csv").write_text(
        "url,caption\nhttp://localhost/a.png,one\nhttp://localhost/a.png,b\nhttp://localhost/c.png,c\n"
    )
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for name, content in (
            ("a.png", b"a"),
            ("a.txt", b"one"),
            ("b/a.png", b"a"),
            ("b/a.txt", b"b"),
            ("c.txt", b"c"),
            ("c.png", b"c"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return {
        "html_site": {"start": ""},
        "url_list": {"path": str(tmp_path / "list.csv")},
        "webdataset": {"folder": str(tmp_path)},
    }


def read(name: str, values: dict[str, Any], folder: Path) -> list[Link]:
    module = importlib.import_module(f"pipelines.sources.{name}")

    async def run(port: int) -> list[Link]:
        async with Fetcher(FetchSettings(guard=Guard(served_port=port, only_served=True))) as fetcher:
            return [link async for link in module.Source(module.Config(**values)).links(fetcher)]

    with serving(folder) as port:
        return asyncio.run(run(port))


def test_every_source_is_in_this_test(settings: dict) -> None:
    assert set(settings) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_protocol(name: str, settings: dict) -> None:
    module = importlib.import_module(f"pipelines.sources.{name}")
    parameters = module.Config.__dataclass_params__
    assert dataclasses.is_dataclass(module.Config) and parameters.frozen
    assert all(field.kw_only for field in dataclasses.fields(module.Config))
    assert hasattr(module.Config, "__slots__") and module.Config.__doc__ and module.__doc__
    source = module.Source(module.Config(**settings[name]))
    assert inspect.isasyncgenfunction(source.links), "links are a stream"
    assert all(isinstance(path, str) and Path(path).is_file() for path in source.files())


@pytest.mark.parametrize("name", NAMES)
def test_links(name: str, settings: dict, tmp_path: Path) -> None:
    links = read(name, settings[name], tmp_path)
    assert all(link.url.startswith("http://localhost/") for link in links)
    assert [link.url.rpartition("/")[2] for link in links].count("a.png") == 2
    assert {link.url.rpartition("/")[2] for link in links} == {"a.png", "c.png"}
    assert len(links) == 3, "merging equal URLs is the crawl's work"
    for link in links:
        assert link.page_url and link.captions
        for caption in link.captions:
            assert caption.origin in ORIGINS and caption.place and caption.text == clean_text(caption.text)
            assert not caption.model_sha256 and not caption.scores


@pytest.mark.parametrize("name", NAMES)
def test_same_order_every_time(name: str, settings: dict, tmp_path: Path) -> None:
    assert read(name, settings[name], tmp_path) == read(name, settings[name], tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_read_is_a_user_error(name: str, settings: dict, tmp_path: Path) -> None:
    (tmp_path / "index.html").unlink()
    (tmp_path / "list.csv").unlink()
    (tmp_path / "shard.tar").unlink()
    with pytest.raises(ValueError, match=r"cannot be read|does not exist|has no shards"):
        read(name, settings[name], tmp_path)
