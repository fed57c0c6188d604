"""From a source's stream of links to the crawl's shards, in constant memory.

Links are put into 256 files by the first two digits of their keys; each file is then sorted and freed of duplicates by
itself, and the files one after another are cut into shards (`ranges`). Links of equal keys become one: the first one's
page, and the distinct captions of all, in the order in which the source gave them.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.shared.files import clear_folder, write_bytes, write_json
from pipelines.shared.ranges import key_ranges
from pipelines.shared.reasons import may_pass
from pipelines.shared.records import Caption, Link, sample_key
from pipelines.shared.texts import utf8_text
from pipelines.shared.urls import canonical_url

MAX_CAPTIONS = 32
BUCKETS = tuple(f"{number:02x}" for number in range(256))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a crawl has to do.

    Attributes:
        chunks: Names of the shards to make, in key order; `<folder>/<name>.jsonl` holds the links of one.
        num_links: Links, each key counted once.
        details: JSON values that the source's discovery leaves for the manifest.
    """

    chunks: tuple[str, ...]
    num_links: int
    details: dict[str, Any]

    @property
    def lacks_pages(self) -> bool:
        """Whether pages of the source were not read for a reason that may pass, so that links may be missing."""
        return any(may_pass(reason) for reason in self.details.get("pages", ()))


async def write_links(links: AsyncIterator[Link], source: str, folder: Path) -> int:
    """Spread links over bucket files in a folder that is emptied first.

    Returns:
        How many links the source gave, duplicates counted.
    """
    clear_folder(folder)
    count = 0
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / name).open("w", encoding="utf-8")) for name in BUCKETS}
        async for link in links:
            url = canonical_url(link.url)
            key = sample_key(source, url)
            captions = [{**caption.as_dict(), "text": utf8_text(caption.text)} for caption in link.captions]
            row = [key, url, utf8_text(link.page_url), link.optout, captions]
            files[key[:2]].write(json.dumps(row) + "\n")
            count += 1
    return count


def write_plan(folder: Path, links_per_chunk: int, details: dict[str, Any]) -> Plan:
    """Turn bucket files into sorted chunks of at most so many links and write `plan.json` last; the bucket files go."""
    chunks: list[str] = []
    num_links = 0
    for name, lines in key_ranges(_sorted_lines(folder), lambda keyed: keyed[0], links_per_chunk):
        write_bytes(chunk_path(folder, name), "".join(line for _, line in lines).encode())
        chunks.append(name)
        num_links += len(lines)
    write_json(folder / "plan.json", {"chunks": chunks, "num_links": num_links, "details": details})
    for name in BUCKETS:
        (folder / name).unlink()
    return Plan(tuple(chunks), num_links, details)


def read_plan(folder: Path) -> Plan | None:
    """The plan that an earlier run left, if it was finished and all of it is there."""
    path = folder / "plan.json"
    if not path.exists():
        return None
    values = json.loads(path.read_bytes())
    if not all(chunk_path(folder, name).is_file() for name in values["chunks"]):
        return None
    return Plan(tuple(values["chunks"]), values["num_links"], values["details"])


def chunk_path(folder: Path, name: str) -> Path:
    """The file with the links of one shard."""
    return folder / f"{name}.jsonl"


def read_chunk(folder: Path, name: str) -> list[tuple[str, Link]]:
    """Keys and links of one shard, in key order."""
    pairs = []
    with chunk_path(folder, name).open(encoding="utf-8") as handle:
        for line in handle:
            key, url, page_url, optout, captions = json.loads(line)
            texts = tuple(Caption(**caption) for caption in captions)
            pairs.append((key, Link(url=url, captions=texts, page_url=page_url, optout=optout)))
    return pairs


def _sorted_lines(folder: Path) -> Iterator[tuple[str, str]]:
    """Keys and lines of all links, each key once, in order."""
    for name in BUCKETS:
        merged: dict[str, list[Any]] = {}
        with (folder / name).open(encoding="utf-8") as handle:
            for line in handle:
                row = json.loads(line)
                if row[0] not in merged:
                    merged[row[0]] = row
                    continue
                kept = merged[row[0]]
                known = {caption["text"] for caption in kept[4]}
                kept[4] += [caption for caption in row[4] if caption["text"] not in known]
                kept[3] = kept[3] or row[3]
        for key in sorted(merged):
            *head, captions = merged[key]
            yield key, json.dumps([*head, captions[:MAX_CAPTIONS]]) + "\n"
