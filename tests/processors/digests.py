"""Digests of all that the data stages make of real samples: `python -m tests.processors.digests [--large]`.

Runs under an emulated processor too, so it imports little, and PyTorch only for large pictures. Encoders, resize modes
and annotators are found, not listed: what is new takes part by itself, or fails until it is said here how it is fed.
Prints a JSON object of names and sha256 digests.
"""

import hashlib
import importlib
import inspect
import io
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.shared.annotating import AnnotateShard, AnnotatorSpec
from pipelines.shared.crawling import FACTS_SCHEMA
from pipelines.shared.decode import clip_frames, evenly_spaced, open_image
from pipelines.shared.examine import examine
from pipelines.shared.files import digest_file
from pipelines.shared.layers import read_layer, write_layer
from pipelines.shared.media import MediaError, MediaLimits
from pipelines.shared.packing import OutputShard, PackEntry, PackShard, Part
from pipelines.shared.params import plugin_names
from pipelines.shared.records import Caption, Sample, sample_key
from pipelines.shared.resize import LARGE_PX, RESIZE_MODES, resized
from pipelines.shared.shards import FileInfo, describe, write_shard

SITE = Path(__file__).resolve().parents[2] / "examples/site"
PICTURES_PER_KIND, NUM_CLIPS, CLIP_FRAMES = 4, 2, 6
NETWORKS = {  # their values are a model's, which no stage promises to be equal on every processor
    *("aesthetic", "clip_score", "embeddings", "frame_text_score", "image_text", "match_score", "nsfw"),
}
ARPA = """\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-1.3\t<unk>
-99\t<s>\t-0.3
-0.6\t</s>
-0.5\tred\t-0.2
-0.7\ta

\\2-grams:
-0.1\t<s> red
-0.4\tred a

\\end\\
"""
CAPTION = re.compile(r'src="([^"]+)"[^>]*?(?:alt|title)="([^"]+)"')


def main(arguments: list[str]) -> None:
    print(json.dumps(large_digests() if "--large" in arguments else digests()))


def digests() -> dict[str, str]:
    """Of everything but large pictures."""
    found: dict[str, str] = {}
    samples = list(examined(found))
    encoded(samples, found)
    for mode in RESIZE_MODES:
        for size_px in (48, 224):
            pictures = [resized(open_image(sample.media), size_px, mode) for sample in samples if not sample.is_video]
            found[f"resize {mode} {size_px}"] = digest(np.asarray(picture).tobytes() for picture in pictures)
    with tempfile.TemporaryDirectory() as folder:
        stages(samples, Path(folder), found)
    return found


def large_digests() -> dict[str, str]:
    """Of pictures that PyTorch resizes: real ones, enlarged and put side by side in a way of this file's own."""
    pictures = [pixels for path in site_files("webp")[:12:3] if (pixels := enlarged(path)).size >= 3 * LARGE_PX]
    assert len(pictures) >= 2
    return {
        f"resize large {mode} {size_px}": digest(
            np.asarray(resized(Image.fromarray(pixels), size_px, mode)).tobytes() for pixels in pictures
        )
        for mode in RESIZE_MODES
        for size_px in (64, 224, 500, 1100)
    }


