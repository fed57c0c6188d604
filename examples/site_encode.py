"""Re-encodes pictures and animations small enough for git. The same input gives the same bytes."""

import io
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image
from site_items import rank

CLIPART_SIDE = 224
EMOJI_SIDE = 128
CLIP_SIDE, CLIP_RATE, CLIP_FRAMES = 128, 12, 32
ANIMATION_SIDE, ANIMATION_STEP, ANIMATION_FRAMES = 112, 4, 24
FRAME_MS = 42


def on_white(picture: Image.Image) -> Image.Image:
    """Composites a picture on white.

    Args:
        picture: Any picture.

    Returns:
        The RGB picture.
    """
    picture = picture.convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture)
    return ground.convert("RGB")


def encode(picture: Image.Image, kind: str, **options: object) -> bytes:
    """Encodes a picture.

    Args:
        picture: The picture.
        kind: Pillow's name of the format.
        **options: Pillow's options of that format.

    Returns:
        The file's bytes.
    """
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def clipart(original: Path, name: str) -> tuple[str, bytes]:
    """Shrinks a clip art picture: an eighth become JPEG, a quarter WebP on white, the rest stay transparent.

    Args:
        original: The PNG file.
        name: Its name in the site, which decides the format.

    Returns:
        The file name's ending and the file's bytes.
    """
    with Image.open(original) as opened:
        picture = opened.convert("RGBA")
    picture.thumbnail((CLIPART_SIDE, CLIPART_SIDE), Image.Resampling.LANCZOS)
    share = int(rank("format", name)[:2], 16)
    if share < 32:
        return ".jpg", encode(on_white(picture), "JPEG", quality=80, optimize=True)
    if share < 96:
        return ".webp", encode(on_white(picture), "WEBP", quality=78, method=4)
    palette = encode(picture.quantize(128, Image.Quantize.FASTOCTREE), "PNG", optimize=True)
    lossy = encode(picture, "WEBP", quality=78, method=4)
    return min((".png", palette), (".webp", lossy), key=lambda choice: len(choice[1]))


def emoji(original: Path, name: str) -> tuple[str, bytes]:
    """Shrinks an emoji picture to WebP; every second one keeps its transparent ground.

    Args:
        original: The WebP file.
        name: Its name in the site, which decides the ground.

    Returns:
        The file name's ending and the file's bytes.
    """
    with Image.open(original) as opened:
        picture = opened.convert("RGBA").resize((EMOJI_SIDE, EMOJI_SIDE), Image.Resampling.LANCZOS)
    if int(rank("ground", name)[:2], 16) % 2:
        picture = on_white(picture)
    return ".webp", encode(picture, "WEBP", quality=80, method=4)


def frames(original: Path, side: int, step: int, most: int) -> list[Image.Image]:
    """Decodes every so many frames of an animation, shrunk and on white.

    Args:
        original: The animated file.
        side: Side of the square frames in pixels.
        step: Take every step-th frame.
        most: Take no more than this.

    Returns:
        The frames.
    """
    taken = []
    with Image.open(original) as opened:
        for index in range(0, opened.n_frames, step)[:most]:
            opened.seek(index)
            taken.append(on_white(opened).resize((side, side), Image.Resampling.LANCZOS))
    return taken


def animation(original: Path) -> tuple[str, bytes]:
    """Shrinks an animated WebP to fewer and smaller frames.

    Args:
        original: The animated WebP file.

    Returns:
        The file name's ending and the file's bytes.
    """
    first, *rest = frames(original, ANIMATION_SIDE, ANIMATION_STEP, ANIMATION_FRAMES)
    options = {"duration": FRAME_MS * ANIMATION_STEP, "loop": 0, "quality": 60, "method": 4}
    return ".webp", encode(first, "WEBP", save_all=True, append_images=rest, **options)


def clip(original: Path) -> tuple[str, bytes]:
    """Turns an animated WebP into a short H.264 clip on white.

    Args:
        original: The animated WebP file.

    Returns:
        The file name's ending and the file's bytes.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(CLIP_RATE))
        stream.width = stream.height = CLIP_SIDE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "24", "preset": "slow", "threads": "1"}
        for picture in frames(original, CLIP_SIDE, 2, CLIP_FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())
    return ".mp4", file.getvalue()
