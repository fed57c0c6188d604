"""Every byte that was published, hashed again and compared with what was written down about it.

Compared are: files with their manifest, manifests with the manifests that were made from them, runs with their
`config.json` (which also stands inside the weights), everything with `dvc.lock` (a round's `audit.json` with it alone),
and objects of DVC's own cache with their names, which DVC itself never does again. Each file is read once for both
kinds of digest.

DVC's digest of a folder is the md5 of the JSON list of its files' md5 and paths; the folder's object in `.dvc/cache`,
where it is there, says which file is wrong. Only the default cache folder is looked at.
"""

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines.shared.audits import AUDIT
from pipelines.shared.files import CHUNK_BYTES, canonical_json
from pipelines.shared.manifests import MANIFEST, Manifest, read_manifest
from pipelines.shared.runs import CONFIG_FILE, WEIGHTS_FILE, read_run
from pipelines.shared.stage import DATA, RUNS

LOCK = Path("dvc.lock")
CACHE = Path(".dvc/cache/files/md5")
FOLDERS = {
    "crawl": ("sources",),
    "annotate": ("sources",),
    "filter": ("filters",),
    "pack": ("packs", "repacks"),
    "recaption": ("recaptions",),
    "evaluate": ("evaluations", "references"),
}
RUN_SECTIONS = ("models", "stacked")


@dataclass(frozen=True, slots=True)
class Digests:
    """Digests of one file."""

    num_bytes: int
    sha256: str
    md5: str


@dataclass(slots=True)
class Check:
    """What was found about one thing.

    Attributes:
        name: Its folder or file.
        num_files: How many files were compared.
        problems: What is wrong, each with the file's name.
    """

    name: str
    num_files: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Output:
    """An output of a stage as `dvc.lock` has it."""

    path: Path
    md5: str


def published(params: Mapping[str, Any]) -> tuple[list[Path], list[str]]:
    """Folders with a manifest, and keys of runs, that `params.yaml` names and that are there."""
    folders = [
        DATA / stage / key
        for stage, sections in FOLDERS.items()
        for section in sections
        for key in params.get(section) or {}
    ]
    runs = [key for section in RUN_SECTIONS for key in params.get(section) or {}]
    return [folder for folder in folders if folder.exists()], [key for key in runs if (RUNS / key).exists()]


def locked_outputs(params: Mapping[str, Any]) -> list[Output]:
    """Outputs in `dvc.lock`; those of instances that `params.yaml` no longer names are left out."""
    if not LOCK.is_file():
        return []
    keys = {key for section in params.values() if isinstance(section, Mapping) for key in section}
    stages = YAML(typ="safe", pure=True).load(LOCK.read_text(encoding="utf-8"))["stages"]
    return [
        Output(Path(out["path"]), out["md5"])
        for name, stage in stages.items()
        if "@" not in name or name.split("@")[1] in keys
        for out in stage.get("outs", ())
    ]


def verify(params: Mapping[str, Any], bar: Callable[[int, int], Any]) -> list[Check]:
    """Compare everything.

    Args:
        params: All of `params.yaml`.
        bar: Called with the number of bytes hashed so far and of all bytes.
    """
    folders, runs = published(params)
    outputs = locked_outputs(params)
    roots = {*folders, *(RUNS / key for key in runs), *(output.path for output in outputs)}
    files = {path for root in roots for path in files_under(root)}
    found = hash_files(files | set(_cached(outputs)), bar)
    checks = [check_manifest(folder, found) for folder in folders]
    checks += [check_run(key, found) for key in runs]
    checks += [check_output(output, found) for output in outputs]
    return [*checks, check_cache(found)]


def files_under(root: Path) -> list[Path]:
    """The file itself, or all files of a folder."""
    return [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())


def hash_files(paths: Iterable[Path], bar: Callable[[int, int], Any]) -> dict[Path, Digests]:
    """Digests of files, several at a time."""
    ordered = sorted(paths)
    total, done = sum(path.stat().st_size for path in ordered), 0
    found = {}
    with ThreadPoolExecutor() as pool:
        for path, digests in zip(ordered, pool.map(hash_file, ordered), strict=True):
            found[path] = digests
            done += digests.num_bytes
            bar(done, total)
    return found


def hash_file(path: Path) -> Digests:
    """Both digests of a file, in one reading."""
    sha256, md5, count = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            sha256.update(chunk)
            md5.update(chunk)
            count += len(chunk)
    return Digests(count, sha256.hexdigest(), md5.hexdigest())


def check_manifest(folder: Path, found: Mapping[Path, Digests]) -> Check:
    """Compare a folder with its manifest, and the manifest with what it was made from."""
    check = Check(str(folder))
    try:
        manifest = read_manifest(folder)
    except ValueError as error:
        check.problems.append(str(error))
        return check
    for info in manifest.files():
        check.num_files += 1
        digests = found.get(folder / info.name)
        if digests is None:
            check.problems.append(f"{folder / info.name} is missing")
        elif (digests.num_bytes, digests.sha256) != (info.num_bytes, info.sha256):
            check.problems.append(f"{folder / info.name} differs from {MANIFEST}")
    listed = {folder / info.name for info in manifest.files()} | {folder / MANIFEST, folder / AUDIT}
    extra = sorted(path for path in found if path.is_relative_to(folder) and path not in listed)
    check.problems += [f"{path} is not listed in {MANIFEST}" for path in extra]
    check.problems += _stale_inputs(manifest, found)
    return check


