"""Checks of pages: scripts, styles, fonts and pictures that come from the network leave a page blank offline.

Looked at are the templates in the project's packages and the pages among the outputs. Links that a reader may follow
are left alone.
"""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from pipelines.shared.doctoring.findings import Finding
from pipelines.shared.doctoring.project import Project

SUFFIXES = frozenset({".css", ".htm", ".html", ".j2", ".jinja", ".js", ".svg"})
HTML = frozenset({".htm", ".html", ".j2", ".jinja", ".svg"})
REMOTE = re.compile(r"\s*(?:https?:)?//[^\s'\"),]+", re.IGNORECASE)
LOADED = {  # attributes that are fetched when the page is shown, by element
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src", "href", "xlink:href"),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("poster", "src"),
}
FOLLOWED_LINKS = frozenset({"alternate", "author", "canonical", "license", "me", "next", "prev"})
IN_STYLE = re.compile(r"(?:url\(|@import)\s*['\"]?\s*(?P<url>(?:https?:)?//[^\s'\")]+)", re.IGNORECASE)
IN_SCRIPT = re.compile(
    r"(?:\bimport\b[^;\n]*?|\bfrom\s*|\bfetch\(\s*|\bimportScripts\(\s*|\.src\s*=\s*|\bnew Worker\(\s*)"
    r"['\"`](?P<url>(?:https?:)?//[^\s'\"`]+)"
)


class Loads(HTMLParser):
    """Collects what a page loads from the network, with the line."""

    def __init__(self) -> None:
        """Nothing is found yet."""
        super().__init__(convert_charrefs=False)
        self.found: list[tuple[int, str]] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element's attributes."""
        values = {name: value or "" for name, value in attrs}
        if tag in {"script", "style"}:
            self.inside = tag
        follows = tag == "link" and set(values.get("rel", "").lower().split()) <= FOLLOWED_LINKS
        for name in LOADED.get(tag, ()) if not follows else ():
            for url in values.get(name, "").split(",") if name == "srcset" else [values.get(name, "")]:
                if match := REMOTE.match(url):
                    self.found.append((self.getpos()[0], match[0].strip()))
        self.found += [(self.getpos()[0], match["url"]) for match in IN_STYLE.finditer(values.get("style", ""))]

    def handle_endtag(self, tag: str) -> None:
        """The end of a script or style."""
        if tag == self.inside:
            self.inside = ""

    def handle_data(self, data: str) -> None:
        """The text of a script or style."""
        pattern = {"style": IN_STYLE, "script": IN_SCRIPT}.get(self.inside)
        if pattern:
            self.found += _in_text(pattern, data, self.getpos()[0])


def remote_references(project: Project) -> Iterator[Finding]:
    """What pages load from the network."""
    for file in page_files(project):
        for line, url in loads(file.suffix, file.read_text(encoding="utf-8", errors="replace")):
            yield Finding(
                "D50",
                f"{file.relative_to(project.root).as_posix()}:{line}",
                f"it loads {url}: offline, or once that is gone, the page is broken; and the other side sees readers",
                "put the file beside the page, or its content inside",
            )


def page_files(project: Project) -> list[Path]:
    """Templates in the project's packages, and pages among the outputs."""
    packages = [path.parent for path in project.root.glob("*/__init__.py")]
    outputs = {project.root / out.path for stage in project.stages for out in stage.outs if "://" not in out.path}
    found = [path for folder in packages for path in folder.rglob("*") if path.suffix in SUFFIXES]
    found += [path for out in outputs for path in (out.rglob("*.htm*") if out.is_dir() else [out])]
    return sorted(path for path in set(found) if path.suffix in SUFFIXES and path.is_file())


def loads(suffix: str, text: str) -> list[tuple[int, str]]:
    """What a file of this kind loads from the network: lines and addresses."""
    if suffix in HTML:
        parser = Loads()
        parser.feed(text)
        parser.close()
        return parser.found
    return _in_text(IN_STYLE if suffix == ".css" else IN_SCRIPT, text, 1)


def _in_text(pattern: re.Pattern[str], text: str, first: int) -> list[tuple[int, str]]:
    return [(first + text.count("\n", 0, match.start()), match["url"]) for match in pattern.finditer(text)]
