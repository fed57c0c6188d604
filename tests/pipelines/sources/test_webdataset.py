"""Shards of other writers: webdataset's own, tar's, damaged ones, and the whole way through the crawl."""

import asyncio
import http.client
import io
import json
import os
import tarfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import webdataset
import yaml
from PIL import Image
from yarl import URL

from pipelines import crawl
from pipelines.refresh import refresh
from pipelines.shared.layers import read_layer
from pipelines.shared.lock import read_lock
from pipelines.shared.manifests import Manifest, read_manifest
from pipelines.shared.params import load_params
from pipelines.shared.plan import canonical_url
from pipelines.shared.records import Link
from pipelines.shared.serve import serving
from pipelines.shared.shards import read_shard
from pipelines.shared.stage import StageRun
from pipelines.shared.storage import RemoteFolder
from pipelines.sources.webdataset import Config, Source
from tests.pipelines.tar_making import END, base256, header


def links(folder: Path, **settings: object) -> tuple[list[Link], Counter[str]]:
    fetcher = SimpleNamespace(page_counts=Counter())

    async def run() -> list[Link]:
        return [link async for link in Source(Config(folder=str(folder), **settings)).links(fetcher)]

    return asyncio.run(run()), fetcher.page_counts


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_json_with_a_byte_order_mark_is_read_and_what_is_no_object_is_counted(tmp_path: Path) -> None:
    contents = [b'\xef\xbb\xbf{"caption": "kite"}', b'{"caption": ', b'["kite"]', b""]
    members = {
        f"{at}.{kind}": each for at, text in enumerate(contents) for kind, each in (("json", text), ("png", b""))
    }
    write_tar(tmp_path / "a.tar", members | {"4.png": b""})
    found, counts = links(tmp_path, captions=("json.caption",))
    assert [[caption.text for caption in link.captions] for link in found] == [["kite"], [], [], [], []]
    assert counts["text_refused"] == 3


def test_shards_of_webdatasets_writer(tmp_path: Path) -> None:
    with webdataset.ShardWriter(str(tmp_path / "%05d.tar"), maxcount=2, verbose=0) as writer:
        for index, name in enumerate(["red", "green", "blue"]):
            writer.write(
                {"__key__": f"{index:09d}", "jpg": png(name), "txt": f"a {name}\n", "json": {"alt": f"{name}!"}}
            )
    found, counts = links(tmp_path, captions=("json.alt", "txt", "json.none"), origin="human")
    assert [link.url for link in found] == [
        "http://localhost/00000.tar/000000000.jpg",
        "http://localhost/00000.tar/000000001.jpg",
        "http://localhost/00001.tar/000000002.jpg",
    ]
    assert [[(each.text, each.place, each.origin) for each in link.captions] for link in found][2] == [
        ("blue!", "json.alt", "human"),
        ("a blue", "txt", "human"),
    ]
    assert [link.page_url for link in found] == ["00000.tar", "00000.tar", "00001.tar"]
    assert counts == {"fetched": 2}


def test_names_and_groups(tmp_path: Path) -> None:
    write_tar(
        tmp_path / "a.tar",
        {
            "./x/1.seg.png": b"s",
            "./x/1.JPG": b"j",
            "./x/1.txt": b"eins \x00 one",
            "2.txt": b"nothing to see",
            "3 #.png": b"p",
            "3 #.json": b"[" * 100_000,
        },
    )
    found, counts = links(tmp_path, captions=("txt", "json.caption"))
    assert [link.url for link in found] == [
        "http://localhost/a.tar/./x/1.JPG",
        "http://localhost/a.tar/3%20%23.png",
    ]
    assert found[0].captions[0].text == "eins one" and found[1].captions == ()
    assert counts == {"fetched": 1, "no_media": 1, "text_refused": 1}


