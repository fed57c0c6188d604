"""Where a picture or clip of a page lies: its own address, or the one that a stand-in hides.

Scripts that load pictures late put a stand-in (a blank GIF, a spinner, a thumbnail) into `src` and the address into
`data-src` or one of its kin. The order here: such an attribute; `src`, unless it is missing, a stand-in by its name or
of a format that the crawl does not take; the largest sensible candidate of `srcset`; an attribute with a larger
version; the first `<source>` of its `<picture>` in a format that the crawl takes; a `data-` attribute of any other name
with the address of a picture; a stand-in's own address last, unless its name is one that only stand-ins have or a
`<noscript>` with the picture follows. What stands in a `<noscript>` is read as any other element.

Sources: html.spec.whatwg.org, "parse a srcset attribute"; the attribute names of lazysizes, vanilla-lazyload, Lazy
Load, WordPress plug-ins (a3 Lazy Load, Jetpack, Smush, WP Rocket), Cloudflare Mirage, Ezoic.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from selectolax.lexbor import LexborNode

LATE_SRC = (
    *("data-src", "data-lazy-src", "data-original", "data-lazy", "data-lazyload", "data-lazy-load"),
    *("data-original-src", "data-img-src", "data-image-src", "data-delayed-url", "data-defer-src", "data-echo"),
    *("data-actualsrc", "lazy-src", "data-cfsrc", "data-ezsrc", "data-pagespeed-lazy-src", "data-flickity-lazyload"),
    *("data-flickity-lazyload-src", "data-wpfc-original-src", "data-ll-src", "data-runner-src", "data-frz-src"),
)
LARGER_SRC = (
    *("data-hi-res-src", "data-hires", "data-hi-res", "data-high-res-src", "data-highres", "data-full-src"),
    *("data-large-file", "data-orig-file", "data-large_image", "data-zoom-image", "data-image", "data-img", "data-url"),
)
LATE_SRCSET = (
    *("data-srcset", "data-lazy-srcset", "data-original-set", "data-lazyload-srcset", "data-flickity-lazyload-srcset"),
    *("data-wpfc-original-srcset", "data-ezsrcset", "data-cfsrcset", "lazy-srcset"),
)
NO_ADDRESS = ("data:", "blob:", "javascript:", "about:", "mailto:", "tel:")
LOOKS_LIKE_AN_ADDRESS = re.compile(r"(?i)(?:https?://|//|/|\./|\.\./|\?)\S*|[^\s{}<>|]*[/.][^\s{}<>|]*")
STAND_IN = re.compile(
    r"(?i)[a-z0-9]\.gif|(?:^|.*[-_.])?(?:blank|spacer|placeholder|place[-_]?holder|loading|loader|preloader|spinner|lazy"
    r"|lazyload|lazy[-_]load|transparent|trans|transp|pixel|dot|empty|dummy|clear|shim|grey|gray|1x1|1px|one[-_]pixel|no[-_]?image|default)"
    r"(?:[-_.].*)?\.(?:gif|png|svg|jpe?g|webp)"
)
NEVER_A_PICTURE = re.compile(
    r"(?i)(?:blank|spacer|placeholder|transparent|pixel|clear|shim|1x1|1px|lazy-?load|loading|loader|spinner)\.(?:gif|png|svg)"
)
OTHER_FORMATS = re.compile(r"(?i)\.(?:avif|avifs|svg|svgz|jxl|heic|heif|jp2|jxr|tiff?|bmp|ico)$")
TAKEN_FORMATS = re.compile(r"(?i)\.(?:jpe?g|a?png|webp|gif)$")
NO_PICTURES = re.compile(r"(?i)\.(?:x?html?|json|js|css|xml|pdf|mp4|webm|mov|m3u8|mp3)$")
TAKEN_TYPES = frozenset({"", "image/jpeg", "image/jpg", "image/png", "image/apng", "image/webp", "image/gif"})
MOST_SENSIBLE_PX = 4096
MOST_SENSIBLE_DENSITY = 4.0
CANDIDATE = re.compile(r"[\s,]*([^\s,]\S*)")
DIGITS = re.compile(r"[0-9]{1,9}")
NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
MOST_CANDIDATES = 64
MOST_SRCSET_CHARS = 20_000
MOST_NAME_CHARS = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture or clip lies.

    Attributes:
        address: As it stands in the page; empty for none that can be fetched.
        left_out: What was passed over for it, or why there is none: `stand_in`, `inline`, `no_address`, `other_format`;
            empty for nothing.
    """

    address: str
    left_out: str = ""


