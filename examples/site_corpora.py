"""Reads the unpacked packages: which pictures they hold, what each is called, and which of them a site shows."""

import json
import re
import struct
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

from PIL import Image
from site_fetch import Package
from site_items import Item, distinct, spread

GROUPS = ("smileys-emotion", "people-body", "component", "animals-nature", "food-drink", "travel-places", "activities",
          "objects", "symbols", "flags")  # fmt: skip
CLIPART_SHARE, CLIPART_CAP = 0.1, 24
CLIPART_MOST_PIXELS = 20_000_000
UNWRITTEN = frozenset((0xFE0F, 0xE007F))  # variation selector and closing tag, which file names may leave out
E_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")


def mask(text: str) -> str:
    """Replaces e-mail addresses; nothing else about a caption is changed.

    Args:
        text: A caption.

    Returns:
        The caption without addresses.
    """
    return E_MAIL.sub("[e-mail]", text)


def pixels(png: Path) -> int:
    """Reads how many pixels a PNG file declares, from its header alone.

    Args:
        png: The file.

    Returns:
        Width times height.
    """
    with png.open("rb") as file:
        width, height = struct.unpack(">II", file.read(24)[16:])
    return width * height


def svg_texts(svg: Path) -> tuple[str, str, list[str], str]:
    """Reads what an SVG file of the Open Clip Art Library says about itself.

    Args:
        svg: The file.

    Returns:
        Title, description, keywords and address of the licence, each empty if missing.
    """
    tree = ET.parse(svg)  # noqa: S314 (the file comes out of a signed Debian package)
    work = next(node for node in tree.iter() if _local(node) == "Work")
    parts = {_local(node): node for node in reversed(work)}
    title, description = ((parts[key].text or "").strip() if key in parts else "" for key in ("title", "description"))
    subject = parts.get("subject", ())
    words = [(node.text or "").strip() for bag in subject for node in bag if _local(node) == "li"]
    licence = next(iter(parts["license"].attrib.values()), "") if "license" in parts else ""
    return title, description, [word for word in words if word], licence


def clipart(png: Package, svg: Package, *, whole: bool) -> list[Item]:
    """Lists pictures of the Open Clip Art Library.

    Args:
        png: The package of pictures.
        svg: The package of drawings, which hold the captions.
        whole: List all of them; else a share of each folder, without the giant ones and those under another licence.

    Returns:
        The items, by name.
    """
    root = png.root / "usr/share/openclipart/png"
    names = [path.relative_to(root).with_suffix("").as_posix() for path in sorted(root.rglob("*.png"))]
    if not whole:
        names = [name for name in names if pixels(root / f"{name}.png") <= CLIPART_MOST_PIXELS]
        names = spread(names, CLIPART_SHARE, CLIPART_CAP)
    items = []
    for name in names:
        title, description, words, address = svg_texts(svg.root / f"usr/share/openclipart/svg/{name}.svg")
        free = not address or "publicdomain" in address.lower()
        if whole or free:
            caption = " ".join(part for part in (title, description, *words) if part)
            original = root / f"{name}.png"
            item = Item(original=original, package=png,
                        licence="public domain" if free else address, name=name, title=mask(title),
                        caption=mask(caption))  # fmt: skip
            items.append(item)
    return items


def stamps(package: Package) -> list[Item]:
    """Lists the Tux Paint stamps that have a caption, with the caption's translations.

    Args:
        package: The package of stamps.

    Returns:
        The items, by name.
    """
    root = package.root / "usr/share/tuxpaint/stamps"
    items = []
    for text in sorted(root.rglob("*.txt")):
        original = next((path for ending in (".png", ".svg") if (path := text.with_suffix(ending)).exists()), None)
        if original is None:
            continue
        first, *rest = text.read_text(encoding="utf-8").splitlines()
        pairs = [line.partition(".utf8=") for line in rest if ".utf8=" in line]
        translations = tuple((language_tag(locale), said.strip()) for locale, _, said in pairs if said.strip())
        name = text.relative_to(root).with_suffix("").as_posix()
        item = Item(original=original, package=package,
                    licence="GPL-2", name=name, title=first.strip(), caption=first.strip(),
                    translations=translations)  # fmt: skip
        items.append(item)
    return items


def language_tag(locale: str) -> str:
    """Turns a locale's name into a language tag for HTML.

    Args:
        locale: Such as `pt_BR`, `sr@latin` or `ca@valencia`.

    Returns:
        Such as `pt-BR`, `sr-Latn` or `ca-valencia`.
    """
    return locale.replace("_", "-").replace("@latin", "-Latn").replace("@", "-")


def emoji_names(emojibase: Package) -> dict[tuple[int, ...], tuple[str, str]]:
    """Reads the CLDR names of the emoji.

    Args:
        emojibase: The package of names.

    Returns:
        Code points, without those that file names may leave out, to name and group.
    """
    names = {}
    for entry in json.loads((emojibase.root / "en/data.json").read_text(encoding="utf-8")):
        for one in (entry, *entry.get("skins", ())):
            group = GROUPS[entry["group"]] if "group" in entry else "component"
            names[code_points(one["hexcode"])] = (one["label"], group)
    return names


def code_points(stem: str) -> tuple[int, ...]:
    """Reads code points from a file's name.

    Args:
        stem: Hex numbers joined by hyphens or underscores.

    Returns:
        The code points, without those that file names may leave out.
    """
    points = (int(word, 16) for word in re.split("[-_]", stem))
    return tuple(point for point in points if point not in UNWRITTEN)


def emoji(packages: Iterable[Package], names: dict[tuple[int, ...], tuple[str, str]]) -> list[Item]:
    """Lists the emoji of some packages that have a name.

    Args:
        packages: Packages of still or animated emoji.
        names: What `emoji_names` returned.

    Returns:
        The items, by name.
    """
    items = []
    for package in packages:
        for original in sorted((package.root / "assets").glob("*.webp")):
            code = code_points(original.stem)
            if code in names:
                label, group = names[code]
                item = Item(original=original, package=package, licence="MIT (picture), Unicode-3.0 (name)",
                            name=f"{group}/{slug(label)}", title=label, caption=label, code=code)  # fmt: skip
                items.append(item)
    return sorted(distinct(items), key=lambda item: item.name)


def slug(label: str) -> str:
    """Turns a caption into a file's name.

    Args:
        label: The caption.

    Returns:
        Its letters and digits in ASCII lower case, joined by hyphens.
    """
    ascii_only = unicodedata.normalize("NFKD", label.lower()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")


def frame_count(file: Path) -> int:
    """Counts the frames of a picture file.

    Args:
        file: The file.

    Returns:
        How many frames it has.
    """
    with Image.open(file) as picture:
        return getattr(picture, "n_frames", 1)


def _local(node: ET.Element) -> str:
    """Gives an element's name without its namespace."""
    return str(node.tag).rpartition("}")[2]
