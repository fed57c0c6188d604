"""Shards: equal bytes for equal samples, nothing lost silently, and what others' loaders make of them."""

import importlib
import io
import json
import subprocess
import sys
import tarfile
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image
from webdataset.tariterators import tar_file_expander, url_opener
from webdataset.writer import TarWriter

from pipelines.shared import shards as module
from pipelines.shared.files import canonical_json
from pipelines.shared.records import Caption, Sample, sample_key
from pipelines.shared.shards import FileInfo, describe, read_shard, write_shard


def picture(index: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def sample(index: int) -> Sample:
    captions = [Caption(text=f"tëxt {index} \u2028", origin="web", place="alt", scores={"clip": 0.25})]
    captions += [Caption(text="second", origin="human")]
    return Sample(
        key=sample_key("test", str(index)),
        extension="png",
        media=picture(index),
        captions=tuple(captions[: index % 3]),
        facts={"url": f"http://a.com/{index}", "width": 8, "nested": {"b": [1, 2], "a": None}},
    )


SAMPLES = tuple(sorted((sample(index) for index in range(10)), key=lambda each: each.key))
KEY = SAMPLES[0].key


def written(folder: Path, samples: tuple[Sample, ...] = SAMPLES) -> FileInfo:
    path = folder / "00000.tar"
    return describe(path, folder, write_shard(path, samples))


def made(folder: Path, members: list[tuple[str, bytes]], change: Callable | None = None) -> FileInfo:
    """A shard with any members, listed in its manifest as if it were ours."""
    path = folder / "00000.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if change:
                change(info)
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return describe(path, folder, 1)


def test_there_and_back(tmp_path: Path) -> None:
    info = written(tmp_path)
    assert info.num_samples == 10 and tuple(read_shard(tmp_path, info)) == SAMPLES


def test_empty_shard(tmp_path: Path) -> None:
    info = written(tmp_path, ())
    assert info.num_samples == 0 and list(read_shard(tmp_path, info)) == []


def test_bytes_are_those_of_webdataset(tmp_path: Path) -> None:
    written(tmp_path)
    with (tmp_path / "theirs.tar").open("wb") as handle:
        writer = TarWriter(handle, user="", group="", mtime=0, encoder=False)
        for each in SAMPLES:
            document = {**each.facts, "captions": [caption.as_dict() for caption in each.captions]}
            text = each.captions[0].text if each.captions else ""
            member = {"txt": text.encode(), "json": canonical_json(document).encode(), each.extension: each.media}
            writer.write({"__key__": each.key, **member})
        writer.close()
    assert (tmp_path / "00000.tar").read_bytes() == (tmp_path / "theirs.tar").read_bytes()


def test_bytes_do_not_depend_on_the_order_of_facts(tmp_path: Path) -> None:
    turned = [
        Sample(
            key=each.key,
            extension=each.extension,
            media=each.media,
            captions=each.captions,
            facts=dict(reversed(each.facts.items())),
        )
        for each in SAMPLES
    ]
    (tmp_path / "b").mkdir()
    assert written(tmp_path).sha256 == written(tmp_path / "b", tuple(turned)).sha256


def test_headers_are_plain(tmp_path: Path) -> None:
    written(tmp_path)
    with tarfile.open(tmp_path / "00000.tar") as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    assert names == sorted(names) and len(names) == 30
    assert {(each.mtime, each.uid, each.gid, each.uname, each.gname, each.mode) for each in members} == {
        (0, 0, 0, "", "", 0o444)
    }
    assert b"PaxHeader" not in (tmp_path / "00000.tar").read_bytes()


def test_loads_in_webdataset(tmp_path: Path) -> None:
    written(tmp_path)
    loaded = list(webdataset.WebDataset(str(tmp_path / "00000.tar"), shardshuffle=False).decode("rgb8"))
    assert [each["__key__"] for each in loaded] == [each.key for each in SAMPLES]
    for theirs, ours in zip(loaded, SAMPLES, strict=True):
        assert theirs["txt"] == (ours.captions[0].text if ours.captions else "")
        assert theirs["json"]["url"] == ours.facts["url"] and theirs["png"].shape == (8, 8, 3)


def test_loads_in_open_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps of open_clip's `--dataset-type webdataset`, with its own grouping of members into samples.

    Its module imports pandas, for CSV files only. It does not know the mark that webdataset 1.0 puts behind each shard,
    so that is turned off.
    """
    importlib.import_module("torchvision.datasets")
    monkeypatch.setitem(sys.modules, "pandas", types.ModuleType("pandas"))
    grouped = importlib.import_module("open_clip_train.data").group_by_keys_nothrow
    written(tmp_path)
    pipeline = webdataset.DataPipeline(
        webdataset.SimpleShardList([str(tmp_path / "00000.tar")]),
        url_opener,
        lambda streams: grouped(tar_file_expander(streams, eof_value=None)),
        webdataset.select(lambda each: "txt" in each and ("png" in each or "jpg" in each)),
        webdataset.decode("pilrgb"),
        webdataset.rename(image="jpg;png;jpeg;webp", text="txt"),
        webdataset.to_tuple("image", "text"),
    )
    pairs = list(pipeline)
    assert len(pairs) == 10
    for (image, text), ours in zip(pairs, SAMPLES, strict=True):
        assert image.size == (8, 8) and text == (ours.captions[0].text if ours.captions else "")


@pytest.mark.parametrize("keys", [(1, 0), (0, 0)])
def test_keys_must_increase(tmp_path: Path, keys: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="keys of a shard must increase"):
        write_shard(tmp_path / "00000.tar", [SAMPLES[index] for index in keys])
    assert list(tmp_path.iterdir()) == [], "nothing is left of it"


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    info = written(tmp_path)
    path = tmp_path / "00000.tar"
    whole = path.read_bytes()
    for length in range(0, len(whole), 512):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is not the file that its manifest lists"):
            list(read_shard(tmp_path, info))


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    info = written(tmp_path)
    path = tmp_path / "00000.tar"
    whole = bytearray(path.read_bytes())
    for place in range(0, len(whole), 64):
        whole[place] ^= 1 << place % 8
        path.write_bytes(whole)
        with pytest.raises(ValueError, match="is not the file that its manifest lists"):
            list(read_shard(tmp_path, info))
        whole[place] ^= 1 << place % 8


def test_cuts_are_noticed_even_if_the_manifest_lists_them(tmp_path: Path) -> None:
    """A manifest with the cut file's digest: the number of samples still tells."""
    written(tmp_path)
    path = tmp_path / "00000.tar"
    whole = path.read_bytes()
    end = whole.rindex(b"ustar") // 512 * 512 + 1024
    for length in range(0, end, 512):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"has \d+ samples|is not a whole tar|must have one picture"):
            list(read_shard(tmp_path, describe(path, tmp_path, 10)))