def picture_place(node: LexborNode) -> Place:
    """The address of an `img`."""
    attributes = node.attributes
    source = (attributes.get("src") or "").strip()
    late = _late_picture(attributes, LATE_SRC) or largest(_first(attributes, LATE_SRCSET))
    if late:
        return Place(late, "stand_in" if source and source != late else "")
    if is_address(source) and not is_stand_in(source) and not _is_other_format(source):
        return Place(source)
    other = largest(attributes.get("srcset") or "") or _late_picture(attributes, LARGER_SRC) or _of_picture(node)
    other = other or _of_unknown_script(attributes)
    if other or _has_noscript(node) or NEVER_A_PICTURE.fullmatch(_file_name(source)):
        return Place(other, "stand_in" if source or not other else "")
    if source:
        return Place(source) if is_address(source) else Place("", "inline")
    return Place("", "other_format" if attributes.get("srcset") or _sources(node) else "no_address")


def clip_place(node: LexborNode) -> Place:
    """The address of a `video`: its own, else that of its first MP4, else of its first source."""
    attributes = node.attributes
    source = next(_late(attributes, LATE_SRC), "") or (attributes.get("src") or "").strip()
    if is_address(source):
        return Place(source)
    choices = []
    for child in node.css("source"):
        of_child = child.attributes
        if address := next(_late(of_child, LATE_SRC), "") or (of_child.get("src") or "").strip():
            choices.append((not _is_mp4(_media_type(of_child), address), address))
    choices.sort(key=lambda choice: choice[0])
    address = next((address for _, address in choices if is_address(address)), "")
    return Place(address, "" if address else "inline" if source or choices else "no_address")


def is_address(text: str) -> bool:
    """Whether a text may name something to be fetched."""
    return bool(text) and not text.lower().startswith(NO_ADDRESS)


def is_stand_in(address: str) -> bool:
    """Whether a file's name is one of those that stand in for a picture which is loaded later."""
    name = _file_name(address)
    return len(name) <= MOST_NAME_CHARS and STAND_IN.fullmatch(name) is not None


def largest(srcset: str) -> str:
    """The largest sensible candidate of a `srcset`: up to 4,096 pixels wide or 4 times as dense, else the smallest."""
    found = [each for each in candidates(srcset) if is_address(each[0]) and not _is_other_format(each[0])]
    by_width = [(float(width), address) for address, width, _ in found if width]
    choices = by_width or [(density, address) for address, _, density in found]
    most = MOST_SENSIBLE_PX if by_width else MOST_SENSIBLE_DENSITY
    sensible = [choice for choice in choices if choice[0] <= most]
    if sensible:
        return max(sensible, key=lambda choice: choice[0])[1]
    return min(choices, key=lambda choice: choice[0])[1] if choices else ""


def candidates(srcset: str) -> Iterator[tuple[str, int, float]]:
    """Address, width (0 where it is not stated) and density of the candidates of a `srcset`, bad ones left out."""
    srcset, place = srcset[:MOST_SRCSET_CHARS], 0
    for _ in range(MOST_CANDIDATES):
        found = CANDIDATE.match(srcset, place)
        if not found:
            return
        address, place = found[1], found.end()
        if address.endswith(","):
            yield address.rstrip(","), 0, 1.0
            continue
        descriptors, place = _descriptors(srcset, place)
        if (size := _size(descriptors)) is not None:
            yield address, *size


