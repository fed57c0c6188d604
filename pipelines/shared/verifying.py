"""Every byte that was published, hashed again and compared with what was written down about it.

Compared are: manifests and configs with the digests and the form that they were written with; files with their
manifest; manifests with the manifests that were made from them; runs with their `config.json` (which also stands
inside the weights); scores with the manifest of their evaluation; the leaderboard's history with its own digests and
the last commit; everything with `dvc.lock`, and the lock with what it speaks of (`pipelines.shared.lock_checks`); and
objects and runs of DVC's own cache with their names, which DVC itself never does again. Each file is read once for
both kinds of digest. Whatever is wrong is a line that names the file, and the rest is compared nevertheless.
"""

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.shared.audits import AUDIT, read_audit
from pipelines.shared.documents import check_canonical, open_sealed, read_json
from pipelines.shared.dvc_files import (
    CACHE,
    RUN_CACHE,
    Digests,
    Listed,
    as_entry,
    as_listed,
    cached_listing,
    files_under,
    hash_file,
    is_damaged_object,
    is_damaged_run,
)
from pipelines.shared.dvc_lock import LOCK
from pipelines.shared.files import canonical_json, digest_json
from pipelines.shared.lock_checks import Lock, LockChecker, committed, read_lock
from pipelines.shared.manifests import MANIFEST, SCORE_SHA256, Manifest, read_manifest
from pipelines.shared.recording import COMPARISON, RECORDS, damaged_records
from pipelines.shared.runs import CONFIG_FILE, OUTSIDE_WEIGHTS, WEIGHTS_FILE, read_run
from pipelines.shared.stage import DATA, RUNS, SCORES

FOLDERS = {
    "crawl": ("sources",),
    "annotate": ("sources",),
    "filter": ("filters",),
    "pack": ("packs", "repacks"),
    "recaption": ("recaptions",),
    "evaluate": ("evaluations", "references"),
}
RUN_SECTIONS = ("models", "stacked")
UNREADABLE = Digests(-1, "", "")


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
    listed: Listed


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


