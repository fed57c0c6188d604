"""A project folder with a site of twelve pictures and clips, and some that are none, for tests of the crawl."""

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.shared.decode import encode_clip

PARAMS = """
seed: 0
sources:
  toys: {module: html_site, serve: site, start: toys/, origin: human, samples_per_shard: 5}
"""
NUM_LINKS = 22
REASONS = {
    "": 12,
    "no_caption": 2,
    "http_404": 1,
    "empty": 1,
    "type_refused": 1,
    "truncated": 1,
    "robots_denied": 1,
    "contact_missing": 1,
    "addr_refused": 1,
    "url_refused": 1,
}


def still(index: int, kind: str = "PNG") -> bytes:
    """A picture unlike all others."""
    pixels = np.random.default_rng(index).integers(0, 256, (24 + index, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def moving(index: int, kind: str) -> bytes:
    """An animation of four frames."""
    frames = np.random.default_rng(index).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    if kind == "MP4":
        return encode_clip(frames, 10)
    buffer = io.BytesIO()
    first, *rest = map(Image.fromarray, frames)
    first.save(buffer, kind, save_all=True, append_images=rest, duration=100)
    return buffer.getvalue()


def wave(index: int, side_px: int) -> bytes:
    """A GIF of twelve frames, smooth in space and time."""
    x = np.arange(side_px)
    frames = [
        Image.fromarray((120 + 100 * np.sin((x[:, None] + index * x + 2 * number) / 6)).astype(np.uint8))
        for number in range(12)
    ]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=50)
    return buffer.getvalue()


def write_project(folder: Path) -> Path:
    """`params.yaml` and the site; `sources.lock` is not written."""
    files: dict[str, bytes] = {f"toys/{number}.png": still(number) for number in range(4)}
    files |= {f"toys/{number}.jpg": still(number, "JPEG") for number in range(4, 7)}
    files |= {"toys/7.webp": still(7, "WEBP"), "toys/8.gif": still(8, "GIF"), "toys/9.gif": moving(9, "GIF")}
    files |= {"toys/10.webp": moving(10, "WEBP"), "toys/11.mp4": moving(11, "MP4")}
    figures = [
        f'<figure><img src="{Path(name).name}" alt="short {name}"><figcaption>toy {name}</figcaption></figure>'
        for name in files
        if not name.endswith("mp4")
    ]
    figures.append('<video src="11.mp4" title="it moves"></video>')
    files |= {"toys/empty.png": b"", "toys/page.png": b"<html>", "toys/half.jpg": still(20, "JPEG")[:900]}
    files |= {
        "toys/quiet.png": still(21),
        "secret/x.png": still(22),
        "robots.txt": b"User-agent: *\nDisallow: /secret/",
    }
    broken = ["empty.png", "page.png", "half.jpg", "gone.png", "/secret/x.png", "https://far.example/x.png"]
    broken += ["http://10.0.0.1/x.png", "ftp://far.example/x.png"]
    figures += [f'<img src="{name}" alt="broken {name}">' for name in broken]
    figures += ['<img src="quiet.png">', '<img src="quiet-too.png" alt="">']
    half = len(figures) // 2
    files["toys/index.html"] = ("".join(figures[:half]) + '<a href="two.html">more</a>').encode()
    files["toys/two.html"] = "".join(figures[half:]).encode()
    for name, content in files.items():
        path = folder / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "params.yaml").write_text(PARAMS)
    return folder


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder, by its relative name."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
