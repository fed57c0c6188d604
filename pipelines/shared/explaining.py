"""One sample's whole life, put together from the layers: found, fetched, annotated, judged, packed, recaptioned.

Only what is needed is read, and nothing is hashed: `verify` does that.
"""

import bisect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from pipelines.shared.columns import judged_rows, read_columns, source_layers
from pipelines.shared.files import digest_json
from pipelines.shared.filtering import FilterEntry, columns_of, fit_rules, judge, load_rules
from pipelines.shared.inert_texts import visible
from pipelines.shared.manifests import MANIFEST, Manifest, read_manifest
from pipelines.shared.params import build
from pipelines.shared.records import Sample
from pipelines.shared.runs import CONFIG_FILE, read_run
from pipelines.shared.shards import FileInfo, read_shard
from pipelines.shared.splits import SPLITS
from pipelines.shared.stage import DATA, RUNS

KEY_PREFIX = re.compile(r"[0-9a-f]{1,20}")
MOST_SHOWN = 5
HIDDEN = ("key", "captions", "colour_grid")


@dataclass(frozen=True, slots=True)
class Found:
    """Where a sample was found: its source, the number of its shard there, and its row of the facts layer."""

    source: str
    shard: int
    facts: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The sample's key."""
        return str(self.facts["key"])


def find(params: Mapping[str, Any], query: str) -> Found:
    """The link that a key, the beginning of one, or a URL names.

    Raises:
        ValueError: There is none, or more than one.
    """
    matches = []
    for source in params.get("sources") or {}:
        folder = DATA / "crawl" / source
        if not (folder / MANIFEST).exists():
            continue
        for number, info in enumerate(read_manifest(folder).layers):
            table = pyarrow.parquet.read_table(folder / info.name, columns=["key", "url", "final_url"])
            for key in table.filter(_matches(table, query))["key"].to_pylist():
                matches.append((source, number, folder / info.name, key))
    if not matches:
        raise ValueError(f"no link of the crawled sources has a key that begins with, or the URL {query!r}")
    if len(matches) > 1:
        shown = ", ".join(f"{key} ({source})" for source, _, _, key in matches[:MOST_SHOWN])
        raise ValueError(f"{len(matches)} links match {query!r}; name one of them by its key: {shown}")
    source, number, path, key = matches[0]
    return Found(source, number, _row(path, key))


def _matches(table: pyarrow.Table, query: str) -> pyarrow.Array:
    if KEY_PREFIX.fullmatch(query):
        return pyarrow.compute.starts_with(table["key"], query)
    return pyarrow.compute.or_(
        pyarrow.compute.equal(table["url"], query), pyarrow.compute.equal(table["final_url"], query)
    )


def _row(path: Path, key: str) -> dict[str, Any]:
    rows = pyarrow.parquet.read_table(path, filters=[("key", "=", key)]).to_pylist()
    return dict(rows[0]) if rows else {}


def explain(params: Mapping[str, Any], query: str) -> str:
    """All that is known of a sample, as text."""
    found = find(params, query)
    lines = [f"{found.key}  {found.facts['status']}  {found.facts['reason']}".rstrip()]
    lines += _values({name: value for name, value in found.facts.items() if name not in HIDDEN})
    lines += _section("captions", _captions(found.facts["captions"]))
    lines += _section("annotations", _annotations(found))
    for name, entry in (params.get("filters") or {}).items():
        if found.source in entry["sources"]:
            lines += _section(f"filter {name}", _decision(params, name, entry, found))
    packs = {name: DATA / "pack" / name for section in ("packs", "repacks") for name in params.get(section) or {}}
    homes = {name: home for name, folder in packs.items() if (home := _home(folder, found.key)) is not None}
    for name, (shard, sample) in homes.items():
        captions = _captions([caption.as_dict() for caption in sample.captions])
        lines += _section(f"pack {name}: {shard.name}", captions)
    for name in params.get("recaptions") or {}:
        lines += _section(f"recaption {name}", _candidates(DATA / "recaption" / name, found.key))
    lines += _section("models trained on it", _models(params, homes))
    return "\n".join([*map(visible, lines), ""])


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", title, *lines] if lines else []


def _values(values: Mapping[str, Any]) -> list[str]:
    shown = {name: value for name, value in values.items() if value not in (None, "", [])}
    width = max(map(len, shown), default=0)
    return [
        f"  {name:<{width}}  {f'{value:.4g}' if isinstance(value, float) else value}" for name, value in shown.items()
    ]


def _captions(captions: list[dict[str, Any]]) -> list[str]:
    return [
        f"  {number}  {caption['origin']} {caption['place']}{_scores(caption)}: {caption['text']}"
        for number, caption in enumerate(captions)
    ]


