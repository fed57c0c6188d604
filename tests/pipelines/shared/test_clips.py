"""Clips: bytes that depend on frames alone, whatever the processor and the memory's state; rates, codecs, changes."""

import hashlib
import io
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.shared.clips import clip_frames, clip_size, encode_clip
from pipelines.shared.examine import examine
from pipelines.shared.media import MediaError, MediaLimits
from pipelines.shared.pictures import encode_image
from tests.pipelines.shared.clip_files import changing_clip, clip_by, moving, with_brands, with_cover_first

SIZES = [(32, 32), (32, 48), (34, 64), (16, 16), (48, 20), (64, 64), (33, 47), (96, 40), (128, 128)]
DIGESTS = """
import ctypes, glob, hashlib, json, sys
from pathlib import Path
import av
from pipelines.shared import clips
from tests.pipelines.shared.clip_files import moving
settings = json.loads(sys.argv[1])
clips.X264_OPTIONS["x264-params"] += settings["x264"]
if settings["cpu"] is not None:
    (library,) = glob.glob(str(Path(av.__file__).parents[1] / "av.libs" / "libavutil*"))
    ctypes.CDLL(library).av_force_cpu_flags(settings["cpu"])
digests = []
for number, (width, height) in enumerate(settings["sizes"] * settings["rounds"]):
    media = clips.encode_clip(moving(8, width, height, number), 10)
    digests.append(hashlib.sha256(media).hexdigest())
    digests.append(hashlib.sha256(clips.clip_frames(media)[0].tobytes()).hexdigest())
print(json.dumps(digests))
"""
SSE2_FLAGS = 0x1 | 0x2 | 0x8 | 0x10


def digests(x264: str = "", cpu: int | None = None, perturb: str = "", rounds: int = 2) -> list[str]:
    """Digests of clips and of their decoded frames, made in a process of its own; `cpu` are FFmpeg's flags."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "MALLOC_PERTURB_": perturb}
    request = json.dumps({"x264": x264, "cpu": cpu, "sizes": SIZES, "rounds": rounds})
    done = subprocess.run(
        [sys.executable, "-c", DIGESTS, request],
        env=environment,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def refusal(media: bytes, limits: MediaLimits | None = None) -> str:
    with pytest.raises(MediaError) as caught:
        examine(media, limits or MediaLimits())
    return caught.value.reason


# --- bytes


def test_bytes_depend_neither_on_the_processor_nor_on_what_memory_held() -> None:
    expected = digests()
    assert len(set(expected)) == len(expected)
    for other in (
        {"perturb": "165"},
        {"perturb": "1"},
        {"x264": ":asm=sse2", "cpu": SSE2_FLAGS},
        {"x264": ":no-asm=1", "cpu": 0},
    ):
        assert digests(**other) == expected, f"other bytes with {other}"


def test_one_array_gives_one_string_of_bytes() -> None:
    """Narrow frames are those that x264's AVX-512 code gave other bytes for, from call to call."""
    for width in (16, 32, 34):
        frames = moving(10, width, 48)
        assert len({hashlib.sha256(encode_clip(frames, 10)).digest() for _ in range(12)}) == 1


def test_greys_come_back() -> None:
    """Each colour of a clip without detail is off by little, and to no side: conversion rounds, it does not cut."""
    off = []
    for value in range(0, 256, 5):
        media = encode_clip(np.full((2, 16, 16, 3), value, np.uint8), 10)
        off.append(clip_frames(media)[0].astype(int).mean() - value)
    assert np.abs(off).max() <= 1 and abs(np.mean(off)) < 0.2


# --- rates


@settings(max_examples=25, deadline=None)
@given(st.fractions(Fraction(1, 1000), Fraction(1000), max_denominator=100_000))
def test_rates_come_back(rate: Fraction) -> None:
    width, height, count, found = clip_size(encode_clip(moving(3, 16, 16), rate), MediaLimits(max_duration_sec=3600))
    assert (width, height, count) == (16, 16, 3) and found == pytest.approx(float(rate), rel=1e-6)


