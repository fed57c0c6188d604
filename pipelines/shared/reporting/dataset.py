"""The dataset page: where samples come from, why others were removed, what captions are like, under which licences."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.shared.audits import read_audit
from pipelines.shared.layers import read_layer
from pipelines.shared.manifests import read_manifest
from pipelines.shared.reasons import FAILED, REJECTED
from pipelines.shared.reporting.funnel import Funnel, funnels
from pipelines.shared.reporting.judged import CRAWL, Judged, judged
from pipelines.shared.reporting.texts import TextStatistics, text_statistics
from pipelines.shared.reporting.thumbnails import thumbnails

HOSTS_SHOWN = 3
NOT_STATED = "not stated"
LISTED = "listed_"  # reasons of the rule `listed` where it takes out what its list names


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One link as the page shows it; `picture` is empty where the crawl has none, or none that decodes."""

    key: str
    source: str
    url: str
    captions: Sequence[tuple[str, str]]
    picture: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Removed:
    """What one reason took away.

    Attributes:
        count: How many links.
        meaning: Of the crawl's reasons, what they are.
        examples: The first ones; none of what a list takes out, such as what was taken down.
    """

    count: int
    meaning: str
    examples: Sequence[Example]


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """What a source is.

    Attributes:
        source: Its key.
        module: Its plug-in.
        licence: In words; `not stated` where `report.licences` does not have it.
        hosts: The hosts that most of its links point to, with counts.
    """

    source: str
    module: str
    licence: str
    hosts: Sequence[tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class FilterPage:
    """A filter's section.

    Attributes:
        name: Its key.
        funnels: Of its sources.
        kept: Examples by source.
        removed: By reason, the most frequent first.
        texts: Statistics of the captions that are kept.
    """

    name: str
    funnels: Sequence[Funnel]
    kept: Mapping[str, Sequence[Example]]
    removed: Mapping[str, Removed]
    texts: Sequence[TextStatistics]


@dataclass
class _Collected:
    """What one pass over a filter's links leaves behind."""

    chosen: dict[tuple[str, str], list[tuple[str, Judged]]] = field(default_factory=dict)  # by source or reason
    texts: list[TextStatistics] = field(default_factory=list)
    hosts: dict[str, Counter[str]] = field(default_factory=dict)


def dataset_page(
    data: Path, params: Mapping[str, Any], licences: Mapping[str, str], num_examples: int
) -> dict[str, Any]:
    """What the template `data.html` reads of the data: `filters`, `sources`, `rounds` and `audits`."""
    pages: list[FilterPage] = []
    hosts: dict[str, Counter[str]] = {}
    for name, ways in funnels(data, params["filters"]).items():
        collected = _collect(data, name, [way.source for way in ways], num_examples)
        hosts |= collected.hosts
        examples = _examples(data, collected.chosen)
        losses: Counter[str] = Counter()
        for way in ways:
            losses.update(dict(way.losses))
        pages.append(
            FilterPage(
                name=name,
                funnels=ways,
                kept={way.source: examples.get(("kept", way.source), []) for way in ways},
                removed={
                    reason: Removed(count=count, meaning=_meaning(reason), examples=examples["removed", reason])
                    for reason, count in losses.most_common()
                },
                texts=collected.texts,
            )
        )
    sources = [
        SourceFacts(
            source=source,
            module=params["sources"][source].get("module", ""),
            licence=licences.get(source, NOT_STATED),
            hosts=counts.most_common(HOSTS_SHOWN),
        )
        for source, counts in sorted(hosts.items())
    ]
    rounds = params.get("recaptions") or {}
    audits = {key: audit for key in sorted(rounds) if (audit := read_audit(data / "recaption" / key))}
    return {"filters": pages, "sources": sources, "rounds": _round_texts(data, rounds), "audits": audits}


def _collect(data: Path, name: str, sources: Sequence[str], num_examples: int) -> _Collected:
    """Go once over all links of a filter: the first of each kind are the examples."""
    collected = _Collected()
    for source in sources:
        hosts: Counter[str] = Counter()
        captions: list[tuple[str, str]] = []
        for link in judged(data, name, source):
            hosts[link.host] += 1
            chosen = collected.chosen.setdefault(("removed", link.reason) if link.reason else ("kept", source), [])
            if len(chosen) < num_examples and not link.reason.startswith(LISTED):
                chosen.append((source, link))
            if not link.reason:
                captions += [link.captions[place] for place in link.captions_kept]
        collected.hosts[source] = hosts
        collected.texts += text_statistics(source, captions)
    return collected


def _examples(data: Path, chosen: Mapping[tuple[str, str], Sequence[tuple[str, Judged]]]) -> dict[Any, list[Example]]:
    """The chosen links with their pictures; a shard is read once, whatever is wanted of it."""
    wanted: dict[str, dict[str, set[str]]] = {}
    for links in chosen.values():
        for source, link in links:
            if link.has_pixels:
                wanted.setdefault(source, {}).setdefault(link.shard, set()).add(link.key)
    pictures: dict[tuple[str, str], str] = {}
    for source, shards in wanted.items():
        crawled = data / "crawl" / source
        infos = [info for info in read_manifest(crawled).shards if Path(info.name).stem in shards]
        found = thumbnails(crawled, infos, set().union(*shards.values()))
        pictures |= {(source, key): picture for key, picture in found.items()}
    return {
        kind: [
            Example(
                key=link.key,
                source=source,
                url=link.url,
                captions=link.captions,
                picture=pictures.get((source, link.key), ""),
            )
            for source, link in links
        ]
        for kind, links in chosen.items()
    }


def _meaning(reason: str) -> str:
    if not reason.startswith(CRAWL):
        return ""
    code = reason.removeprefix(CRAWL).partition(":")[0]
    return {**REJECTED, **FAILED}.get("http" if code.startswith("http_") else code, "")


def _round_texts(data: Path, rounds: Iterable[str]) -> list[TextStatistics]:
    """Captions that recaption rounds kept."""
    statistics = []
    for key in sorted(rounds):
        folder = data / "recaption" / key
        candidates = (
            candidate
            for info in read_manifest(folder).layers
            for row in read_layer(folder, info, ("candidates",)).to_pylist()
            for candidate in row["candidates"]
        )
        kept = ((each["text"], each["origin"]) for each in candidates if each["kept"])
        statistics += text_statistics(f"round {key}", kept)
    return statistics
