"""Small pictures inside the page, so that it is one file."""

import base64
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from PIL import Image

from pipelines.shared.decode import clip_frames, encode_image, open_image
from pipelines.shared.media import MediaError
from pipelines.shared.records import Sample
from pipelines.shared.shards import FileInfo, read_shard

SIDE_PX = 96
QUALITY = 80


def thumbnails(folder: Path, shards: Collection[FileInfo], keys: Collection[str]) -> dict[str, str]:
    """Data URIs by key of those samples in some shards that are wanted, whole pictures of at most 96 px.

    Args:
        folder: What the shards' names are relative to.
        shards: They are read, and checked, from the first to the last sample.
        keys: Of the wanted samples; those of a clip are shown by its first frame, one that does not decode by nothing.
    """
    found = {}
    for info in shards:
        for sample in read_shard(folder, info):
            if sample.key in keys:
                with suppress(MediaError):  # it was taken, and `annotate` or `pack` has counted it
                    found[sample.key] = picture_uri(encode_image(_small(sample), "webp", QUALITY))
    return found


def data_uri(path: Path) -> str:
    """A WebP file as a `data:` URI."""
    return picture_uri(path.read_bytes())


def picture_uri(webp: bytes) -> str:
    """WebP bytes as a `data:` URI."""
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"


def _small(sample: Sample) -> Image.Image:
    if sample.is_video:
        frames, _ = clip_frames(sample.media, 1)
        image = Image.fromarray(frames[0])
    else:
        image = open_image(sample.media)
    image.thumbnail((SIDE_PX, SIDE_PX))
    return image
