"""Which outputs of a stage differ between two locks, and which of their files, where DVC's cache still knows both.

DVC keeps the list of a folder's files as an object of its cache, named by the folder's digest. Of a build that was made
elsewhere it is there after `dvc fetch`; without it sizes and counts of the locks are all that can be said.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.shared.dvc_files import cached_listing

Outs = Mapping[str, Mapping[str, Any]]
MAX_NAMED = 3


def differing_outputs(published: Outs, here: Outs) -> Iterator[str]:
    """A text for each output that differs.

    Args:
        published: By path the `md5` of each output, its `size` in bytes and, of a folder, `nfiles`, as a lock has them.
        here: Of the other build.
    """
    for path in dict.fromkeys([*published, *here]):
        one, other = published.get(path), here.get(path)
        if one is None or other is None:
            yield f"{path} (only {'here' if one is None else 'published'})"
        elif one["md5"] != other["md5"]:
            yield f"{path} ({_files(one, other) or _sizes(one, other)})"


def _files(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Names of the files that differ; empty if the cache does not know both folders."""
    first, second = (cached_listing(each["md5"]) for each in (one, other))
    if not first or not second:
        return ""
    names = sorted({name for name, _ in first.items() ^ second.items()})
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{len(names)} of {len(first.keys() | second.keys())} files: {', '.join(names[:MAX_NAMED])}{more}"


def _sizes(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    texts = [
        ", ".join(f"{each[name]:,} {unit}" for name, unit in (("nfiles", "files"), ("size", "bytes")) if name in each)
        for each in (one, other)
    ]
    return f"{texts[0]} published, {texts[1]} here" if texts[0] != texts[1] else f"{texts[0]}, other content"