def _stale_inputs(manifest: Manifest, found: Mapping[Path, Digests]) -> Iterator[str]:
    """What a manifest was made from and is other now, or gone."""
    where = f"{manifest.stage}/{manifest.instance}"
    for name, expected in sorted(manifest.inputs.items()):
        stage, _, key = name.partition("/")
        path = RUNS / key / WEIGHTS_FILE if stage == "run" else DATA / name / MANIFEST
        if path not in found:
            yield f"{path} is missing, {where} was made from it"
        elif found[path].sha256 != expected:
            yield f"{path} is not the one that {where} was made from"


def check_run(key: str, found: Mapping[Path, Digests]) -> Check:
    """Compare a run's weights with its `config.json`, both ways, and with the pack and the run behind it."""
    weights = RUNS / key / WEIGHTS_FILE
    check = Check(str(RUNS / key))
    try:
        document = read_run(key)
    except ValueError as error:
        check.problems.append(str(error))
        return check
    check.num_files = 2
    if weights not in found:
        check.problems.append(f"{weights} is missing")
        return check
    if found[weights].sha256 != document["model_sha256"]:
        check.problems.append(f"{weights} differs from the sha256 in {CONFIG_FILE}")
    elif _inside(weights) != canonical_json({name: document[name] for name in document if name != "model_sha256"}):
        check.problems.append(f"{RUNS / key / CONFIG_FILE} differs from what stands inside {WEIGHTS_FILE}")
    behind = {DATA / "pack" / document["pack"]["key"] / MANIFEST: document["pack"]["manifest_sha256"]}
    if base := document["base"]:
        behind[RUNS / base["key"] / WEIGHTS_FILE] = base["sha256"]
    for path, expected in behind.items():
        if path not in found or found[path].sha256 != expected:
            check.problems.append(f"{path} is not the one that {key} was trained from")
    return check


def _inside(weights: Path) -> str:
    """The run's description in the header of its weights file."""
    with weights.open("rb") as handle:
        (size,) = struct.unpack("<Q", handle.read(8))
        return str(json.loads(handle.read(size)).get("__metadata__", {}).get("vignette", ""))


def check_output(output: Output, found: Mapping[Path, Digests]) -> Check:
    """Compare a file or folder with `dvc.lock`."""
    check = Check(f"{LOCK}: {output.path}")
    if not output.path.exists():
        check.problems.append(f"{output.path} is in {LOCK} but missing")
    elif output.path.is_file():
        check.num_files = 1
        if found[output.path].md5 != output.md5:
            check.problems.append(f"{output.path} differs from {LOCK}")
    else:
        here = {path.relative_to(output.path).as_posix(): found[path].md5 for path in files_under(output.path)}
        check.num_files = len(here)
        if folder_md5(here) != output.md5:
            listed = _listed(output)
            wrong = sorted({name for name, _ in here.items() ^ listed.items()}) if listed else []
            check.problems += [f"{output.path / name} differs from {LOCK}" for name in wrong] or [
                f"{output.path} differs from {LOCK}"
            ]
    return check


def folder_md5(files: Mapping[str, str]) -> str:
    """DVC's digest of a folder, from md5 by relative path."""
    listing = [{"md5": files[name], "relpath": name} for name in sorted(files)]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def check_cache(found: Mapping[Path, Digests]) -> Check:
    """Compare the objects of DVC's cache with their names, which are their digests."""
    objects = [path for path in found if path.is_relative_to(CACHE)]
    check = Check(str(CACHE), num_files=len(objects))
    for path in objects:
        if found[path].md5 != _cache_name(path):
            check.problems.append(f"{path} is damaged: remove it, then `dvc commit` or `dvc fetch`")
    return check


def _cache_name(path: Path) -> str:
    return (path.parent.name + path.name).removesuffix(".dir")


def _cache_path(md5: str) -> Path:
    return CACHE / md5[:2] / md5[2:]


def _listed(output: Output) -> dict[str, str]:
    """What DVC's cache says is in a folder, md5 by relative path; empty if the object is not there."""
    path = _cache_path(output.md5)
    return {entry["relpath"]: entry["md5"] for entry in json.loads(path.read_bytes())} if path.is_file() else {}


def _cached(outputs: Iterable[Output]) -> Iterator[Path]:
    """Objects of DVC's cache that the outputs refer to and that are there."""
    for output in outputs:
        for md5 in (output.md5, *_listed(output).values()) if output.md5.endswith(".dir") else (output.md5,):
            if _cache_path(md5).is_file():
                yield _cache_path(md5)