@pytest.mark.parametrize("rate", [0, -1, 1000.1, 1e9, 1e-7])
def test_rates_that_no_clip_has(rate: float) -> None:
    with pytest.raises(AssertionError, match="frames per second"):
        encode_clip(moving(), rate)


def test_long_clips_are_refused_by_their_header() -> None:
    long = encode_clip(moving(3), Fraction(1, 300))
    assert (
        refusal(long) == "too_long"
        and refusal(encode_clip(moving(), 10), MediaLimits(max_duration_sec=0.5)) == "too_long"
    )
    assert examine(long, MediaLimits(max_duration_sec=900)).duration_sec == 900
    assert clip_frames(long)[1] == pytest.approx(1 / 300), "later stages take what a crawl's settings let pass"


# --- what a clip is


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9", "mpeg4"])
def test_codecs_on_the_list(codec: str) -> None:
    frames = moving(5, 64, 64)
    media = clip_by(codec, frames)
    assert examine(media, MediaLimits()).num_frames == 5
    found, rate = clip_frames(media)
    assert found.shape == frames.shape and rate == 10
    assert np.abs(found.astype(int) - frames).mean() < 25


@pytest.mark.parametrize("major", [b"XAVC", b"qt  ", b"3gp5", b"mp42", b"f4v ", b"NDSC", b"M4VH"])
def test_brands_that_a_file_is_compatible_with(major: bytes) -> None:
    media = with_brands(encode_clip(moving(), 10), major, b"iso2", b"mp41")
    assert examine(media, MediaLimits()).extension == "mp4"


@pytest.mark.parametrize("major", [b"avif", b"avis", b"heic", b"hevc", b"mif1", b"msf1"])
def test_pictures_in_the_same_container_are_no_clips(major: bytes) -> None:
    assert refusal(with_brands(encode_clip(moving(), 10), major, b"iso8", b"isom")) == "type_refused"


def test_no_brand_that_is_known() -> None:
    for major in (b"XAVC", b"qt  ", b"crx "):
        assert refusal(with_brands(encode_clip(moving(), 10), major, b"abcd")) == "type_refused"


def test_cover_art_is_no_clip_and_hides_none() -> None:
    plain = encode_clip(moving(), 10)
    covered = with_cover_first(plain, encode_image(Image.fromarray(moving(1, 96, 96)[0]), "jpg"))
    with av.open(io.BytesIO(covered)) as container:
        assert [stream.codec_context.name for stream in container.streams.video] == ["mjpeg", "h264"]
    assert examine(plain, MediaLimits()) == examine(covered, MediaLimits())
    for most in (None, 3):
        assert np.array_equal(clip_frames(covered, most)[0], clip_frames(plain, most)[0])


@pytest.mark.parametrize(
    "media",
    [
        changing_clip(moving(4, 64, 48)),
        changing_clip(moving(4, 32, 48)),
        changing_clip(moving(4), pix_fmt="yuv444p"),
    ],
    ids=["larger", "turned", "pixel format"],
)
def test_a_clip_that_changes_midway(media: bytes) -> None:
    """Refused by the crawl, so that nothing later sees it; and by the later stages, should one be there already."""
    assert refusal(media) == "clip_changes"
    for most in (None, 3):
        with pytest.raises(MediaError, match="clip_changes"):
            clip_frames(media, most)


@pytest.mark.parametrize(
    "tail", [b"\0", b"abc", b"\r\n", bytes(7), bytes(5000), b"\xff" * 40, b"made by a camera, 2024"]
)
def test_bytes_after_the_last_box(tail: bytes) -> None:
    media = encode_clip(moving(), 10)
    assert examine(media + tail, MediaLimits()).num_frames == 6
    assert np.array_equal(clip_frames(media + tail)[0], clip_frames(media)[0])


def test_a_cut_clip_is_never_a_shorter_one() -> None:
    media = encode_clip(moving(4), 10)
    for length in range(len(media)):
        with pytest.raises(MediaError):
            examine(media[:length], MediaLimits())
