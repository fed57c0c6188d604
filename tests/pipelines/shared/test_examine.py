"""What becomes of a body."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from pipelines.shared.decode import clip_frames, encode_clip, encode_image, open_image, sniff
from pipelines.shared.examine import Media, examine, examine_in
from pipelines.shared.media import MediaError, MediaLimits
from pipelines.shared.reasons import LinkError
from pipelines.shared.sandbox import Sandbox
from tests.pipelines.shared.clip_files import clip_by, moving
from tests.pipelines.shared.picture_files import (
    BLUE,
    COLOURS,
    GREY,
    INDEXED,
    PALETTE,
    RED,
    apng,
    chunk,
    control,
    exif,
    frame_data,
    gif,
    png,
    smooth,
    solid,
    turned,
    with_chunk,
    with_riff_chunk,
    with_segment,
)

LIMITS = MediaLimits()


def colours(count: int) -> list[Image.Image]:
    return [Image.new("RGB", (20, 10), (60 * index, 80, 120)) for index in range(count)]


def animated(kind: str, count: int = 3) -> bytes:
    buffer = io.BytesIO()
    first, *rest = colours(count)
    first.save(buffer, kind, save_all=True, append_images=rest, duration=50)
    return buffer.getvalue()


@pytest.mark.parametrize(("extension", "mime"), [("jpg", "image/jpeg"), ("png", "image/png"), ("webp", "image/webp")])
def test_pictures_keep_their_bytes(extension: str, mime: str) -> None:
    media = examine(encode_image(colours(1)[0], extension), LIMITS)
    assert media == Media(converted=None, extension=extension, content_type=mime, width=20, height=10)


def test_clips_keep_their_bytes() -> None:
    body = encode_clip([np.asarray(each) for each in colours(3)], 10)
    expected = Media(
        converted=None,
        extension="mp4",
        content_type="video/mp4",
        width=20,
        height=10,
        num_frames=3,
        duration_sec=0.3,
    )
    assert examine(body, LIMITS) == expected


def test_still_gif_becomes_png() -> None:
    media = examine(animated("GIF", 1), LIMITS)
    assert (media.extension, media.content_type, media.width, media.height) == ("png", "image/gif", 20, 10)
    assert media.converted is not None and sniff(media.converted) == "png"
    assert np.asarray(open_image(media.converted))[0, 0].tolist() == [0, 80, 120]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animations_become_clips(kind: str) -> None:
    media = examine(animated(kind), LIMITS)
    assert (media.extension, media.num_frames, media.duration_sec) == ("mp4", 3, 0.15)
    assert media.converted is not None and media.content_type == f"image/{kind.lower()}"
    frames, rate = clip_frames(media.converted)
    assert rate == 20 and np.abs(frames[:, 5, 10].astype(int) - [[0, 80, 120], [60, 80, 120], [120, 80, 120]]).max() < 9


def test_refusals() -> None:
    with pytest.raises(MediaError, match="type_refused"):
        examine(b"<html>", LIMITS)
    with pytest.raises(MediaError, match="too_many_pixels"):
        examine(encode_image(colours(1)[0], "png"), MediaLimits(max_pixels=199))


def test_sandbox_gives_the_same() -> None:
    still, moving = encode_image(colours(1)[0], "jpg"), animated("GIF")
    with Sandbox() as sandbox:
        for body in (still, moving):
            assert examine_in(sandbox, body, LIMITS) == examine(body, LIMITS)
        with pytest.raises(LinkError, match="decode_error") as caught:
            examine_in(sandbox, still[:100] + bytes(100), LIMITS)
        assert caught.value.message
        with pytest.raises(LinkError, match="side_limit"):
            examine_in(sandbox, still, dataclasses.replace(LIMITS, max_side_px=19))


def encoded(image: Image.Image, kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def bodies() -> dict[str, bytes]:
    """One body of every kind that a crawl takes, by modes, formats and metadata."""
    made = {}
    values = np.arange(60).reshape(6, 10) % 4
    for kind, modes in {"PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "JPEG": ("L", "RGB", "CMYK")}.items():
        for mode in modes:
            image = smooth().convert("L") if mode == "I;16" else smooth().convert(mode)
            made[f"{kind} {mode}"] = encoded(image, kind)
    made |= {"WEBP RGBA": encoded(smooth().convert("RGBA"), "WEBP", lossless=True), "WEBP": encoded(smooth(), "WEBP")}
    made["progressive"] = encoded(smooth(), "JPEG", progressive=True)
    made["multi-picture"] = encoded(smooth(), "MPO", save_all=True, append_images=[smooth(seed=3)])
    for depth in (2, 4, 8, 16):
        made[f"grey {depth} clear"] = png(values, depth, GREY, chunk(b"tRNS", b"\0\1"))
    made["palette clear"] = png(values, 2, INDEXED, chunk(b"PLTE", PALETTE), chunk(b"tRNS", b"\0\x80"))
    made["colours clear"] = png(np.stack([values] * 3, -1), 16, COLOURS, chunk(b"tRNS", b"\0\1" * 3))
    made["turned png"] = with_chunk(made["PNG RGB"], chunk(b"eXIf", exif(turned(8))))
    made["turned jpeg"] = with_segment(made["JPEG RGB"], 0xE1, b"Exif\0\0" + exif(turned(5)))
    made["turned webp"] = with_riff_chunk(made["WEBP"], b"EXIF", exif(turned(7)))
    made["gif"] = gif((9, 9), ((2, 2, 4, 4), RED, 10, 0, None))
    made["moving gif"] = gif((33, 21), ((2, 2, 9, 9), RED, 10, 2, None), ((4, 4, 9, 9), BLUE, 0, 3, None))
    for kind in ("WEBP", "PNG"):
        made[f"moving {kind}"] = animated(kind)
    frames = [control(0, (0, 0, 8, 8)) + frame_data(1, solid(8, 8, (0, 0, 255, 90)))]
    made["apng of one frame"] = apng(8, 8, 1, chunk(b"IDAT", solid(8, 8, (255, 0, 0, 255))), *frames)
    made |= {codec: clip_by(codec, moving(4, 64, 64)) for codec in ("libx264", "libx265", "libvpx-vp9", "mpeg4")}
    return made


BODIES = bodies()


def opens_as_said(body: bytes, media: Media) -> None:
    """What a shard holds opens in the later stages, with the size and the length of its row."""
    held = media.converted or body
    assert sniff(held) == media.extension
    if media.extension == "mp4":
        frames, rate = clip_frames(held)
        assert frames.shape[:3] == (media.num_frames, media.height, media.width)
        assert round(media.num_frames / rate, 6) == media.duration_sec
    else:
        assert open_image(held).size == (media.width, media.height) and media.num_frames == 1


@pytest.mark.parametrize("name", BODIES)
def test_what_the_crawl_takes_opens_later(name: str) -> None:
    """The later stages decode outside the sandbox: by the same functions, with limits that no crawl's exceed."""
    opens_as_said(BODIES[name], examine(BODIES[name], LIMITS))


