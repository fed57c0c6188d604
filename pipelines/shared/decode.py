"""Untrusted bytes to pixels and back: the door to `pictures` (by Pillow) and `clips` (by PyAV), each from memory.

What a format is, its magic bytes decide, never a name or a content type. Sizes are read from the header and compared
with the limits before a pixel is allocated.

Pixels are uint8 RGB, defined as follows: of an animation the first frame that browsers show, Exif orientation applied
(no other metadata is read), transparency composited on white, 16-bit grey scaled to 8 bits, of 16-bit colours the upper
8 bits, CMYK converted by Pillow, ICC profiles ignored; of clips the display rotation is applied and the sample aspect
ratio ignored.

Why `annotate`, `pack` and `report` call this in their own process, and the crawl in a sandbox: they decode only bytes
that the crawl's child has decoded to the end by these same functions, with limits no lower than the crawl's, and whose
sha256 `read_shard` compares with the manifest's before the first is opened. What could crash, hang or swell has done so
in the crawl, to one child, and has become a row without a sample. A test holds that whatever `examine` takes opens here
with the size that it said. Shards that somebody else made must be crawled (source `webdataset`), never read directly.
"""

from pipelines.shared.clips import clip_frames, clip_size, encode_clip, evenly_spaced
from pipelines.shared.containers import sniff
from pipelines.shared.pictures import (
    animation_frames,
    animation_rate,
    encode_image,
    image_size,
    is_shown_otherwise,
    open_image,
)

__all__ = [
    "animation_frames",
    "animation_rate",
    "clip_frames",
    "clip_size",
    "encode_clip",
    "encode_image",
    "evenly_spaced",
    "image_size",
    "is_shown_otherwise",
    "open_image",
    "sniff",
]
