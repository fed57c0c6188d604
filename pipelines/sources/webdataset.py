"""Links into WebDataset shards that others made: pictures or clips with their captions, in tars on this machine.

Shards on an object store are copied to this machine first. The crawl serves the shards' folder while it runs and
fetches each member over HTTP like any other link, so that the same bounds and the same sandboxed decoders hold for
them. What is in a shard is for `pipelines.shared.tar_samples`.
"""

import json
import os
import urllib.parse
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.shared.cells import CellError, cell_texts
from pipelines.shared.fetch import Fetcher
from pipelines.shared.guard import SERVED_ORIGIN
from pipelines.shared.inputs import local_folder
from pipelines.shared.losses import Losses
from pipelines.shared.records import ORIGINS, Caption, Link
from pipelines.shared.tar_samples import TarSample, tar_samples
from pipelines.shared.tars import TarError, content_of
from pipelines.shared.texts import clean_text

ENDING = ".tar"
EXTENSION_AFTER = ("first_dot", "last_dot")
MAX_TEXT_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        folder: Where the shards are: a path, or a URL (`s3://...`) that is copied to this machine.
        shards: Pattern of their names, which end in `.tar`.
        captions: Where captions are, best first: a text member by its extension (`txt`), or a field of the `json`
            member (`json.caption`), a text or a list of texts.
        extension_after: Where a member's extension begins: `first_dot`, as webdataset has it, or `last_dot` for tars
            whose names have dots of their own (`img.001.jpg`).
        origin: `web`, or `human` if people wrote the captions for the pictures.
    """

    folder: str
    shards: str = "*.tar"
    captions: tuple[str, ...] = ("txt",)
    extension_after: str = "first_dot"
    origin: str = "web"

    def __post_init__(self) -> None:
        if self.origin not in ORIGINS:
            raise ValueError(f"origin must be one of {', '.join(ORIGINS)}, got {self.origin!r}")
        if self.extension_after not in EXTENSION_AFTER:
            raise ValueError(
                f"extension_after must be one of {', '.join(EXTENSION_AFTER)}, got {self.extension_after!r}"
            )
        if not self.shards or self.shards.startswith("/") or ".." in self.shards.split("/"):
            raise ValueError(f"shards must be a pattern of names inside the folder, got {self.shards!r}")
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
            ValueError: There is no shard, or one is not a whole tar, has a member twice, one that leads out of it, or
                the members of a sample apart.
        """
        for path in self._paths():
            shard, losses = path.relative_to(self.folder).as_posix(), Losses(str(path))
            for sample, captions in self._samples(path, losses):
                for member in sample.media:
                    address = urllib.parse.quote(f"/{shard}/{member.name}")
                    yield Link(url=SERVED_ORIGIN + address, captions=captions, page_url=shard)
            losses.report(fetcher)
            fetcher.page_counts["fetched"] += 1

    def _paths(self) -> list[Path]:
        paths = sorted(self.folder.glob(self.config.shards))
        if not paths:
            raise ValueError(f"{self.config.folder} has no shards {self.config.shards}")
        for path in paths:
            if path.suffix != ENDING:
                raise ValueError(f"shards must match names that end in {ENDING}, {self.config.shards!r} matches {path}")
            if os.fsencode(path) != str(path).encode(errors="replace"):
                raise ValueError(f"{str(path)!r}: the name of a shard must be UTF-8")
        return paths

    def _samples(self, path: Path, losses: Losses) -> Iterator[tuple[TarSample, tuple[Caption, ...]]]:
        kinds = frozenset(place.partition(".")[0] for place in self.config.captions)
        by_last_dot = self.config.extension_after == "last_dot"
        try:
            with path.open("rb") as handle:
                for sample in tar_samples(handle, kinds, losses, by_last_dot=by_last_dot):
                    texts: dict[str, bytes] = {}
                    for extension, member in sample.texts.items():
                        if member.num_bytes <= MAX_TEXT_BYTES:
                            texts[extension] = content_of(handle, member)
                        else:
                            losses.add("text_refused", f"{member.name!r}: more than {MAX_TEXT_BYTES} bytes")
                    yield sample, self._captions(sample.key, texts, losses)
        except (TarError, OSError) as error:
            raise ValueError(f"{path} cannot be read as a tar: {error}") from error

    def _captions(self, key: str, texts: Mapping[str, bytes], losses: Losses) -> tuple[Caption, ...]:
        places: dict[str, str] = {}
        for place in self.config.captions:
            extension, _, field = place.partition(".")
            if extension not in texts:
                continue
            try:
                content = texts[extension].decode("utf-8-sig")
                found = cell_texts(_json_field(content, field)) if field else [content]
            except (UnicodeDecodeError, CellError) as error:
                losses.add("text_refused", f"{f'{key}.{extension}'!r}: {error}")
                continue
            for each in found:
                if text := clean_text(each):
                    places.setdefault(text, place)
        return tuple(Caption(text=text, origin=self.config.origin, place=place) for text, place in places.items())


def _json_field(content: str, field: str) -> object:
    """A field of a JSON object, None where it has none of that name; raises CellError for what is no object."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CellError(f"not JSON: {error!s:.80}") from None
    if not isinstance(value, dict):
        raise CellError(f"no JSON object but {value!r:.80}")
    return value.get(field)
