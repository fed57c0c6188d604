"""Small crawls of drawn pictures, in the working directory, for tests of the stages behind the crawl."""

import hashlib
import importlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from pipelines.shared.crawling import FACTS_SCHEMA, SAMPLE_FACTS
from pipelines.shared.decode import encode_clip
from pipelines.shared.layers import write_layer
from pipelines.shared.manifests import Counts, Manifest, write_manifest
from pipelines.shared.ranges import key_ranges
from pipelines.shared.reasons import status_of
from pipelines.shared.records import Caption, Sample, sample_key
from pipelines.shared.shards import describe, write_shard
from pipelines.shared.stage import DATA, StageRun

BEAM = {"direct_running_mode": "in_memory", "direct_num_workers": 1}
ANNOTATORS = {
    "caption-stats": {"module": "caption_stats"},
    "image-stats": {"module": "image_stats"},
    "phash": {"module": "phash"},
}


@dataclass(frozen=True, kw_only=True)
class Item:
    """A link: bytes of a picture or clip, or the reason why there are none."""

    name: str
    media: bytes = b""
    extension: str = "png"
    size: tuple[int, int] = (0, 0)
    num_frames: int = 1
    captions: tuple[Caption, ...] = ()
    reason: str = ""


def drawing(seed: int, width: int = 64, height: int = 64) -> Image.Image:
    """A picture of smooth random colours; other seeds give quite other pictures."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, extension: str = "png", **settings: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[extension], **settings)
    return buffer.getvalue()


def captions(*texts: str, origin: str = "web") -> tuple[Caption, ...]:
    return tuple(Caption(text=text, origin=origin, place="alt") for text in texts)


def picture_item(name: str, image: Image.Image, own: Sequence[Caption], extension: str = "png", **save: Any) -> Item:
    return Item(
        name=name, media=encoded(image, extension, **save), extension=extension, size=image.size, captions=tuple(own)
    )


def clip_item(name: str, frames: Sequence[Image.Image], own: Sequence[Caption], frames_per_sec: float = 8.0) -> Item:
    media = encode_clip([np.asarray(frame) for frame in frames], frames_per_sec)
    return Item(
        name=name,
        media=media,
        extension="mp4",
        size=frames[0].size,
        num_frames=len(frames),
        captions=tuple(own),
    )


def key_of(source: str, name: str) -> str:
    return sample_key(source, url_of(source, name))


def url_of(source: str, name: str) -> str:
    return f"http://{source}.test/{name}"


def write_crawl(source: str, items: Sequence[Item], samples_per_shard: int = 100) -> None:
    """Write `data/crawl/<source>` as the crawl would."""
    folder = DATA / "crawl" / source
    rows = sorted(((facts_row(source, item), item) for item in items), key=lambda pair: pair[0]["key"])
    shards, layers = [], []
    for name, own in key_ranges(rows, lambda pair: pair[0]["key"], samples_per_shard):
        tar, layer = (folder / f"{name}.{extension}" for extension in ("tar", "parquet"))
        samples = [_sample(row, item) for row, item in own if not item.reason]
        shards.append(describe(tar, folder, write_shard(tar, samples)))
        layers.append(describe(layer, folder, write_layer(layer, [row for row, _ in own], FACTS_SCHEMA)))
    lost: dict[str, dict[str, int]] = {"rejected": {}, "failed": {}}
    for item in items:
        if item.reason:
            counts = lost[status_of(item.reason)]
            counts[item.reason] = counts.get(item.reason, 0) + 1
    kept = sum(not item.reason for item in items)
    counts = Counts(num_in=len(items), kept=kept, rejected=lost["rejected"], failed=lost["failed"])
    manifest = Manifest(
        stage="crawl",
        instance=source,
        settings_digest="0" * 64,
        counts=counts,
        shards=tuple(shards),
        layers=tuple(layers),
        details={"num_samples": kept},
    )
    write_manifest(folder, manifest)


def facts_row(source: str, item: Item) -> dict[str, Any]:
    is_video = item.extension == "mp4"
    row = {
        "key": key_of(source, item.name),
        "source": source,
        "url": url_of(source, item.name),
        "page_url": f"http://{source}.test/",
        "final_url": url_of(source, item.name),
        "captions": [caption.as_dict() for caption in item.captions],
        "status": status_of(item.reason),
        "reason": item.reason,
        "error_message": "",
        "media": "",
        "extension": "",
        "sha256": "",
        "content_type": "",
        "optout": "",
    }
    if item.reason:
        return row
    return row | {
        "media": "video" if is_video else "image",
        "extension": item.extension,
        "width": item.size[0],
        "height": item.size[1],
        "num_frames": item.num_frames,
        "duration_sec": item.num_frames / 8.0 if is_video else 0.0,
        "num_bytes": len(item.media),
        "sha256": hashlib.sha256(item.media).hexdigest(),
        "http_status": 200,
        "content_type": "video/mp4" if is_video else f"image/{item.extension}",
    }


def _sample(row: Mapping[str, Any], item: Item) -> Sample:
    return Sample(
        key=row["key"],
        extension=item.extension,
        media=item.media,
        captions=item.captions,
        facts={name: row[name] for name in SAMPLE_FACTS},
    )


def stage_run(stage: str, key: str, params: Mapping[str, Any]) -> StageRun:
    return StageRun(stage=stage, key=key, params={"beam": BEAM, "annotators": ANNOTATORS, **params})


WORLD: dict[str, Any] = {
    "seed": 0,
    "sources": {"web": {}, "moving": {}},
    "filters": {
        "base": {
            "sources": ("web", "moving"),
            "rules": {
                "words": {"module": "min_words", "min_words": 2},
                "patterns": {"module": "caption_patterns", "patterns": (r"(?i)\.png$",)},
                "side": {"module": "min_side", "min_side_px": 32},
                "shape": {"module": "max_aspect", "max_aspect": 3.0},
            },
            "split": {"val": 0.2, "test": 0.3},
        }
    },
    "packs": {
        "pictures": {"filter": "base", "size_px": 32, "samples_per_shard": 5, "quality": 90},
        "clips": {"filter": "base", "media": "video", "size_px": 32, "max_frames": 4, "origins": ("human",)},
    },
}


def world_items() -> dict[str, list[Item]]:
    """Two sources: pictures of all kinds, and clips that share names with some of them."""
    web = [
        picture_item(f"good{i}", drawing(i), captions(f"picture number {i}", "two.PNG", "a word or two"))
        for i in range(24)
    ]
    web += [
        picture_item("copy", drawing(3), captions("picture number three again")),
        picture_item("saved", drawing(4), captions("picture four"), extension="jpg", quality=80),
        picture_item("small", drawing(50, 20, 40), captions("small but described")),
        picture_item("long", drawing(51, 200, 40), captions("long and thin")),
        picture_item("wordless", drawing(52), captions("one", "file.png")),
        Item(name="gone", reason="http_404", captions=captions("a b")),
        Item(name="denied", reason="robots_denied", captions=captions("a b")),
    ]
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    web.append(picture_item("exif", drawing(60), captions("has a secret"), extension="jpg", exif=exif))
    moving = [
        clip_item(
            f"clip{i}",
            [drawing(100 + i), drawing(200 + i), drawing(300 + i)] * 2,
            captions(f"clip named {i}", origin="human"),
        )
        for i in range(6)
    ]
    moving.append(picture_item("twin", drawing(70), captions("Clip named: 1", origin="human")))
    return {"web": web, "moving": moving}


def build_world(stages: Sequence[str] = ("annotate", "filter", "pack"), **changes: Any) -> dict[str, Any]:
    """Write the two crawls into the working directory and run stages on them; returns the params."""
    params = {"beam": BEAM, "annotators": ANNOTATORS, **WORLD, **changes}
    for source, items in world_items().items():
        write_crawl(source, items, samples_per_shard=12)
    sections = {"annotate": "sources", "filter": "filters", "pack": "packs"}
    for stage in stages:
        module = importlib.import_module(f"pipelines.{stage}")
        for key in params[sections[stage]]:
            module.run(StageRun(stage=stage, key=key, params=params))
    return params
