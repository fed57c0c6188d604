"""Bytes to pixels and back: colours by their definition, damage, bombs, and nothing but the allowed formats."""

import io
import struct
import zlib

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipelines.shared.decode import (
    animation_frames,
    animation_rate,
    clip_frames,
    clip_size,
    encode_clip,
    encode_image,
    evenly_spaced,
    image_size,
    open_image,
    sniff,
)
from pipelines.shared.media import MediaError, MediaLimits


def encoded(image: Image.Image, kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def picture(width: int = 33, height: int = 20, seed: int = 0) -> Image.Image:
    """Smooth, so that lossy formats stay near, and different in every corner."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 200 / width, y * 200 / height, 60 + 80 * np.sin((x + y + 9 * seed) / 8)], -1)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def moving(frames: int = 6, height: int = 32, width: int = 48) -> np.ndarray:
    return np.stack([np.asarray(picture(width, height, seed)) for seed in range(frames)])


def reason(media: bytes, read=open_image) -> str:
    with pytest.raises(MediaError) as caught:
        read(media)
    return caught.value.reason


def bomb_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("kind", "extension"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("GIF", "gif")])
def test_sniff_and_open(kind: str, extension: str) -> None:
    media = encoded(picture(), kind)
    assert sniff(media) == extension
    image = open_image(media)
    assert image.mode == "RGB" and image.size == (33, 20) == image_size(media)
    distance = np.abs(np.asarray(image).astype(int) - np.asarray(picture()).astype(int)).mean()
    assert distance < (12 if kind == "GIF" else 5)


@pytest.mark.parametrize(
    "media",
    [
        b"",
        b"\x00" * 40,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"%PDF-1.7\n",
        encoded(picture(), "TIFF"),
        encoded(picture(), "BMP"),
        encoded(picture(), "ICO"),
        encoded(picture(), "PPM"),
        b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"\x00\x00\x00\x1cftypavif" + bytes(40),
        b"\x00\x00\x00\x1cftypheic" + bytes(40),
        b"\x1aE\xdf\xa3" + bytes(40),
        b"RIFF\x10\x00\x00\x00WAVEfmt ",
    ],
)
def test_other_formats_are_refused(media: bytes) -> None:
    assert sniff(media) is None
    assert reason(media) == reason(media, clip_frames) == "type_refused"


def test_clips_are_no_pictures_and_pictures_no_clips() -> None:
    assert reason(encode_clip(moving(), 10)) == "type_refused"
    assert reason(encoded(picture(), "PNG"), clip_frames) == "type_refused"


# --- colours


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    """Stored so that each orientation shows the same picture."""
    shown = picture(16, 8)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = shown.transpose(undo[orientation]) if orientation > 1 else shown
    exif = Image.Exif()
    exif[0x0112] = orientation
    media = encoded(stored, "PNG", exif=exif)
    assert np.array_equal(np.asarray(open_image(media)), np.asarray(shown))
    assert image_size(media) == (16, 8)


def test_transparency_is_white() -> None:
    rgba = Image.new("RGBA", (4, 1), (200, 0, 0, 255))
    rgba.putpixel((1, 0), (200, 0, 0, 0))
    rgba.putpixel((2, 0), (0, 0, 0, 128))
    found = np.asarray(open_image(encoded(rgba, "PNG")))[0]
    assert found[0].tolist() == [200, 0, 0] and found[1].tolist() == [255, 255, 255]
    assert abs(int(found[2][0]) - 127) <= 1
    grey = Image.new("LA", (1, 1), (30, 0))
    assert np.asarray(open_image(encoded(grey, "PNG")))[0, 0].tolist() == [255, 255, 255]
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    found = np.asarray(open_image(encoded(palette, "PNG", transparency=1)))[0]
    assert found.tolist() == [[10, 20, 30], [255, 255, 255]]
    keyed = Image.new("RGB", (2, 1), (1, 2, 3))
    keyed.putpixel((1, 0), (9, 9, 9))
    assert np.asarray(open_image(encoded(keyed, "PNG", transparency=(9, 9, 9))))[0, 1].tolist() == [255, 255, 255]


def test_sixteen_bit_grey_is_scaled() -> None:
    values = np.array([[0, 128, 129, 257, 32896, 40000, 65535]], np.uint16)
    found = np.asarray(open_image(encoded(Image.fromarray(values), "PNG")))[0, :, 0]
    assert found.tolist() == np.rint(values[0] / 257).astype(int).tolist()


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_other_modes(mode: str) -> None:
    source = picture().convert(mode)
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    settings = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    found = np.asarray(open_image(encoded(source, kind, **settings))).astype(int)
    assert np.abs(found - np.asarray(source.convert("RGB")).astype(int)).mean() < 3


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        media = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
        assert np.abs(np.asarray(open_image(media)).astype(int) - [255, 0, 0]).max() <= 2


# --- damage and bombs


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_cut_at_every_byte(kind: str) -> None:
    """Never a picture that is partly grey: refused, or the same pixels (a missing end mark loses none)."""
    media = encoded(picture(24, 16), kind)
    whole = np.asarray(open_image(media))
    same = 0
    for length in range(len(media)):
        for read in (open_image, image_size):
            try:
                found = read(media[:length])
            except MediaError:
                continue
            same += 1
            if read is open_image:
                assert np.array_equal(np.asarray(found), whole), f"other pixels from {length} of {len(media)} bytes"
    assert same <= 2 * 24, "only the end of the file holds no pixels"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_half_a_picture_is_told_apart(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    media = encoded(noise, kind)
    assert reason(media[: len(media) // 2]) in ("truncated", "decode_error")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_any_damage_is_a_media_error(kind: str) -> None:
    generator = np.random.default_rng(7)
    media = np.frombuffer(encoded(picture(), kind), np.uint8)
    for _ in range(150):
        broken = media.copy()
        places = generator.integers(0, len(media), generator.integers(1, 8))
        broken[places] = generator.integers(0, 256, len(places))
        for read in (open_image, image_size, animation_rate, lambda each: list(animation_frames(each))):
            try:
                read(broken.tobytes())
            except MediaError as error:
                assert "0x" not in str(error), "an address would make rows differ between runs"


@pytest.mark.parametrize("size", [(40_000, 15_000), (8_000, 7_000), (100_000, 100_000)])
def test_bombs_are_refused_by_header(size: tuple[int, int]) -> None:
    media = bomb_png(*size)
    assert len(media) < 100 and reason(media) == reason(media, image_size) == "too_many_pixels"


def test_header_limits() -> None:
    assert reason(bomb_png(17_000, 2), image_size) == "side_limit"
    with pytest.raises(MediaError, match="aspect_limit"):
        image_size(bomb_png(2_000, 2), MediaLimits())
    assert reason(bomb_png(0, 5), image_size) == "decode_error"
    small = MediaLimits(max_pixels=600)
    with pytest.raises(MediaError, match="too_many_pixels"):
        image_size(encoded(picture(), "PNG"), small)
    with pytest.raises(MediaError, match="too_many_frames"):
        animation_rate(animated("GIF", [100] * 3), MediaLimits(max_frames=2))
    with pytest.raises(MediaError, match="too_many_pixels"):
        animation_rate(animated("GIF", [100] * 3), MediaLimits(max_clip_pixels=150))
    with pytest.raises(MediaError, match="too_many_frames"):
        clip_size(encode_clip(moving(), 10), MediaLimits(max_frames=5))
    with pytest.raises(MediaError, match="too_many_frames"):
        clip_frames(encode_clip(moving(), 10), 2, MediaLimits(max_frames=5))


# --- animations and clips


def animated(kind: str, delays_ms: list[int]) -> bytes:
    frames = []
    for number in range(len(delays_ms)):
        frame = Image.new("RGB", (8, 8), "white")
        ImageDraw.Draw(frame).rectangle((number, 0, number + 1, 7), fill="black")
        frames.append(frame)
    settings = {"lossless": True} if kind == "WEBP" else {}
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=delays_ms, **settings)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animations(kind: str) -> None:
    media = animated(kind, [40, 60, 100, 200])
    assert animation_rate(media) == (4, pytest.approx(10.0))
    frames = list(animation_frames(media))
    assert [frame.shape for frame in frames] == [(8, 8, 3)] * 4
    assert [int(frame[0, :, 0].argmin()) for frame in frames] == [0, 1, 2, 3]


def test_short_delays_are_shown_as_browsers_do() -> None:
    assert animation_rate(animated("GIF", [0, 10, 100]))[1] == pytest.approx(10.0)


def test_still_picture_has_no_rate() -> None:
    assert animation_rate(encoded(picture(), "WEBP")) == (1, 0.0)


@pytest.mark.parametrize(("height", "width"), [(32, 48), (33, 47)])
def test_clip_there_and_back(height: int, width: int) -> None:
    frames = moving(6, height, width)
    media = encode_clip(frames, 12.5)
    found, rate = clip_frames(media)
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    assert found.dtype == np.uint8 and found.shape == even.shape and rate == 12.5
    assert np.abs(found.astype(int) - even).mean() < 6
    assert clip_size(media) == (even.shape[2], even.shape[1], 6, 12.5)


def test_clip_bytes_depend_on_frames_alone() -> None:
    assert encode_clip(moving(), 23.976) == encode_clip(iter(moving()), 23.976)
    assert b"Lavf" not in encode_clip(moving(), 10)


def test_picked_frames_are_those_of_the_whole() -> None:
    media = encode_clip(moving(9), 10)
    whole, _ = clip_frames(media)
    for most in (1, 2, 3, 5, 9, 20):
        picked, rate = clip_frames(media, most)
        assert np.array_equal(picked, whole[list(evenly_spaced(9, most))]) and rate == 10


def test_evenly_spaced() -> None:
    assert evenly_spaced(9, 3) == (0, 4, 8) and evenly_spaced(9, 1) == (0,) and evenly_spaced(0, 4) == ()
    assert evenly_spaced(3, None) == evenly_spaced(3, 3) == (0, 1, 2)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_clip_rotation(degrees: int) -> None:
    """The display matrix of the track, as phones write it: turned clockwise by so many degrees."""
    media = bytearray(encode_clip(moving(), 10))
    one = 1 << 16
    matrix = {90: (0, one, -one, 0), 180: (-one, 0, 0, -one), 270: (0, -one, one, 0)}[degrees]
    a, b, c, d = matrix
    start = media.index(b"tkhd") + 4 + 40
    struct.pack_into(">9i", media, start, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    plain, _ = clip_frames(encode_clip(moving(), 10))
    found, _ = clip_frames(bytes(media))
    assert np.array_equal(found, np.rot90(plain, -degrees // 90, axes=(1, 2)))
    assert clip_size(bytes(media))[:2] == (found.shape[2], found.shape[1])


def test_clip_cut_anywhere() -> None:
    media = encode_clip(moving(3), 10)
    for length in range(40, len(media), 7):
        assert reason(media[:length], clip_size) in ("truncated", "decode_error")


def test_any_damage_to_a_clip_is_a_media_error() -> None:
    generator = np.random.default_rng(3)
    media = np.frombuffer(encode_clip(moving(3), 10), np.uint8)
    for _ in range(120):
        broken = media.copy()
        places = generator.integers(0, len(media), generator.integers(1, 8))
        broken[places] = generator.integers(0, 256, len(places))
        for read in (clip_size, clip_frames):
            try:
                read(broken.tobytes())
            except MediaError as error:
                assert "0x" not in str(error)


def test_codecs_outside_the_list() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuvj420p"
        for frame in moving():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuvj420p")))
        container.mux(stream.encode())
    assert reason(buffer.getvalue(), clip_frames) == "type_refused"


def test_sound_alone_is_no_clip() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert reason(buffer.getvalue(), clip_frames) == "type_refused"


# --- encoding


@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
def test_encode_image(extension: str) -> None:
    source = picture(64, 48)
    source.info["comment"] = b"secret"
    source.info["exif"] = b"Exif\x00\x00secret"
    media = encode_image(source, extension, 90)
    assert sniff(media) == extension and media == encode_image(source, extension, 90) and b"secret" not in media
    distance = np.abs(np.asarray(open_image(media)).astype(int) - np.asarray(source).astype(int)).mean()
    assert distance < (0.01 if extension == "png" else 4)
    if extension != "png":
        assert len(encode_image(source, extension, 30)) < len(encode_image(source, extension, 95))


def test_encode_refuses_our_own_mistakes() -> None:
    with pytest.raises(AssertionError, match="must be converted to RGB"):
        encode_image(Image.new("L", (4, 4)), "png")
    with pytest.raises(AssertionError, match="not written as gif"):
        encode_image(picture(), "gif")
    with pytest.raises(AssertionError, match=r"uint8 \[H, W, 3\]"):
        encode_clip(np.zeros((2, 8, 8), np.uint8), 10)
