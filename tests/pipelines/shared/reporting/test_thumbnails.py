"""Small pictures as data URIs."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.shared.decode import encode_clip
from pipelines.shared.records import Sample
from pipelines.shared.reporting.thumbnails import picture_uri, thumbnails
from pipelines.shared.shards import describe, write_shard


def test_picture_uri_holds_the_bytes() -> None:
    assert base64.b64decode(picture_uri(b"abc").partition(",")[2]) == b"abc"


def test_whole_pictures_and_first_frames(tmp_path: Path) -> None:
    wide = io.BytesIO()
    Image.new("RGB", (400, 10), (255, 0, 0)).save(wide, "PNG")
    clip = encode_clip([np.full((64, 64, 3), value, np.uint8) for value in (200, 0, 0)], 5.0)
    samples = [
        Sample(key=f"{number:020x}", extension=extension, media=media, captions=())
        for number, (extension, media) in enumerate([("png", wide.getvalue()), ("mp4", clip), ("mp4", clip)])
    ]
    write_shard(tmp_path / "00000.tar", samples)
    found = thumbnails(tmp_path, [describe(tmp_path / "00000.tar", tmp_path, 3)], {samples[0].key, samples[1].key})
    assert [*found] == [samples[0].key, samples[1].key], "only what is wanted"
    pictures = [Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) for uri in found.values()]
    assert pictures[0].size == (96, 2), "not cropped, though of an aspect that a crawl refuses by default"
    assert np.asarray(pictures[1]).mean() > 150, "the first frame is the bright one"


def test_what_does_not_decode_has_no_picture(tmp_path: Path) -> None:
    handle = io.BytesIO()
    Image.new("RGB", (40, 10), (255, 0, 0)).save(handle, "PNG")
    media = [handle.getvalue(), handle.getvalue()[:60], b"", handle.getvalue()]
    samples = [Sample(key=f"{i:020x}", extension="png", media=each, captions=()) for i, each in enumerate(media)]
    write_shard(tmp_path / "00000.tar", samples)
    keys = [sample.key for sample in samples]
    found = thumbnails(tmp_path, [describe(tmp_path / "00000.tar", tmp_path, 4)], keys)
    assert [*found] == [keys[0], keys[3]]
