"""What a crawl takes from an HTML page: its pictures and clips with their texts, its links, its opt-outs.

Captions of a picture or clip, best first: the `figcaption` of its figure, then its `alt`, `title` and `aria-label`. A
`figcaption` belongs to the nearest `figure` around it and speaks of the pictures whose nearest figure that is: of all
of them where it is the only one, of one each where there are as many as pictures, of none where it is unclear which.
Pictures inside a `figcaption` are part of the text, unless the figure has no others.

Relative addresses are resolved against the first `base` with an address, and against the page's own where that is none
(empty, `about:`, `data:`, malformed). What a page may hold is bounded, and what is left out is counted.
Parsed by selectolax (lexbor), which builds the tree that browsers build where there are no scripts.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from pipelines.shared.charsets import decode_html
from pipelines.shared.optouts import directives, header_signal
from pipelines.shared.page_pictures import clip_place, is_address, picture_place
from pipelines.shared.reasons import LinkError
from pipelines.shared.records import Caption, Link
from pipelines.shared.sandbox import Sandbox
from pipelines.shared.texts import clean_text
from pipelines.shared.urls import canonical_url, parse_url, resolved

TEXT_ATTRIBUTES = ("alt", "title", "aria-label")
BREAKS = "br, p, div, li"
FOREIGN = frozenset({"svg", "math"})
AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]+")
NOT_PAGES = re.compile(
    r"(?i)\.(png|jpe?g|gif|webp|avif|svg|ico|bmp|tiff?|mp4|webm|mov|mp3|wav|ogg|pdf|zip|gz|tar|7z|css|js|json|csv|xml)$"
)
MOST_LINKS = 10_000
MOST_TEXT_CHARS = 4_000_000


@dataclass(frozen=True, slots=True)
class Page:
    """What a page holds.

    Attributes:
        url: Its address.
        links: Its pictures and clips, in the order of the document; at most `MOST_LINKS`, with at most
            `MOST_TEXT_CHARS` in their addresses and in their captions, equal ones counted once.
        follows: Absolute addresses of the pages that it links to and lets robots follow, in the same order, bounded
            likewise.
        left_out: What was not taken: pictures and clips by `pictures.Place.left_out`, `over_max_links`,
            `over_max_text`, and `over_max_follows`.
    """

    url: str
    links: tuple[Link, ...]
    follows: tuple[str, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)


def read_page(body: bytes, content_type: str, url: str, origin: str, robot: str) -> Page:
    """Read a page.

    Args:
        body: Its bytes.
        content_type: As the server states it; gives the charset.
        url: Its address, which relative addresses are resolved against.
        origin: Origin of the captions, see `Caption`.
        robot: Our name, lower case.

    Raises:
        LinkError: `decode_error`, when the parser gives up.
    """
    try:
        tree = LexborHTMLParser(decode_html(body, content_type))
    except SelectolaxError as error:
        raise LinkError("decode_error", "the parser gave up on the page") from error
    base = _base(tree, url)
    rules = _meta(tree, "robots") + _meta(tree, robot)
    optout = header_signal(rules, ",".join(_meta(tree, "tdm-reservation")), "", robot)
    left_out: Counter[str] = Counter()
    links = tuple(_links(tree, base, Link(url="", page_url=url, optout=optout), origin, left_out))
    may_follow = not {"nofollow", "none"} & directives(rules, robot)
    follows = tuple(_follows(tree, base, left_out)) if may_follow else ()
    return Page(url, links, follows, dict(sorted(left_out.items())))


def answer(settings: Mapping[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    """`read_page` as a task of the sandbox: settings are its further arguments; each text is sent once."""
    page = read_page(body, **settings)
    numbers: dict[str, int] = {}
    links = []
    for link in page.links:
        captions = [[numbers.setdefault(each.text, len(numbers)), each.place] for each in link.captions]
        links.append([link.url, link.optout, captions])
    values = {"links": links, "texts": list(numbers), "follows": page.follows, "left_out": dict(page.left_out)}
    return {"page": values}, b""


def read_page_in(sandbox: Sandbox, body: bytes, **settings: str) -> Page:
    """`read_page` in a sandbox, because trees of hostile pages take unbounded time and memory.

    Raises:
        LinkError: `decode_error`, `decode_crash` or `decode_timeout`.
    """
    answered, _ = sandbox.call(__name__, settings, body)
    page, url, origin = answered["page"], settings["url"], settings["origin"]
    texts = page["texts"]
    links = (
        Link(
            url=address,
            captions=tuple(Caption(text=texts[number], origin=origin, place=place) for number, place in captions),
            page_url=url,
            optout=optout,
        )
        for address, optout, captions in page["links"]
    )
    return Page(url, tuple(links), tuple(page["follows"]), page["left_out"])


def _base(tree: LexborHTMLParser, url: str) -> str:
    """What relative addresses are resolved against: the first base with an address counts, wherever it stands."""
    node = next((each for each in tree.css("base[href]") if not _is_foreign(each)), None)
    if node is None:
        return url
    base = resolved(url, node.attributes.get("href") or "")
    try:
        return str(parse_url(base))
    except LinkError:
        is_other = AUTHORITY.match(base) and not base.lower().startswith(("http:", "https:"))
        return base if is_other else url


def _is_foreign(node: LexborNode) -> bool:
    """Whether an element is one of SVG or MathML by where it stands."""
    parent = node.parent
    while parent is not None and parent.tag not in FOREIGN:
        parent = parent.parent
    return parent is not None


def _meta(tree: LexborHTMLParser, name: str) -> list[str]:
    nodes = tree.css("meta[name][content]")
    return [
        node.attributes["content"] or "" for node in nodes if (node.attributes["name"] or "").strip().lower() == name
    ]


def _links(tree: LexborHTMLParser, base: str, pattern: Link, origin: str, left_out: Counter[str]) -> Iterator[Link]:
    """Pictures and clips with their captions; `pattern` has what is the same for all, `left_out` counts the others."""
    figcaptions = _figcaptions(tree)
    num_links = num_chars = 0
    texts: set[str] = set()
    for node in tree.css("img, video"):
        if num_links >= MOST_LINKS:
            left_out["over_max_links"] += 1
            continue
        place = picture_place(node) if node.tag == "img" else clip_place(node)
        if place.left_out:
            left_out[place.left_out] += 1
        if not place.address:
            continue
        address = canonical_url(resolved(base, place.address))
        captions = _captions(node, figcaptions.get(node.mem_id, ""), origin)
        new = {caption.text for caption in captions} - texts
        num_more = len(address) + sum(map(len, new))
        if num_chars + num_more > MOST_TEXT_CHARS:
            left_out["over_max_text"] += 1
            continue
        num_links, num_chars = num_links + 1, num_chars + num_more
        texts |= new
        yield Link(url=address, captions=captions, page_url=pattern.page_url, optout=pattern.optout)


def _figcaptions(tree: LexborHTMLParser) -> dict[int, str]:
    """The text that its figure has for it, for each picture or clip that one speaks of."""
    nearest: dict[int, int] = {}
    captions: dict[int, list[LexborNode]] = {}
    media: dict[int, list[int]] = {}
    inside: set[int] = set()
    figures = tree.css("figure")
    for figure in figures:  # outer ones come first
        nearest |= {node.mem_id: figure.mem_id for node in figure.css("img, video, figcaption")}
    for node in tree.css("figure img, figure video, figure figcaption"):
        if node.tag == "figcaption":
            captions.setdefault(nearest[node.mem_id], []).append(node)
            inside |= {each.mem_id for each in node.css("img, video")}
        else:
            media.setdefault(nearest[node.mem_id], []).append(node.mem_id)
    texts: dict[int, str] = {}
    for figure in figures:
        own, pictures = captions.get(figure.mem_id, []), media.get(figure.mem_id, [])
        pictures = [each for each in pictures if each not in inside] or pictures
        if len(own) == 1:
            texts |= dict.fromkeys(pictures, _text(own[0]))
        elif len(own) == len(pictures):
            texts |= {picture: _text(caption) for picture, caption in zip(pictures, own, strict=True)}
    return texts


def _text(caption: LexborNode) -> str:
    for unseen in caption.css("script, style"):
        unseen.decompose()
    for pause in caption.css(BREAKS):
        pause.insert_before(" ")
        pause.insert_after(" ")
    return clean_text(caption.text())


def _captions(node: LexborNode, figcaption: str, origin: str) -> tuple[Caption, ...]:
    """The distinct texts of a picture or clip, best first."""
    places = {figcaption: "figcaption"} if figcaption else {}
    for name in TEXT_ATTRIBUTES:
        if text := clean_text(node.attributes.get(name) or ""):
            places.setdefault(text, name)
    return tuple(Caption(text=text, origin=origin, place=place) for text, place in places.items())


def _follows(tree: LexborHTMLParser, base: str, left_out: Counter[str]) -> Iterator[str]:
    num_follows = num_chars = 0
    for node in tree.css("a[href]"):
        attributes = node.attributes
        reference = (attributes.get("href") or "").strip()
        if "nofollow" in (attributes.get("rel") or "").lower().split() or not is_address(reference):
            continue
        address = canonical_url(resolved(base, reference)).partition("#")[0]
        if not address or NOT_PAGES.search(_path(address)):
            continue
        if num_follows >= MOST_LINKS or num_chars + len(address) > MOST_TEXT_CHARS:
            left_out["over_max_follows"] += 1
            continue
        num_follows, num_chars = num_follows + 1, num_chars + len(address)
        yield address


def _path(address: str) -> str:
    return re.split(r"[?#]", address, maxsplit=1)[0].partition("://")[2]
