"""Links into WebDataset shards that others made: pictures or clips with their captions, in tars on this machine.

Shards on an object store are copied to this machine first. The crawl serves the shards' folder while it runs and
fetches each member over HTTP like any other link, so that the same bounds and the same sandboxed decoders hold for
them.
"""

import json
import tarfile
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pipelines.shared.fetch import Fetcher
from pipelines.shared.guard import SERVED_ORIGIN
from pipelines.shared.inputs import local_folder
from pipelines.shared.records import ORIGINS, Caption, Link
from pipelines.shared.texts import clean_text

MEDIA = ("jpg", "jpeg", "png", "webp", "gif", "mp4")
MAX_TEXT_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        folder: Where the shards are: a path, or a URL (`s3://...`) that is copied to this machine.
        shards: Pattern of their names.
        captions: Where captions are, best first: a text member by its extension (`txt`), or a field of the `json`
            member (`json.caption`).
        origin: `web`, or `human` if people wrote the captions for the pictures.
    """

    folder: str
    shards: str = "*.tar"
    captions: tuple[str, ...] = ("txt",)
    origin: str = "web"

    def __post_init__(self) -> None:
        if self.origin not in ORIGINS:
            raise ValueError(f"origin must be one of {', '.join(ORIGINS)}, got {self.origin!r}")
        if not self.captions or not all(place.removeprefix("json.") for place in self.captions):
            raise ValueError(f"captions must name a text member or json.<field>, got {list(self.captions)}")


class Source:
    """See `pipelines.sources.Source`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.folder = local_folder(config.folder)

    def files(self) -> tuple[str, ...]:
        """None beside the folder that is served."""
        return ()

    def serves(self) -> str:
        """The shards' folder."""
        return self.config.folder

    async def links(self, fetcher: Fetcher) -> AsyncIterator[Link]:
        """One link per picture or clip, in the order of the shards; samples without one are counted as `no_media`.

        Raises:
            ValueError: There is no shard, or one is not a whole tar.
        """
        paths = sorted(self.folder.glob(self.config.shards))
        if not paths:
            raise ValueError(f"{self.config.folder} has no shards {self.config.shards}")
        for path in paths:
            shard = path.relative_to(self.folder).as_posix()
            for members, captions in self._samples(path):
                for member in members:
                    address = urllib.parse.quote(f"/{shard}/{member}")
                    yield Link(url=SERVED_ORIGIN + address, captions=captions, page_url=shard)
                if not members:
                    fetcher.page_counts["no_media"] += 1
            fetcher.page_counts["fetched"] += 1

    def _samples(self, path: Path) -> Iterator[tuple[list[str], tuple[Caption, ...]]]:
        """Media members and captions of each sample: members that stand together and share all before their dot."""
        try:
            with tarfile.open(path, "r:") as archive:
                files = (member for member in archive if member.isfile())
                for _, group in groupby(files, lambda member: _split_name(member.name)[0]):
                    texts: dict[str, bytes] = {}
                    media = []
                    for member in group:
                        extension = _split_name(member.name)[1]
                        if extension in MEDIA:
                            media.append(member.name)
                        elif member.size <= MAX_TEXT_BYTES and self._has_text(extension):
                            handle = archive.extractfile(member)
                            texts[extension] = handle.read() if handle else b""
                    yield media, self._captions(texts)
                _check_end(path, archive.offset)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ValueError(f"{path} cannot be read as a tar: {error}") from error

    def _has_text(self, extension: str) -> bool:
        return any(place.partition(".")[0] == extension for place in self.config.captions)

    def _captions(self, texts: dict[str, bytes]) -> tuple[Caption, ...]:
        places: dict[str, str] = {}
        for place in self.config.captions:
            member, _, field = place.partition(".")
            content = texts.get(member, b"").decode(errors="replace")
            if text := clean_text(_json_field(content, field) if field else content):
                places.setdefault(text, place)
        return tuple(Caption(text=text, origin=self.config.origin, place=place) for text, place in places.items())


def _check_end(path: Path, offset: int) -> None:
    """Raises ReadError where no end mark follows the last member: `tarfile` takes a damaged header for the end."""
    with path.open("rb") as handle:
        handle.seek(offset)
        if handle.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"no member and no end mark at byte {offset}")


def _split_name(name: str) -> tuple[str, str]:
    """WebDataset's rule: the extension begins at the first dot after the last slash; in lower case."""
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()


def _json_field(content: str, field: str) -> str:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    text = value.get(field) if isinstance(value, dict) else None
    return text if isinstance(text, str) else ""