def locked_outputs(stages: Mapping[str, Mapping[str, Any]], params: Mapping[str, Any]) -> list[Output]:
    """Outputs in `dvc.lock`; those of instances that `params.yaml` no longer names are left out."""
    keys = {key for section in params.values() if isinstance(section, Mapping) for key in section}
    return [
        Output(Path(out["path"]), as_entry(out))
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
    content, before = LOCK.read_bytes() if LOCK.is_file() else None, committed(LOCK)
    lock = Lock() if content is None else read_lock(content)
    outputs = locked_outputs(lock.stages, params)
    roots = {*folders, *(RUNS / key for key in runs), *(output.path for output in outputs)}
    files = {path for root in roots for path in files_under(root)}
    found = hash_files(files | set(cached_objects()), bar)
    checks = [check_manifest(folder, found) for folder in folders]
    checks += [check_run(key, found) for key in runs]
    sound = {Path(check.name) for check in checks if not check.problems}
    checks += check_scores(params)
    checks += [check_output(output, found, is_sound=output.path in sound) for output in outputs]
    if content is not None or before is not None or CACHE.is_dir():
        checks.append(check_lock(lock, before, params, found))
    return [*checks, check_cache(found, lock)]


def hash_files(paths: Iterable[Path], bar: Callable[[int, int], Any]) -> dict[Path, Digests]:
    """Digests of files, several at a time; those of a file that cannot be read are no file's."""
    ordered = sorted(paths)
    total, done = sum(path.stat().st_size for path in ordered), 0
    found = {}
    with ThreadPoolExecutor() as pool:
        for path, digests in zip(ordered, pool.map(_digests, ordered), strict=True):
            found[path] = digests
            done += max(digests.num_bytes, 0)
            bar(done, total)
    return found


def _digests(path: Path) -> Digests:
    try:
        return hash_file(path)
    except OSError:
        return UNREADABLE


def check_manifest(folder: Path, found: Mapping[Path, Digests]) -> Check:
    """Compare a folder with its manifest, and the manifest with what it was made from."""
    check = Check(str(folder))
    try:
        manifest = read_manifest(folder)
    except ValueError as error:
        check.problems.append(str(error))
        return check
    check.num_files = len(manifest.files())
    for info in manifest.files():
        digests = found.get(folder / info.name)
        if digests is None:
            check.problems.append(f"{folder / info.name} is missing")
        elif (digests.num_bytes, digests.sha256) != (info.num_bytes, info.sha256):
            check.problems.append(f"{folder / info.name} differs from {MANIFEST}")
    listed = {folder / info.name for info in manifest.files()} | {folder / MANIFEST, folder / AUDIT}
    if folder / AUDIT in found:
        check.num_files += 1
        check.problems += _wrong_audit(folder)
    extra = sorted(path for path in found if path.is_relative_to(folder) and path not in listed)
    check.problems += [f"{path} is not listed in {MANIFEST}" for path in extra]
    check.problems += _stale_inputs(manifest, found)
    return check


def _wrong_audit(folder: Path) -> Iterator[str]:
    """What is wrong with a round's audit, which no manifest lists."""
    try:
        read_audit(folder)
    except ValueError as error:
        yield str(error)


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
    """Compare a run's files with its `config.json`, that with the weights, and both with the pack and run behind it."""
    check = Check(str(RUNS / key))
    config = RUNS / key / CONFIG_FILE
    try:
        document = read_run(key)
        check_canonical(config, document)
        check.problems += _wrong_files(key, document, found)
        check.problems += _stale_bases(key, document, found)
        check.num_files = 2 + len(document.get("files", {}))
    except ValueError as error:
        check.problems.append(str(error))
    except (LookupError, TypeError, AttributeError) as error:
        check.problems.append(f"{config} is not a run's config: {type(error).__name__}: {error}")
    return check


def _wrong_files(key: str, document: Mapping[str, Any], found: Mapping[Path, Digests]) -> Iterator[str]:
    folder = RUNS / key
    weights = folder / WEIGHTS_FILE
    if weights not in found:
        yield f"{weights} is missing"
    elif found[weights].sha256 != document["model_sha256"]:
        yield f"{weights} differs from the sha256 in {CONFIG_FILE}, one of them is damaged"
    elif _inside(weights) != canonical_json({n: document[n] for n in document if n not in OUTSIDE_WEIGHTS}):
        yield f"{folder / CONFIG_FILE} differs from what stands inside {WEIGHTS_FILE}"
    if "files" not in document:
        return
    for name, sha256 in document["files"].items():
        if folder / name not in found:
            yield f"{folder / name} is missing"
        elif found[folder / name].sha256 != sha256:
            yield f"{folder / name} differs from {CONFIG_FILE}"
    listed = {folder / name for name in (*document["files"], WEIGHTS_FILE, CONFIG_FILE)}
    extra = sorted(path for path in found if path.is_relative_to(folder) and path not in listed)
    yield from (f"{path} is not listed in {CONFIG_FILE}" for path in extra)


def _stale_bases(key: str, document: Mapping[str, Any], found: Mapping[Path, Digests]) -> Iterator[str]:
    behind = {DATA / "pack" / document["pack"]["key"] / MANIFEST: document["pack"]["manifest_sha256"]}
    if base := document["base"]:
        behind[RUNS / base["key"] / WEIGHTS_FILE] = base["sha256"]
    for path, expected in behind.items():
        if path not in found or found[path].sha256 != expected:
            yield f"{path} is not the one that {key} was trained from"


def _inside(weights: Path) -> str:
    """The run's description in the header of its weights file."""
    with weights.open("rb") as handle:
        (size,) = struct.unpack("<Q", handle.read(8))
        return str(json.loads(handle.read(size)).get("__metadata__", {}).get("vignette", ""))


def check_scores(params: Mapping[str, Any]) -> list[Check]:
    """Compare score documents with the manifests of their evaluations, and the history with itself and with git."""
    check = Check(str(SCORES))
    keys = {key for section in FOLDERS["evaluate"] for key in params.get(section) or {}}
    present = {path.stem for path in SCORES.glob("*.json")}
    for key in sorted(present | {key for key in keys if (DATA / "evaluate" / key / MANIFEST).is_file()}):
        path, expected = SCORES / f"{key}.json", _score_sha256(DATA / "evaluate" / key)
        check.num_files += 1
        try:
            document = read_json(path)
            check_canonical(path, document)
            if key in keys and expected and digest_json(document) != expected:
                check.problems.append(f"{path} differs from {DATA / 'evaluate' / key / MANIFEST}")
        except ValueError as error:
            check.problems.append(str(error))
    path, before = SCORES / RECORDS, committed(SCORES / RECORDS)
    if path.is_file():
        check.num_files += 1
        check.problems += damaged_records(SCORES)
    if (SCORES / COMPARISON).is_file():
        check.num_files += 1
        try:
            open_sealed(SCORES / COMPARISON, "a comparison")
        except ValueError as error:
            check.problems.append(str(error))
    if before is not None and not (path.is_file() and path.read_bytes().startswith(before)):
        check.problems.append(f"{path} lacks lines of the last commit, or has others: it is only appended to")
    return [check] if check.num_files or check.problems else []


def _score_sha256(folder: Path) -> str:
    """What an evaluation's manifest says of its score document; empty if it cannot be read, which is said elsewhere."""
    try:
        return str(read_manifest(folder).details.get(SCORE_SHA256, ""))
    except ValueError:
        return ""


def check_output(output: Output, found: Mapping[Path, Digests], *, is_sound: bool = False) -> Check:
    """Compare a file or folder with `dvc.lock`.

    Args:
        output: What the lock says.
        found: Digests of files by path.
        is_sound: Whether its own manifest or config found nothing wrong with it.
    """
    path, locked = output.path, output.listed
    check = Check(f"{LOCK}: {path}")
    if not path.exists():
        check.problems.append(f"{path} is in {LOCK} but missing")
        return check
    now = as_listed(path, found)
    check.num_files = 1 if now.num_files is None else now.num_files
    if now.md5 != locked.md5:
        listed = cached_listing(locked.md5) or {}
        here = {each.relative_to(path).as_posix(): found[each].md5 for each in files_under(path)} if listed else {}
        wrong = sorted({name for name, _ in here.items() ^ listed.items()})
        remark = ", though it fits its own digests" if is_sound else ""
        check.problems += [f"{path / name} differs from {LOCK}" for name in wrong] or [
            f"{path} differs from {LOCK}{remark}"
        ]
    elif now != locked:
        check.problems.append(f"{LOCK}: the size of {path} is another, though its md5 is right")
    return check


def check_lock(lock: Lock, before: bytes | None, params: Mapping[str, Any], found: Mapping[Path, Digests]) -> Check:
    """Compare `dvc.lock` with the last commit and with what it speaks of."""
    check = Check(str(LOCK), num_files=int(LOCK.is_file()), problems=list(lock.problems))
    if before and not LOCK.is_file():
        check.problems.append(f"{LOCK} is missing, the last commit has it: `git checkout {LOCK}`, or `vignette repro`")
    elif not check.problems:
        earlier = read_lock(before) if before else Lock()
        check.problems += LockChecker(lock=lock, before=earlier, params=params, found=found).problems()
    return check


def cached_objects() -> Iterator[Path]:
    """All objects of DVC's cache."""
    yield from (path for path in CACHE.glob("??/*") if path.is_file())


def check_cache(found: Mapping[Path, Digests], lock: Lock) -> Check:
    """Compare the objects and runs of DVC's cache with their names, which are their digests."""
    objects = [path for path in found if path.is_relative_to(CACHE)]
    runs = sorted(
        path for path in RUN_CACHE.glob("??/*/*") if path.is_file() and len(path.name) == len(path.parent.name)
    )
    check = Check(str(CACHE), num_files=len(objects) + len(runs))
    for path in objects:
        if is_damaged_object(path, found[path]):
            check.problems.append(f"{path} is damaged: remove it, then `dvc commit` or `dvc fetch`")
    entries = [entry for stage in lock.stages.values() for part in ("deps", "outs") for entry in stage.get(part, [])]
    sizes = {(entry["path"], entry["md5"]): as_entry(entry) for entry in entries}
    check.problems += [f"{path} is damaged: remove it" for path in runs if is_damaged_run(path, sizes)]
    return check
