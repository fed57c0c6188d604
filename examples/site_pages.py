"""Writes the HTML of the site: the home page, and the sections in the kinds of markup that real sites use."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from site_items import Item

PER_PAGE = 60
SITE_NAME = "The Little Picture Site"
SECTIONS = {
    "clipart": ("Clip art", "Drawings of the Open Clip Art Library, with the words that their makers gave them."),
    "stamps": ("Stamps", "Photographs and drawings of Tux Paint, named in many languages."),
    "emoji": ("Emoji", "Fluent emoji and their names."),
    "emoji-motion": ("Moving emoji", "Fluent emoji that move, as clips and as animated pictures."),
}
STYLE = """body { margin: 0 auto; max-width: 72rem; padding: 0 1rem; font: 16px/1.4 sans-serif; color: #222; }
nav a { margin-right: 1rem; }
.grid { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.grid > * { width: 10rem; margin: 0; overflow-wrap: anywhere; }
.grid img, .grid video { max-width: 100%; }
figcaption, .translations { font-size: 0.8rem; color: #555; }
.translations { max-height: 6rem; overflow: auto; margin: 0; padding: 0; list-style: none; }
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a page shows in one place of its grid.

    Attributes:
        html: The markup.
        captioned: Whether it gives its picture a caption.
        url: The picture's address inside the section.
    """

    html: str
    captioned: bool
    url: str


def entry(section: str, item: Item, ending: str, index: int) -> Entry:
    """Writes the markup of an item; which of the usual kinds of markup, its place in the section decides.

    Args:
        section: Key of SECTIONS.
        item: The picture.
        ending: Ending of its file in the site.
        index: Its place in the section.

    Returns:
        The entry.
    """
    url = f"{'video' if ending == '.mp4' else 'img'}/{item.name}{ending}"
    src = escape(quote(url))
    if section == "clipart":
        return _clipart(item, url, src, index % 20)
    if section == "stamps":
        said = "".join(f'<li lang="{escape(tag)}">{escape(text)}</li>' for tag, text in item.translations)
        caption = f'<figcaption lang="en">{escape(item.caption)}</figcaption>'
        html = f'<figure>{_img(src, item.title)}{caption}<ul class="translations">{said}</ul></figure>'
    elif ending == ".mp4":
        html = _video(item, src, index // 2 % 4)
    elif section == "emoji-motion":
        html = f"<p>{_img(src, item.caption)}</p>" if index // 2 % 4 == 0 else _figure(_img(src), item.caption)
    elif index % 20 < 14:
        html = _figure(_img(src), item.caption)
    elif index % 20 < 19:
        html = f"<p>{_img(src, item.caption)}</p>"
    else:
        html = _figure(_img(src, item.caption), item.caption)
    return Entry(html=html, captioned=True, url=url)


def _clipart(item: Item, url: str, src: str, kind: int) -> Entry:
    """Writes the markup of a clip art picture: of twenty, 13 are figures, 6 have only an alt text, one has no text."""
    if kind < 13:
        written = {3: f"/clipart/{src}", 7: f"{src}?v=2", 11: f"../clipart/{src}"}.get(kind, src)
        words = escape(item.caption.removeprefix(item.title).strip(), quote=False)
        title = f"<b>{escape(item.title, quote=False)}</b>" if item.title else ""
        html = f"<figure>{_img(written, item.title)}<figcaption>{f'{title} {words}'.strip()}</figcaption></figure>"
        return Entry(html=html, captioned=bool(item.caption), url=url)
    if kind < 16:
        html = f'<p><a href="{src}">{_img(src, item.title)}</a></p>'
        return Entry(html=html, captioned=bool(item.title), url=url)
    if kind < 19:
        return Entry(html=f"<p>{_img(src, item.caption)}</p>", captioned=bool(item.caption), url=url)
    return Entry(html=f"<p>{_img(src)}</p>", captioned=False, url=url)


def _img(src: str, alt: str | None = None) -> str:
    """Writes an image element; without a text it has no alt attribute at all."""
    words = "" if alt is None else f' alt="{escape(alt)}"'
    return f'<img src="{src}"{words} loading="lazy">'


def _figure(inner: str, caption: str) -> str:
    """Puts something into a figure with a caption."""
    return f"<figure>{inner}<figcaption>{escape(caption, quote=False)}</figcaption></figure>"


def _video(item: Item, src: str, kind: int) -> str:
    """Writes a video element: of four, one has its caption in the title attribute, three have it in a figcaption."""
    flags = "muted loop autoplay playsinline"
    if kind == 0:
        return f'<p><video src="{src}" title="{escape(item.caption)}" {flags}></video></p>'
    if kind == 1:
        return _figure(f'<video {flags}><source src="{src}" type="video/mp4"></video>', item.caption)
    return _figure(f'<video src="{src}" {flags}></video>', item.caption)


def page_file(place: int) -> str:
    """Names the page that shows a block.

    Args:
        place: The block's place in its section.

    Returns:
        File name of the page.
    """
    number = place // PER_PAGE + 1
    return "index.html" if number == 1 else f"page-{number}.html"


def section_pages(section: str, blocks: Sequence[str], sections: Sequence[str]) -> dict[str, str]:
    """Writes the pages of a section.

    Args:
        section: Key of SECTIONS.
        blocks: The markup of its entries.
        sections: The site's sections, for the menu.

    Returns:
        File name to HTML: `index.html`, `page-2.html` and so on.
    """
    files = [page_file(place) for place in range(0, max(1, len(blocks)), PER_PAGE)]
    count = len(files)
    title, about = SECTIONS[section]
    every = " ".join(f'<a href="{file}">{number}</a>' for number, file in enumerate(files, 1))
    pages = {}
    for number, file in enumerate(files):
        before = f'<a rel="prev" href="{files[number - 1]}">Previous</a>' if number else ""
        after = f'<a rel="next" href="{files[number + 1]}">Next</a>' if number + 1 < count else ""
        links = f"{before} {after}".strip() if number else f"{after} <span>All pages: {every}</span>"
        grid = "\n".join(blocks[number * PER_PAGE : (number + 1) * PER_PAGE])
        main = f'<h1>{title}</h1>\n<p>{about}</p>\n<div class="grid">\n{grid}\n</div>\n<nav class="pages">{links}</nav>'
        pages[file] = page(f"{title}, page {number + 1} of {count}", main, sections, up="../")
    return pages


def page(title: str, main: str, sections: Sequence[str], up: str = "") -> str:
    """Writes a whole page with the site's menu and foot.

    Args:
        title: Title of the page.
        main: Markup of its main part.
        sections: The site's sections, for the menu.
        up: Relative path to the site's root.

    Returns:
        The HTML.
    """
    menu = " ".join(f'<a href="{up}{key}/">{SECTIONS[key][0]}</a>' for key in sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} - {SITE_NAME}</title>
<link rel="stylesheet" href="{up}style.css">
</head>
<body id="top">
<header><nav><a href="/">{SITE_NAME}</a> {menu}</nav></header>
<main>
{main}
</main>
<footer><p><a href="#top">To the top</a> <a href="{up}about.html">About and licences</a>
<a href="https://friends.example/pictures/?page=1&amp;sort=new" rel="nofollow">Our friends</a></p></footer>
</body>
</html>
"""


def home(sections: Sequence[str], previews: Sequence[tuple[str, str]]) -> str:
    """Writes the home page.

    Args:
        sections: The site's sections.
        previews: Pairs of address and alt text of the pictures shown.

    Returns:
        The HTML.
    """
    shown = "\n".join(_img(escape(quote(url)), alt) for url, alt in previews)
    listed = "\n".join(f'<li><a href="{key}/">{SECTIONS[key][0]}</a>: {SECTIONS[key][1]}</li>' for key in sections)
    main = f"""<h1>{SITE_NAME}</h1>
<p>{shown}</p>
<ul>
{listed}
<li><a href="private/">Members only</a></li>
</ul>"""
    return page("Home", main, sections)


def about(sections: Sequence[str]) -> str:
    """Writes the page about the site's licences.

    Args:
        sections: The site's sections.

    Returns:
        The HTML.
    """
    main = """<h1>About</h1>
<p>The clip art is in the public domain (Open Clip Art Library). The emoji are Fluent Emoji, MIT licence, copyright
Microsoft Corporation, packaged by LobeHub; their names are those of the Unicode CLDR, Unicode License v3. The stamps,
where there are any, are those of Tux Paint, GPL version 2. <a href="SOURCES.csv">SOURCES.csv</a> tells where each file
comes from, and <a href="FAULTS.csv">FAULTS.csv</a> what is broken on purpose.</p>"""
    return page("About and licences", main, sections)
