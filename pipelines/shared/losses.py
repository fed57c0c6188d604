"""What a source cannot take of a list or a tar: how much by reason, and where the first ones are."""

import logging
from collections import Counter

from pipelines.shared.fetch import Fetcher

MAX_PLACES = 5
logger = logging.getLogger("vignette.crawl")


class Losses:
    """Counts of one file, and its first places of each reason.

    Attributes:
        counts: How often each reason was met.
    """

    def __init__(self, where: str) -> None:
        """`where` is the file, as the user named it."""
        self.where = where
        self.counts: Counter[str] = Counter()
        self._places: dict[str, list[str]] = {}

    def add(self, reason: str, place: str = "") -> None:
        """Count one; without a place it is not worth a line."""
        self.counts[reason] += 1
        places = self._places.setdefault(reason, [])
        if place and len(places) < MAX_PLACES:
            places.append(place)

    def first(self, reason: str) -> str:
        """The first places of a reason, for one line."""
        places = self._places.get(reason, [])
        more = self.counts[reason] - len(places)
        return "; ".join(places) + (f"; and {more} more" if places and more else "")

    def report(self, fetcher: Fetcher | None) -> None:
        """Log one line per reason that has places, and add the counts to those of the source."""
        for reason in sorted(self._places):
            if self._places[reason]:
                logger.warning("%s: %d %s: %s", self.where, self.counts[reason], reason, self.first(reason))
        if fetcher is not None:
            fetcher.page_counts.update(self.counts)
