"""Samples that strangers have broken, by what is wrong with them."""

import io
from fractions import Fraction

import av
import numpy as np

from pipelines.shared.decode import encode_clip
from pipelines.shared.records import Sample
from tests.pipelines.builders import captions, drawing, encoded

FACTS = {"source": "s", "url": "u", "page_url": "p", "sha256": "d", "width": 64, "height": 64, "num_frames": 1}
CLIP_FACTS = {**FACTS, "num_frames": 6, "duration_sec": 0.6}


def moving(count: int, width: int, height: int) -> list[np.ndarray]:
    return [np.asarray(drawing(index, width, height)) for index in range(count)]


def clip_of_two_sizes() -> bytes:
    """An MP4 whose second half has frames of another size than the first and the header."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for frame in moving(3, 48, 32):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
        other = av.CodecContext.create("libx264", "w")
        other.width, other.height, other.pix_fmt, other.options = 64, 64, "yuv420p", {"bf": "0"}
        other.time_base, other.framerate = Fraction(1, 10), Fraction(10)
        packets = []
        for number, frame in enumerate(moving(3, 64, 64)):
            shown = av.VideoFrame.from_ndarray(frame, format="rgb24")
            shown.pts = number
            packets += other.encode(shown)
        for number, packet in enumerate([*packets, *other.encode()], start=3):
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 10), number, number
            container.mux(packet)
    return buffer.getvalue()


def broken_media() -> dict[str, tuple[str, bytes]]:
    """Extension and bytes by what is wrong with them."""
    png, jpg = encoded(drawing(1), "png"), encoded(drawing(1), "jpg")
    clip = encode_clip(moving(6, 64, 64), 10.0)
    noise = np.random.default_rng(0).bytes(500)
    return {
        "empty picture": ("png", b""),
        "empty clip": ("mp4", b""),
        "magic alone": ("png", png[:8]),
        "cut picture": ("jpg", jpg[: len(jpg) // 2]),
        "overwritten picture": ("png", png[:60] + noise[:40] + png[100:]),
        "cut clip": ("mp4", clip[: len(clip) // 2]),
        "overwritten clip": ("mp4", clip[:-400] + noise[:400]),
        "clip as picture": ("png", clip),
        "picture as clip": ("mp4", png),
        "noise": ("webp", noise),
        "clip of two sizes": ("mp4", clip_of_two_sizes()),
        "another picture's name": ("jpg", png),
    }


TEXTS = {
    "empty": "",
    "space": " \t\n",
    "invisible": "\u200b\u2060\ufeff\u00ad",
    "marks": "a" + "\u0301" * 100_000,
    "marks alone": "\u0301\u0940\u093f",
    "long": "word " * 4_000,
    "one word": "x" * 20_000,
    "NUL": "a\x00b",
    "escape": "\x1b[2J\x07",
    "bidi": "\u202egnp.exe\u2066",
    "private": "\ue000\U0010ffff\ufffe",
    "digits": "\u0661\u00b2\u2460" * 10,
    "html": "<script>alert(1)</script>",
    "formula": "=1+1",
    "addresses": "@" * 5000 + "www." * 5000,
}
HALVES = {"high half": "a \ud83d b", "low half": "\udd8a", "swapped": "\udd8a\ud83e"}
HOSTILE_FACTS = {
    "none": {},
    "wrong kinds": {**CLIP_FACTS, "duration_sec": "long", "num_frames": None, "width": [], "height": {}},
    "zeros": {**CLIP_FACTS, "num_frames": 0, "duration_sec": 0.0, "width": 0},
    "huge": {**CLIP_FACTS, "num_frames": 10**30, "duration_sec": 1e308},
    "tiny": {**CLIP_FACTS, "duration_sec": 5e-324},
    "negative": {**CLIP_FACTS, "num_frames": -5, "duration_sec": -1.0},
    "enormous": {**CLIP_FACTS, "url": "u" * 5_000_000, "more": {str(i): [i] * 10 for i in range(10_000)}},
    "half a pair": {**CLIP_FACTS, "source": "\ud800", "url": "\udfff"},
}


def hostile_samples() -> dict[str, Sample]:
    """Samples by what is wrong with them, between two good ones."""
    clip = encode_clip(moving(6, 64, 64), 10.0)
    named = {"good first": ("png", encoded(drawing(0)), captions("a good one"), FACTS)}
    for name, (extension, media) in broken_media().items():
        named[name] = (extension, media, captions("a caption"), CLIP_FACTS)
    for name, text in {**TEXTS, **HALVES}.items():
        named[f"text: {name}"] = ("png", encoded(drawing(1)), captions(text), FACTS)
    for name, facts in HOSTILE_FACTS.items():
        named[f"facts: {name}"] = ("mp4", clip, captions("a caption"), facts)
    named["no captions"] = ("png", encoded(drawing(1)), (), FACTS)
    named["many captions"] = ("png", encoded(drawing(1)), captions(*["a b"] * 10_000), FACTS)
    named["good last"] = ("png", encoded(drawing(2)), captions("another good one"), FACTS)
    return {
        name: Sample(key=f"{number:020x}", extension=extension, media=media, captions=own, facts=facts)
        for number, (name, (extension, media, own, facts)) in enumerate(named.items())
    }


def storable_samples(hostile: dict[str, Sample]) -> dict[str, Sample]:
    """Those that a shard can hold: its members are UTF-8."""
    return {name: each for name, each in hostile.items() if not any(half in name for half in ("half", "swapped"))}
