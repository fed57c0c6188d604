"""Sources: where samples come from. A source gives links; fetching, judging and storing them is the crawl's work."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

from pipelines.shared.fetch import Fetcher
from pipelines.shared.records import Link


class Source(Protocol):
    """What a source plug-in's `Source` class offers; it is made from its module's `Config`.

    A source gives its links in an order that depends on what it reads alone, and may give one several times: the crawl
    makes one of links with equal URLs and keeps the captions of all. Only the source's own pages or lists are read
    here, through the fetcher where they lie on the web. What is left out of them is counted in `fetcher.page_counts`,
    which ends in the manifest, and where a user can look at it its place is logged (`pipelines.shared.losses`).
    """

    def __init__(self, config: Any) -> None:
        """`config` is the module's `Config`."""

    def links(self, fetcher: Fetcher) -> AsyncIterator[Link]:
        """All links, as a stream.

        Raises:
            ValueError: The source cannot be read at all.
        """

    def files(self) -> tuple[str, ...]:
        """Paths or URLs of files that the links come from; `sources.lock` notes their digests.

        What a URL names is read from its local copy, see `pipelines.shared.inputs`.
        """

    def serves(self) -> str:
        """Folder, or its URL, that the crawl serves for this source where its entry has no `serve`; empty for none."""
