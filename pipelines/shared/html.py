"""What a crawl takes from an HTML page: its pictures and clips with their texts, its links, its opt-outs.

Captions of a picture or clip, best first: the `figcaption` of its figure, then its `alt`, `title` and `aria-label`.
Parsed by selectolax (lexbor), which builds the tree that browsers build.
"""

import re
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from pipelines.shared.optouts import directives, header_signal
from pipelines.shared.reasons import LinkError
from pipelines.shared.records import Caption, Link
from pipelines.shared.sandbox import Sandbox
from pipelines.shared.texts import clean_text

TEXT_ATTRIBUTES = ("alt", "title", "aria-label")
BREAKS = "br, p, div, li"
NO_ADDRESS = ("data:", "blob:", "javascript:", "about:", "mailto:", "tel:")
NOT_PAGES = re.compile(
    r"(?i)\.(png|jpe?g|gif|webp|avif|svg|ico|bmp|tiff?|mp4|webm|mov|mp3|wav|ogg|pdf|zip|gz|tar|7z|css|js|json|csv|xml)$"
)
META_CHARSET = re.compile(rb"(?i)<meta[^>]{0,200}charset\s*=\s*[\"']?([a-z0-9_-]{2,20})")
CHARSETS = re.compile(
    r"(?i)utf-?8|utf-?16(le|be)?|us-ascii|windows-\d+|iso-8859-\d+|iso-2022-jp|shift_jis|euc-(jp|kr)|gb\w+|big5|koi8-[ru]"
)


@dataclass(frozen=True, slots=True)
class Page:
    """What a page holds.

    Attributes:
        url: Its address.
        links: Its pictures and clips, in the order of the document.
        follows: Absolute addresses of the pages that it links to and lets robots follow, in the same order.
    """

    url: str
    links: tuple[Link, ...]
    follows: tuple[str, ...]


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
    base_node = tree.css_first("base[href]")
    base = _absolute(url, base_node.attributes.get("href") or "") if base_node else url
    rules = _meta(tree, "robots") + _meta(tree, robot)
    reservation = next(iter(_meta(tree, "tdm-reservation")), "")
    optout = header_signal(rules, reservation, "", robot)
    figcaptions = _figcaptions(tree)
    links = []
    for node in tree.css("img, video"):
        if address := _absolute(base, _media_source(node)):
            captions = _captions(node, figcaptions.get(node.mem_id, ""), origin)
            links.append(Link(url=address, captions=captions, page_url=url, optout=optout))
    may_follow = not {"nofollow", "none"} & directives(rules, robot)
    return Page(url, tuple(links), tuple(_follows(tree, base)) if may_follow else ())


def answer(settings: Mapping[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    """`read_page` as a task of the sandbox: settings are its further arguments."""
    return asdict(read_page(body, **settings)), b""


def read_page_in(sandbox: Sandbox, body: bytes, **settings: str) -> Page:
    """`read_page` in a sandbox, because trees of hostile pages take unbounded time and memory.

    Raises:
        LinkError: `decode_error`, `decode_crash` or `decode_timeout`.
    """
    page, _ = sandbox.call(__name__, settings, body)
    links = (
        Link(**link | {"captions": tuple(Caption(**caption) for caption in link["captions"])}) for link in page["links"]
    )
    return Page(page["url"], tuple(links), tuple(page["follows"]))


def decode_html(body: bytes, content_type: str) -> str:
    """A page's text, by the charset of its header, else of its meta tag, else as UTF-8; errors become U+FFFD."""
    stated = re.search(r"(?i)charset\s*=\s*[\"']?([\w-]+)", content_type)
    meta = META_CHARSET.search(body[:2048])
    name = stated.group(1) if stated else meta.group(1).decode() if meta else "utf-8"
    if body.startswith(b"\xef\xbb\xbf") or not CHARSETS.fullmatch(name):
        name = "utf-8"
    try:
        return body.decode(name, "replace")
    except LookupError:
        return body.decode("utf-8", "replace")


def _meta(tree: LexborHTMLParser, name: str) -> list[str]:
    nodes = tree.css("meta[name][content]")
    return [
        node.attributes["content"] or "" for node in nodes if (node.attributes["name"] or "").strip().lower() == name
    ]


def _figcaptions(tree: LexborHTMLParser) -> dict[int, str]:
    """The text of its figure, for each picture or clip inside one; an inner figure is nearer than an outer one."""
    texts: dict[int, str] = {}
    for figure in tree.css("figure"):
        caption = figure.css_first("figcaption")
        if caption is not None:
            for pause in caption.css(BREAKS):
                pause.insert_before(" ")
                pause.insert_after(" ")
            text = clean_text(caption.text())
            texts |= {node.mem_id: text for node in figure.css("img, video")}
    return texts


def _captions(node: LexborNode, figcaption: str, origin: str) -> tuple[Caption, ...]:
    """The distinct texts of a picture or clip, best first."""
    places = {figcaption: "figcaption"} if figcaption else {}
    for name in TEXT_ATTRIBUTES:
        if text := clean_text(node.attributes.get(name) or ""):
            places.setdefault(text, name)
    return tuple(Caption(text=text, origin=origin, place=place) for text, place in places.items())


def _media_source(node: LexborNode) -> str:
    """The address of a picture or clip: its own, else that of its first MP4, else of its first source."""
    if source := (node.attributes.get("src") or "").strip():
        return source
    choices = [child.attributes for child in node.css("source[src]")]
    choices.sort(key=lambda attributes: (attributes.get("type") or "").partition(";")[0].strip() != "video/mp4")
    return (choices[0]["src"] or "").strip() if choices else ""


def _follows(tree: LexborHTMLParser, base: str) -> Iterator[str]:
    for node in tree.css("a[href]"):
        if "nofollow" in (node.attributes.get("rel") or "").lower().split():
            continue
        address = _absolute(base, (node.attributes.get("href") or "").strip()).partition("#")[0]
        if address and not NOT_PAGES.search(urllib.parse.urlsplit(address).path):
            yield address


def _absolute(base: str, address: str) -> str:
    """An address resolved against a base; empty for one that is not an address of anything; junk stays as it is."""
    if not address or address.lower().startswith(NO_ADDRESS):
        return ""
    try:
        return urllib.parse.urljoin(base, address)
    except ValueError:
        return address