def test_what_unusual_settings_let_pass_opens_later() -> None:
    most = MediaLimits(max_aspect=16_383, max_duration_sec=3600, max_animation_pixels=4 * 10**9)
    long = encode_clip([np.asarray(each) for each in colours(2)], 0.001)
    for body in (
        encode_image(Image.new("RGB", (900, 2)), "png"),
        long,
        gif((40, 40), *[((0, 0, 1, 1), 1, 60_000, 0, None)] * 5),
    ):
        opens_as_said(body, examine(body, most))


def mutated(body: bytes, generator: np.random.Generator) -> bytes:
    """Damage of one of four kinds: bytes, a cut, a piece taken out, a piece twice."""
    broken = bytearray(body)
    start, stop = sorted(generator.integers(0, len(body), 2))
    kind = generator.integers(0, 4)
    if kind == 0:
        for place in generator.integers(0, len(body), generator.integers(1, 9)):
            broken[place] = generator.integers(0, 256)
    elif kind == 1:
        del broken[stop:]
    elif kind == 2:
        del broken[start : min(stop, start + 40)]
    else:
        broken[start:start] = body[start : min(stop, start + 40)]
    return bytes(broken)


def fuzz(count: int, seed: int) -> int:
    """How many of so many damaged bodies are taken; each of these opens as its row says, the others have a reason."""
    generator = np.random.default_rng(seed)
    names, taken = sorted(BODIES), 0
    for number in range(count):
        body = mutated(BODIES[names[number % len(names)]], generator)
        try:
            media = examine(body, LIMITS)
        except MediaError as error:
            assert "0x" not in str(error), "an address would make rows differ between runs"
            continue
        taken += 1
        opens_as_said(body, media)
    return taken


def test_damaged_bodies_are_refused_or_open_as_said() -> None:
    assert 20 < fuzz(360, 1) < 340


@pytest.mark.slow
def test_many_damaged_bodies_are_refused_or_open_as_said() -> None:
    assert fuzz(20_000, 2) > 1000
