"""Pages of a source on the web, kept so that they are asked for only if they have changed.

A cache and no more: a page that is missing or damaged is fetched whole. Only pages with a validator are kept; pages
that a walk over the source did not ask for are dropped by `sweep`.
"""

import hashlib
import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.shared.answers import Held
from pipelines.shared.files import canonical_json, write_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPage:
    """A page as it was when it was fetched."""

    held: Held
    content_type: str
    body: bytes


class PageStore:
    """A folder with a file for each page: the digest of what follows, a line of JSON, the compressed body."""

    def __init__(self, folder: Path, *, is_kept: bool = True) -> None:
        """Nothing is written where `is_kept` is False."""
        self.folder = folder
        self.is_kept = is_kept
        self._asked: set[Path] = set()

    def find(self, url: str) -> StoredPage | None:
        """The page of a URL, if it is there and whole."""
        path = self._path(url)
        self._asked.add(path)
        try:
            sha256, _, content = path.read_bytes().partition(b"\n")
            if sha256.decode() != hashlib.sha256(content).hexdigest():
                return None
            head, _, body = content.partition(b"\n")
            values = json.loads(head)
            held = Held(**values["held"])
            return StoredPage(held=held, content_type=values["content_type"], body=zlib.decompress(body))
        except (OSError, ValueError, KeyError, TypeError, zlib.error):
            return None

    def keep(self, url: str, held: Held, content_type: str, body: bytes) -> None:
        """Keep a page that was fetched."""
        if self.is_kept and (held.etag or held.last_modified):
            head = canonical_json({"url": url, "held": asdict(held), "content_type": content_type})
            content = f"{head}\n".encode() + zlib.compress(body)
            write_bytes(self._path(url), f"{hashlib.sha256(content).hexdigest()}\n".encode() + content)

    def sweep(self) -> None:
        """Drop all pages that nobody looked for since this store was opened."""
        if self.is_kept and self.folder.is_dir():
            for path in self.folder.iterdir():
                if path not in self._asked:
                    path.unlink(missing_ok=True)

    def _path(self, url: str) -> Path:
        return self.folder / hashlib.sha256(url.encode()).hexdigest()
