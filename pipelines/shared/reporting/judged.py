"""Every link of a filter's sources with what was decided about it, read shard by shard beside the crawl's facts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import read_manifest

CRAWL = "crawl:"
DECISIONS = ("key", "kept", "reason", "captions_kept")
FACTS = ("key", "url", "captions")


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """One link.

    Attributes:
        key: Its key.
        shard: Name of its shard in the crawl, without an ending.
        reason: Why it was removed; empty if it was kept.
        url: Its address.
        captions: Text and origin of all captions that it was found with.
        captions_kept: Places of those that the filter lets pass.
    """

    key: str
    shard: str
    reason: str
    url: str
    captions: Sequence[tuple[str, str]]
    captions_kept: Sequence[int]

    @property
    def has_pixels(self) -> bool:
        """Whether the crawl stored its picture or clip."""
        return not self.reason.startswith(CRAWL)

    @property
    def host(self) -> str:
        """Of its address."""
        return urlsplit(self.url).hostname or ""


def judged(data: Path, name: str, source: str) -> Iterator[Judged]:
    """All links of a source of a filter, in the order of its layers."""
    folder, crawled = data / "filter" / name, data / "crawl" / source
    facts_files = {Path(info.name).stem: info for info in read_manifest(crawled).layers}
    for info in read_manifest(folder).files(f"{source}/"):
        shard = Path(info.name).stem
        facts = read_layer(crawled, facts_files[shard], FACTS).to_pylist()
        decisions = read_layer(folder, info, DECISIONS).to_pylist()
        for fact, decision in zip(facts, decisions, strict=True):
            assert fact["key"] == decision["key"], f"{info.name} is in the order of its shard"
            yield Judged(
                key=fact["key"],
                shard=shard,
                reason=decision["reason"],
                url=fact["url"],
                captions=tuple((caption["text"], caption["origin"]) for caption in fact["captions"] or ()),
                captions_kept=tuple(decision["captions_kept"] or ()),
            )
