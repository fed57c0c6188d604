"""`croissant.json`: the packs in MLCommons' vocabulary for data sets, which other tools find and load them by.

Source: the Croissant format, version 1.0 (http://mlcommons.org/croissant/1.0; Akhtar et al. 2024, arXiv:2403.19546).

Every split of a pack has two record sets with the same keys: the pictures or clips, and the first caption of each. They
are not joined, because the reference implementation joins no two sets of files of one archive.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.shared.files import digest_json
from pipelines.shared.manifests import Manifest, manifest_digest, read_manifest
from pipelines.shared.shards import FileInfo

VERSION = "1.0.0"
CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
PICTURES = {"*.jpg": "image/jpeg", "*.png": "image/png", "*.webp": "image/webp"}
CLIPS = {"*.mp4": "video/mp4"}
KEY_OF_NAME = {"regex": r"^([0-9a-f]{20})\..*$"}


def croissant(title: str, packs: Path, keys: Iterable[str], licences: Iterable[str], shards_at: str) -> dict[str, Any]:
    """The document.

    Args:
        title: Name of the data set.
        packs: Folder of the packs.
        keys: The packs.
        licences: All licences that are stated of its sources.
        shards_at: Relative URL of the folder of the packs, with a slash at its end.
    """
    manifests = {key: read_manifest(packs / key) for key in sorted(keys)}
    distribution: list[dict[str, Any]] = []
    record_sets: list[dict[str, Any]] = []
    for key, manifest in manifests.items():
        distribution += [_shard(key, info, shards_at) for info in manifest.shards]
        for split, infos in _splits(manifest).items():
            name = f"{key}/{split}"
            clips = manifest.details.get("media") == "video"
            shards = [{"@id": f"{key}/{info.name}"} for info in infos]
            distribution.append(_files(f"{name}/media", shards, CLIPS if clips else PICTURES))
            distribution.append(_files(f"{name}/texts", shards, {"*.txt": "text/plain"}))
            kind = ("video", "sc:VideoObject") if clips else ("image", "sc:ImageObject")
            record_sets.append(_records(name, f"{name}/media", *kind))
            record_sets.append(_records(f"{name}/captions", f"{name}/texts", "caption", "sc:Text"))
    digests = [manifest_digest(packs / key) for key in manifests]
    stated = sorted(set(licences))
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": title,
        "description": _description(manifests),
        **({"license": stated} if stated else {}),
        "url": "data.html",
        "version": f"{VERSION}+{digest_json(digests)[:12]}",
        "distribution": distribution,
        "recordSet": record_sets,
    }


def _splits(manifest: Manifest) -> dict[str, list[FileInfo]]:
    splits: dict[str, list[FileInfo]] = {}
    for info in manifest.shards:
        splits.setdefault(info.name.partition("/")[0], []).append(info)
    return splits


def _shard(pack: str, info: FileInfo, shards_at: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": f"{pack}/{info.name}",
        "name": f"{pack}/{info.name}",
        "contentUrl": f"{shards_at}{pack}/{info.name}",
        "contentSize": f"{info.num_bytes} B",
        "encodingFormat": "application/x-tar",
        "sha256": info.sha256,
    }


def _files(name: str, shards: list[dict[str, str]], kinds: Mapping[str, str]) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "containedIn": shards,
        "encodingFormat": [*kinds.values()],
        "includes": [*kinds],
    }


def _records(name: str, files: str, field: str, data_type: str) -> dict[str, Any]:
    def described(column: str, kind: str, source: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "@type": "cr:Field",
            "@id": f"{name}/{column}",
            "name": f"{name}/{column}",
            "dataType": kind,
            "source": {"fileSet": {"@id": files}, **source},
        }

    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": {"@id": f"{name}/key"},
        "field": [
            described("key", "sc:Text", {"extract": {"fileProperty": "filename"}, "transform": KEY_OF_NAME}),
            described(field, data_type, {"extract": {"fileProperty": "content"}}),
        ],
    }


def _description(manifests: Mapping[str, Manifest]) -> str:
    packs = "; ".join(f"{key}: {', '.join(_counts(manifest))}" for key, manifest in manifests.items())
    return (
        f"Captioned pictures and clips in WebDataset shards ({packs}). A record set <pack>/<split> has the pictures "
        "or clips, <pack>/<split>/captions the first caption of each, by the same key; the json member of a sample "
        "has all captions, their origins, and the address that it was found at."
    )


def _counts(manifest: Manifest) -> Iterator[str]:
    for split, infos in _splits(manifest).items():
        yield f"{sum(info.num_samples for info in infos)} {split}"