def enlarged(path: Path) -> np.ndarray:
    """A picture of 700 to 1000 px out of a small one: each pixel a block, with grain that integers make."""
    pixels = np.asarray(open_image(path.read_bytes()))
    factor = -(-700 // min(pixels.shape[:2]))
    large = np.repeat(np.repeat(pixels, factor, axis=0), factor, axis=1).astype(np.int64)
    rows, columns, channels = np.indices(large.shape)
    grain = (rows * 7919 + columns * 104_729 + channels * 31) % 23 - 11
    return np.clip(large + grain, 0, 255).astype(np.uint8)


def digest(parts: Iterator[bytes] | list[bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()


def site_files(kind: str) -> list[Path]:
    """Pictures and clips of the embedded site, those that the crawl refuses among them."""
    return sorted(SITE.rglob(f"*.{kind}"))


def captions() -> dict[str, str]:
    """The site's own texts by the names of its files."""
    pages = sorted(SITE.rglob("*.html"))
    return {Path(src).name: text for page in pages for src, text in CAPTION.findall(page.read_text(errors="replace"))}


def bodies() -> Iterator[tuple[str, bytes]]:
    """Real files of every kind, and some of them again in formats that the site does not have."""
    texts = captions()
    for kind in ("jpg", "png", "webp", "gif", "mp4"):
        files = [path for path in site_files(kind) if path.stat().st_size and path.name in texts]
        most = NUM_CLIPS if kind == "mp4" else PICTURES_PER_KIND
        for place in evenly_spaced(len(files), most):
            yield files[place].name, files[place].read_bytes()
    still = [
        open_image(site_files("webp")[place].read_bytes()).resize((40, 30), Image.Resampling.BOX) for place in (0, 9)
    ]
    for name, mode, kind in (("cmyk", "CMYK", "JPEG"), ("palette", "P", "PNG"), ("grey", "LA", "PNG")):
        yield f"{name}.x", saved(still[0].convert(mode), kind)
    sixteen = np.asarray(still[0].convert("L"), dtype=np.uint16) * 257
    yield "sixteen.x", saved(Image.fromarray(sixteen), "PNG")
    for kind in ("GIF", "WEBP", "PNG"):
        yield f"moving-{kind}.x", saved(still[0], kind, save_all=True, append_images=still[1:], duration=120)


def saved(image: Image.Image, kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def examined(found: dict[str, str]) -> Iterator[Sample]:
    """What the crawl makes of each file: a sample with its facts."""
    texts, media = captions(), dict(bodies())
    for name, body in sorted(media.items(), key=lambda item: sample_key("site", item[0])):
        try:
            seen = examine(body, MediaLimits())
        except MediaError as error:
            found[f"examine {name}"] = error.reason
            continue
        content = seen.converted or body
        facts = {
            **{fact: getattr(seen, fact) for fact in ("width", "height", "num_frames", "duration_sec", "content_type")},
            **{"source": "site", "url": name, "page_url": "", "sha256": hashlib.sha256(body).hexdigest()},
        }
        found[f"examine {name}"] = digest([content, repr(facts).encode()])
        pixels = clip_frames(content)[0] if seen.extension == "mp4" else np.asarray(open_image(content))
        found[f"decode {name}"] = digest([pixels.tobytes()])
        text = Caption(text=texts.get(name, name), origin="web", place="alt")
        yield Sample(
            key=sample_key("site", name), extension=seen.extension, media=content, captions=(text,), facts=facts
        )


def encoded(samples: list[Sample], found: dict[str, str]) -> None:
    """Every encoder, fed by the names and kinds of what it takes."""
    stills = [open_image(sample.media) for sample in samples if not sample.is_video]
    clips = [clip_frames(sample.media, CLIP_FRAMES)[0] for sample in samples if sample.is_video]
    clips.append(np.stack([np.asarray(resized(Image.fromarray(frame), 32, "border")) for frame in clips[0]]))
    for name, encode in encoders():
        takes = set(inspect.signature(encode).parameters)
        if {"image", "extension"} <= takes:
            for extension in ("jpg", "png", "webp"):
                found[f"{name} {extension}"] = digest(encode(image, extension) for image in stills)
        elif {"frames", "frames_per_sec"} <= takes:
            found[name] = digest(encode(frames, 12.5) for frames in clips)
        else:
            raise AssertionError(f"say in {__file__} how {name} is fed: it takes {sorted(takes)}")


def encoders() -> list[tuple[str, Callable[..., bytes]]]:
    """Public functions of the data stages' code that are called `encode_...`."""
    found = {}
    for path in sorted((SITE.parents[1] / "pipelines/shared").glob("*.py")):
        for name in re.findall(r"^def (encode_\w+)\(", path.read_text(), re.MULTILINE):
            found[name] = getattr(importlib.import_module(f"pipelines.shared.{path.stem}"), name)
    assert len(found) >= 2, "encoders have other names now"
    return sorted(found.items())


def annotators(folder: Path) -> list[AnnotatorSpec]:
    """Every annotator without a network whose packages are there."""
    model = folder / "model.arpa"
    model.write_text(ARPA)
    given = {"caption_perplexity": {"model": str(model), "sha256": digest_file(model)}}
    specs = []
    for name in plugin_names("pipelines.annotators"):
        if name in NETWORKS:
            continue
        plugin = importlib.import_module(f"pipelines.annotators.{name}")
        spec = AnnotatorSpec(name, plugin.Config(**given.get(name, {})))
        try:
            getattr(spec.build(), "load", lambda: None)()
        except ValueError as error:
            if "pip install" not in str(error):
                raise
            continue
        specs.append(spec)
    return specs


def stages(samples: list[Sample], folder: Path, found: dict[str, str]) -> None:
    """The files that the crawl, `annotate` and `pack` write of a shard; of the annotations each annotator's apart."""
    crawl, scratch = folder / "crawl", folder / "scratch"
    tar, layer = crawl / "0.tar", crawl / "0.parquet"
    info = describe(tar, crawl, write_shard(tar, samples))
    write_layer(layer, [facts_row(sample) for sample in samples], FACTS_SCHEMA)
    found["write_shard"], found["write_layer"] = info.sha256, digest_file(layer)
    specs = annotators(folder)
    result = AnnotateShard(folder=crawl, specs=tuple(specs), taken=())(info.as_dict(), scratch)
    assert not result["failed"], f"annotate failed on {result['failed']}"
    written = FileInfo(**result["layer"])
    found["stage annotate"] = written.sha256
    for spec in specs:
        columns = read_layer(scratch, written, list(spec.build().columns)).to_pydict()
        found[f"annotate {spec.module}"] = digest([repr(sorted(columns.items())).encode()])
    for media in ("image", "video"):
        picks = {sample.key: [0] for sample in samples if sample.is_video == (media == "video")}
        output = OutputShard(f"{media}/0.tar", (Part(crawl, info, picks),))
        entry = PackEntry(filter="f", size_px=64, media=media, max_frames=CLIP_FRAMES)
        result = PackShard(entry)(output, scratch)
        assert not result["failed"], f"pack failed on {result['failed']}"
        found[f"stage pack {media}"] = result["shard"]["sha256"]


def facts_row(sample: Sample) -> dict[str, object]:
    known = {name: value for name, value in sample.facts.items() if name in FACTS_SCHEMA.names}
    return {"key": sample.key, **known, "captions": [caption.as_dict() for caption in sample.captions]}


if __name__ == "__main__":
    main(sys.argv[1:])
