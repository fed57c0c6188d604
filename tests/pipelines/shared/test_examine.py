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