def test_missing_file(tmp_path: Path) -> None:
    info = written(tmp_path)
    (tmp_path / "00000.tar").unlink()
    with pytest.raises(ValueError, match="is listed in its manifest but missing"):
        list(read_shard(tmp_path, info))


GOOD = [(f"{KEY}.json", b'{"captions": []}'), (f"{KEY}.png", b"x"), (f"{KEY}.txt", b"")]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([(f"../{KEY}.png", b"x")], "is not a plain file <20 hex digits>"),
        ([(f"/{KEY}.png", b"x")], "is not a plain file"),
        ([(f"a/{KEY}.png", b"x")], "is not a plain file"),
        ([(f"./{KEY}.png", b"x")], "is not a plain file"),
        ([(f"{KEY}.pyd", b"x")], "is not a plain file"),
        ([(f"{KEY}.pth", b"x")], "is not a plain file"),
        ([(f"{KEY}.png.gz", b"x")], "is not a plain file"),
        ([(f"{KEY}.__bad__", b"x")], "is not a plain file"),
        ([("__meta__", b"x")], "is not a plain file"),
        ([("cat.png", b"x")], "is not a plain file"),
        ([(f"{KEY.upper()}.png", b"x")], "is not a plain file"),
        ([(f"{KEY}.dot.png", b"x")], "is not a plain file"),
        ([(f"{KEY}\u202e.png", b"x")], "is not a plain file"),
        ([("a" * 300 + ".png", b"x")], "is not a plain file"),
        (GOOD[:1], "must have one picture or clip, a txt and a json member"),
        (GOOD[:2], "must have one picture or clip, a txt and a json member"),
        (GOOD[1:], "must have one picture or clip, a txt and a json member"),
        ([*GOOD, (f"{KEY}.webp", b"x")], "must have one picture or clip"),
        ([*GOOD, GOOD[1]], "stands there twice"),
        ([("f" * 20 + name[20:], content) for name, content in GOOD] + GOOD, "keys must increase"),
        ([GOOD[0], GOOD[1], (f"{'f' * 20}.json", b"{}"), GOOD[2]], "must have one picture or clip"),
        ([(GOOD[0][0], b"{"), *GOOD[1:]], "json is not a sample's: JSONDecodeError"),
        ([(GOOD[0][0], b"{}"), *GOOD[1:]], "json is not a sample's: KeyError"),
        ([(GOOD[0][0], b"[]"), *GOOD[1:]], "json is not a sample's: TypeError"),
        ([(GOOD[0][0], b'{"captions": [{"txt": "a"}]}'), *GOOD[1:]], "json is not a sample's: TypeError"),
        ([(GOOD[0][0], b'{"captions": [{"text": "a", "origin": "me"}]}'), *GOOD[1:]], "origin must be one of"),
        ([*GOOD, *[("f" * 20 + name[20:], content) for name, content in GOOD]], "has 2 samples, its manifest lists 1"),
        ([], "has 0 samples, its manifest lists 1"),
    ],
)
def test_other_members_are_refused(tmp_path: Path, members: list[tuple[str, bytes]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(read_shard(tmp_path, made(tmp_path, members)))


def test_the_good_members_are_good(tmp_path: Path) -> None:
    (found,) = read_shard(tmp_path, made(tmp_path, GOOD))
    assert found == Sample(key=KEY, extension="png", media=b"x", captions=())


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    def change(info: tarfile.TarInfo) -> None:
        if info.name.endswith("png"):
            info.type, info.size, info.linkname = kind, 0, "/etc/passwd"

    with pytest.raises(ValueError, match="is not a plain file"):
        list(read_shard(tmp_path, made(tmp_path, GOOD, change)))


def test_extended_headers_are_refused(tmp_path: Path) -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.pax_headers = {"comment": "x"}

    with pytest.raises(ValueError, match="is not a plain file"):
        list(read_shard(tmp_path, made(tmp_path, GOOD, change)))


@pytest.mark.parametrize("junk", [b"", b"\x00" * 100, b"not a tar" * 200, b"\x1f\x8b" + bytes(600)])
def test_no_tar_at_all(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "00000.tar"
    path.write_bytes(junk)
    with pytest.raises(ValueError, match="is not a whole tar file"):
        list(read_shard(tmp_path, describe(path, tmp_path, 1)))


def test_torch_stays_out() -> None:
    """The reason for tarfile: nothing that this module imports loads torch."""
    code = f"import sys, {module.__name__}; sys.exit('torch' in sys.modules or 'webdataset' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_info_as_json() -> None:
    assert json.dumps(FileInfo(name="a", num_samples=1, num_bytes=2, sha256="3").as_dict(), sort_keys=True) == (
        '{"name": "a", "num_bytes": 2, "num_samples": 1, "sha256": "3"}'
    )