def _scores(caption: Mapping[str, Any]) -> str:
    return "".join(f" {name} {value:.3f}" for name, value in sorted(dict(caption["scores"]).items()))


def _annotations(found: Found) -> list[str]:
    folder = DATA / "annotate" / found.source
    if not (folder / MANIFEST).exists() or found.facts["status"] != "success":
        return []
    row = _row(folder / read_manifest(folder).layers[found.shard].name, found.key)
    return _values({name: value for name, value in row.items() if name not in HIDDEN})


def _decision(params: Mapping[str, Any], name: str, values: Mapping[str, Any], found: Found) -> list[str]:
    """What a filter decided, and what each of its rules says of the sample taken alone."""
    folder = DATA / "filter" / name
    if not (folder / MANIFEST).exists():
        return ["  has not run"]
    manifest = read_manifest(folder)
    row = _row(folder / manifest.files(f"{found.source}/")[found.shard].name, found.key)
    if row["kept"]:
        lines = [f"  kept for {row['split']}"]
    else:
        lines = [f"  rejected: {row['reason']}{' by the rule ' + row['rule'] if row['rule'] else ''}"]
    if manifest.settings_digest != digest_json([values, params.get("seed", 0)]):
        lines.append("  params.yaml has changed since; its rules now say:")
    if found.facts["status"] == "success":
        lines += _outcomes(name, values, found)
    if row["cluster"]:
        lines.append(f"  cluster {row['cluster']}: " + "; ".join(_members(folder, manifest, row["cluster"])))
    return lines


def _outcomes(name: str, values: Mapping[str, Any], found: Found) -> Iterator[str]:
    entry = build(FilterEntry, values, f"filters.{name}")
    shards = [shard for source in entry.sources for shard in source_layers(source)[0]]
    rules = fit_rules(load_rules(entry.all_rules(f"filters.{name}"), f"filters.{name}.rules"), shards)
    own = [shard for shard in shards if shard.source == found.source][found.shard]
    facts, annotations = judged_rows(*own.read(columns_of(rules)))
    mine = pyarrow.compute.equal(facts["key"], found.key)
    columns = read_columns(facts.filter(mine), annotations.filter(mine), columns_of(rules))
    if not len(columns.num_captions):
        return
    verdict = judge(columns, rules)
    for rule in rules:
        outcome = verdict.outcomes[rule.key].tolist()
        said = ["passes" if keep else f"FAILS ({rule.filter.reason})" for keep in outcome]
        texts = said if rule.filter.scope == "sample" else [f"caption {n} {each}" for n, each in enumerate(said)]
        yield f"  rule {rule.key}: {', '.join(texts)}"


def _members(folder: Path, manifest: Manifest, cluster: str) -> list[str]:
    """Samples of a cluster, with their split or the reason why they were left out."""
    members = []
    for info in manifest.layers:
        rows = pyarrow.parquet.read_table(folder / info.name, filters=[("cluster", "=", cluster)]).to_pylist()
        members += [f"{row['key']} {row['split'] or row['reason']}" for row in rows]
    return sorted(members)


def _home(folder: Path, key: str) -> tuple[FileInfo, Sample] | None:
    """The shard of a pack that holds a sample, and the sample as it is there."""
    if not (folder / MANIFEST).exists():
        return None
    manifest = read_manifest(folder)
    first_keys = manifest.details["first_key"]
    for split in SPLITS:
        shards = [info for info in manifest.shards if info.name.startswith(f"{split}/")]
        position = bisect.bisect_right([first_keys[info.name] for info in shards], key) - 1
        if position >= 0:
            for sample in read_shard(folder, shards[position]):
                if sample.key == key:
                    return shards[position], sample
    return None


def _candidates(folder: Path, key: str) -> list[str]:
    """The captions that a round judged, with their scores and what became of them."""
    if not (folder / MANIFEST).exists():
        return []
    for info in read_manifest(folder).layers:
        if row := _row(folder / info.name, key):
            lines = _captions(row["candidates"])
            kept = ["kept" if candidate["kept"] else "REJECTED" for candidate in row["candidates"]]
            told = [f"{line}  [{decision}]" for line, decision in zip(lines, kept, strict=True)]
            return [*told, f"  failed: {row['error']}"] if row.get("error") else told
    return []


def _models(params: Mapping[str, Any], homes: Mapping[str, tuple[FileInfo, Sample]]) -> list[str]:
    """Runs that were trained on a pack whose training split holds the sample."""
    packs = {name for name, (shard, _) in homes.items() if shard.name.startswith("train/")}
    runs = [key for section in ("models", "stacked") for key in params.get(section) or {}]
    documents = {key: read_run(key) for key in runs if (RUNS / key / CONFIG_FILE).exists()}
    return [f"  {key}" for key, document in documents.items() if document["step"] and document["pack"]["key"] in packs]