def _descriptors(srcset: str, place: int) -> tuple[list[str], int]:
    """The words up to the next comma outside of parentheses, and where it ends."""
    start, depth = place, 0
    while place < len(srcset) and (srcset[place] != "," or depth):
        depth += (srcset[place] == "(") - (srcset[place] == ")" and depth > 0)
        place += 1
    return srcset[start:place].split(), place + 1


def _size(descriptors: list[str]) -> tuple[int, float] | None:
    """Width and density that descriptors state; None where they are wrong."""
    units = "".join(sorted(descriptor[-1] for descriptor in descriptors))
    numbers = {descriptor[-1]: descriptor[:-1] for descriptor in descriptors}
    if units == "":
        return 0, 1.0
    if units == "x" and NUMBER.fullmatch(numbers["x"]) and float(numbers["x"]) >= 0:
        return 0, float(numbers["x"])
    is_width = units in ("w", "hw") and all(DIGITS.fullmatch(number) and int(number) for number in numbers.values())
    return (int(numbers["w"]), 1.0) if is_width else None


def _late(attributes: Mapping[str, str | None], names: tuple[str, ...]) -> Iterator[str]:
    """The addresses that a script would put in place."""
    texts = ((attributes.get(name) or "").strip() for name in names)
    return (text for text in texts if is_address(text) and LOOKS_LIKE_AN_ADDRESS.fullmatch(text))


def _late_picture(attributes: Mapping[str, str | None], names: tuple[str, ...]) -> str:
    """The first of them that may be a picture of a format that we take."""
    texts = _late(attributes, names)
    return next((each for each in texts if not _is_other_format(each) and not NO_PICTURES.search(_file_name(each))), "")


def _of_unknown_script(attributes: Mapping[str, str | None]) -> str:
    """The first address of a picture, by its ending, in a `data-` attribute of any name; a srcset by its name."""
    for name, text in attributes.items():
        if not name.startswith("data-") or not text:
            continue
        address = largest(text) if "srcset" in name else text.strip()
        is_late = is_address(address) and LOOKS_LIKE_AN_ADDRESS.fullmatch(address)
        if is_late and TAKEN_FORMATS.search(_file_name(address)) and not is_stand_in(address):
            return address
    return ""


def _first(attributes: Mapping[str, str | None], names: tuple[str, ...]) -> str:
    return next((text for name in names if (text := (attributes.get(name) or "").strip())), "")


def _of_picture(node: LexborNode) -> str:
    """The first candidate of a format that we take among the sources of the `picture` around an `img`."""
    for attributes in _sources(node):
        if _media_type(attributes) not in TAKEN_TYPES:
            continue
        late = _first(attributes, LATE_SRCSET)
        if address := largest(late) or _late_picture(attributes, LATE_SRC) or largest(attributes.get("srcset") or ""):
            return address
    return ""


def _sources(node: LexborNode) -> list[Mapping[str, str | None]]:
    parent = node.parent
    if parent is None or parent.tag != "picture":
        return []
    return [child.attributes for child in parent.css("source")]


def _has_noscript(node: LexborNode) -> bool:
    """Whether a `noscript` with the picture itself follows."""
    after = node.next
    while after is not None and after.tag == "-text":
        after = after.next
    return after is not None and after.tag == "noscript" and after.css_first("img") is not None


def _media_type(attributes: Mapping[str, str | None]) -> str:
    return (attributes.get("type") or "").partition(";")[0].strip().lower()


def _is_mp4(media_type: str, address: str) -> bool:
    """Whether a source is an MP4 by its type, or by its name where it has none."""
    return media_type == "video/mp4" or (not media_type and _file_name(address).lower().endswith(".mp4"))


def _file_name(address: str) -> str:
    return re.split(r"[?#]", address, maxsplit=1)[0].rpartition("/")[2]


def _is_other_format(address: str) -> bool:
    return OTHER_FORMATS.search(_file_name(address)) is not None