def test_damaged(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no shards \*\.tar"):
        links(tmp_path)
    write_tar(tmp_path / "a.tar", {"1.png": bytes(2000), "1.txt": b"x", "2.png": bytes(9000)})
    content = (tmp_path / "a.tar").read_bytes()
    for damaged in (content[:2560], content[:3000], content[:7000], b"no tar" * 500):
        (tmp_path / "a.tar").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.tar cannot be read as a tar"):
            links(tmp_path)


def test_captions_that_are_lists_and_texts_that_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def document(value: object) -> bytes:
        return json.dumps({"caption": value}).encode()

    write_tar(
        tmp_path / "a.tar",
        {"0.png": b"p", "0.json": document(["a dog", None, "a \ud800cat"]), "0.txt": "h\u200b\xfcgel".encode()}
        | {"1.png": b"p", "1.json": document({"en": "a"}), "1.txt": b"caf\xe9"}
        | {"2.png": b"p", "2.json": document(7), "2.txt": b"x" * 2_000_000}
        | {"3.png": b"p", "3.json": b'{"caption": "caf\xe9"}', "3.txt": "\u200b\u2800".encode()},
    )
    found, counts = links(tmp_path, captions=("json.caption", "txt"))
    assert [[each.text for each in link.captions] for link in found] == [
        ["a dog", "a cat", "h\u200b\xfcgel"],
        [],
        ["7"],
        [],
    ]
    assert counts == {"fetched": 1, "text_refused": 4}
    assert "a.tar: 4 text_refused: '1.json': neither a text" in caplog.text


def test_every_link_leads_to_its_own_bytes(tmp_path: Path) -> None:
    names = [
        "a b.png",
        "100%.png",
        "x?y#z.png",
        "./in/\u72d0.png",
        "e\u0301.png",
        "a.tar/b.png",
        "in//c.png",
        "\u202e.png",
    ]
    contents = {name: name.encode() for name in names}
    (tmp_path / "deep.tar").mkdir()
    write_tar(tmp_path / "deep.tar" / "a.tar", contents)
    found, _ = links(tmp_path / "deep.tar", captions=("txt",))
    assert len(found) == len(names)
    with serving(tmp_path / "deep.tar") as port:
        for link, name in zip(found, names, strict=True):
            path = URL(canonical_url(link.url), encoded=True).raw_path
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            assert connection.getresponse().read() == contents[name], name


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz"])
def test_shards_end_in_tar(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"shards must match names that end in \.tar, 'a\.\*' matches"):
        links(tmp_path, shards="a.*")


@pytest.mark.parametrize("shards", ["", "/etc/*.tar", "../*.tar", "in/../../*.tar"])
def test_shards_are_inside_the_folder(shards: str) -> None:
    with pytest.raises(ValueError, match="shards must be a pattern of names inside the folder"):
        Config(folder="mine", shards=shards)


@pytest.mark.parametrize(
    "name", ["pipe:touch {}", "$(touch {})", "`touch {}`", "~/x", "$HOME", "{{0..999999999}}", "-"]
)
def test_names_are_names_and_no_commands(tmp_path: Path, name: str) -> None:
    """webdataset itself runs `pipe:` in a shell and expands the rest."""
    mark = tmp_path / "mark"
    for settings in ({"folder": name.format(mark)}, {"folder": str(tmp_path), "shards": f"x{name.format(mark)}.tar"}):
        with pytest.raises(ValueError, match="has no shards"):
            links(Path(settings.pop("folder")), **settings)
    assert not mark.exists()


def test_a_refused_shard_is_named_with_its_member(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"0.png": b"a", "1.png": b"b", "0.txt": b"c", "1.txt": b"d"})
    with pytest.raises(ValueError, match=r"a\.tar cannot be read as a tar: members of the sample '0' stand apart"):
        links(tmp_path)
    (tmp_path / "a.tar").write_bytes(header(b"0.png", base256(-512)) + END)
    with pytest.raises(ValueError, match=r"a\.tar cannot be read as a tar: .* is negative"):
        links(tmp_path)
    (tmp_path / "a.tar").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.tar"))
    with pytest.raises(ValueError, match=r"caf\\udce9\.tar': the name of a shard must be UTF-8"):
        links(tmp_path)


@pytest.mark.parametrize(
    "values", [{"origin": "mine"}, {"captions": ()}, {"captions": ("json.",)}, {"extension_after": "dot"}]
)
def test_config(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        Config(folder="x", **values)


def crawled(folder: str) -> Manifest:
    source = {"module": "webdataset", "folder": folder, "captions": ["txt", "json.caption"]}
    Path("params.yaml").write_text(yaml.safe_dump({"sources": {"mine": source}}))
    refresh()
    options = ("--direct_running_mode=in_memory", "--direct_num_workers=1")
    crawl.run(StageRun(stage="crawl", key="mine", params=load_params(), beam_options=options))
    return read_manifest(Path("data/crawl/mine"))


def test_through_the_crawl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    write_tar(
        Path("mine/a.tar"),
        {"1.png": png("red"), "1.txt": b"a red one", "2.png": b"no picture", "2.txt": b"broken", "./3.png": png("blue")}
        | {"./3.json": json.dumps({"caption": "a blue one"}).encode()},
    )
    manifest, out = crawled("mine"), Path("data/crawl/mine")
    rows = {row["url"]: row for info in manifest.layers for row in read_layer(out, info).to_pylist()}
    samples = [sample for info in manifest.shards for sample in read_shard(out, info)]
    assert sorted(sample.captions[0].text for sample in samples) == ["a blue one", "a red one"]
    assert {sample.media for sample in samples} == {png("red"), png("blue")}
    assert rows["http://localhost/a.tar/2.png"]["reason"] == "type_refused"


def test_shards_on_an_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: str) -> None:
    """The shards and layers of a crawl of the same folder on this machine."""
    monkeypatch.chdir(tmp_path)
    Path("mine/deep").mkdir(parents=True)
    for number, colour in enumerate(["red", "green", "blue"]):
        path = Path("mine", "deep" if number else "", f"{number}.tar")
        write_tar(path, {f"{number}.png": png(colour), f"{number}.txt": colour.encode()})
        RemoteFolder(f"{s3}/theirs").upload(path, path.relative_to("mine").as_posix())
    here, there = crawled("mine"), crawled(f"{s3}/theirs")
    assert (there.shards, there.layers, there.counts) == (here.shards, here.layers, here.counts)
    assert here.counts.kept == 1, "the pattern is that of the folder itself"
    assert list(read_lock()["mine"]["local"]) == [f"{s3}/theirs"]
    write_tar(Path("more.tar"), {"9.png": png("white"), "9.txt": b"more"})
    RemoteFolder(f"{s3}/theirs").upload(Path("more.tar"), "more.tar")
    with pytest.raises(ValueError, match=rf"{s3}/theirs changed since sources.lock was written"):
        options = ("--direct_running_mode=in_memory", "--direct_num_workers=1")
        crawl.run(StageRun(stage="crawl", key="mine", params=load_params(), beam_options=options))
    assert crawled(f"{s3}/theirs").counts.kept == 2
