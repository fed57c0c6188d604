"""Champions: for each gate the run that is in use, the runs it builds on, and the test set that it was frozen with.

`champions/<gate>/` has `runs/<key>/` for each of these runs, `test/` (the test split of a pack, as a small pack of its
own), `trained_on.parquet` and `held_out.parquet` (rows as `exposure.SCHEMA` says), and `champion.json`, written last.
The folder is DVC's (`champions/<gate>.dvc` is in git), so it loads without the packs and runs of its day.
"""

import datetime
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow

from pipelines.shared.documents import read_json
from pipelines.shared.exposure import chain, samples_of, trained_on
from pipelines.shared.files import clear_folder, digest_file, write_json
from pipelines.shared.layers import read_layer, write_table
from pipelines.shared.manifests import Counts, Manifest, manifest_digest, read_manifest, write_manifest
from pipelines.shared.programs import find_dvc, said
from pipelines.shared.runs import WEIGHTS_FILE, run_digest
from pipelines.shared.shards import FileInfo, describe
from pipelines.shared.stage import RUNS

CHAMPIONS = Path("champions")
CHAMPION_FILE = "champion.json"
TRAINED_ON, HELD_OUT = "trained_on.parquet", "held_out.parquet"
SPLIT = "test"
KEPT_DETAILS = ("media", "size_px", "resize")
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Champion:
    """A champion on disk.

    Attributes:
        folder: Where it is.
        document: All of `champion.json`.
        sha256: Digest of `champion.json`, which has the digests of the weights and of the test set.
    """

    folder: Path
    document: Mapping[str, Any]
    sha256: str

    @property
    def version(self) -> str:
        """Its version, such as `v0.1.0`."""
        return str(self.document["version"])

    @property
    def run(self) -> str:
        """Key of its run."""
        return str(self.document["run"])

    @property
    def model_sha256(self) -> str:
        """Digest of its run's weights."""
        return str(self.document["model_sha256"])

    @property
    def runs(self) -> Path:
        """Folder of its run and of those that it builds on."""
        return self.folder / "runs"

    @property
    def test(self) -> Path:
        """Folder of the frozen test set, which `HeldOut.load` reads."""
        return self.folder / "test"

    def check(self) -> None:
        """Compare all weights and the test set with their digests.

        Raises:
            ValueError: A file is not the one that was promoted.
        """
        try:
            for key in chain(self.run, self.runs):
                if digest_file(self.runs / key / WEIGHTS_FILE) != run_digest(key, self.runs):
                    raise ValueError(f"{self.runs / key / WEIGHTS_FILE} is another file than its config names")
            if manifest_digest(self.test) != self.document["test"]["manifest_sha256"]:
                raise ValueError(f"{self.test} is another test set than {CHAMPION_FILE} names")
            for info in read_manifest(self.test).files():
                info.check(self.test)
        except (ValueError, FileNotFoundError) as error:
            raise ValueError(f"the champion is damaged, `dvc checkout` brings it back: {error}") from error

    def samples(self, name: str) -> pyarrow.Table:
        """`TRAINED_ON` or `HELD_OUT`."""
        return read_layer(self.folder, FileInfo(**self.document["files"][name]))


def dvc_file(gate: str) -> Path:
    """What git has of a champion."""
    return CHAMPIONS / f"{gate}.dvc"


def read_champion(gate: str) -> Champion | None:
    """The champion of a gate; None where there never was one.

    Raises:
        ValueError: It is in git but not on this machine, or not whole.
    """
    folder = CHAMPIONS / gate
    path = folder / CHAMPION_FILE
    if not path.is_file():
        if folder.exists() or dvc_file(gate).exists():
            raise ValueError(f"{path} is missing: `dvc checkout {dvc_file(gate)}` brings it, or `dvc pull`")
        return None
    document = read_json(path, "a champion's")
    try:
        version = document["format_version"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a champion's: {type(error).__name__}: {error}") from error
    if version != FORMAT_VERSION:
        raise ValueError(f"{path} has format version {version}, this program reads {FORMAT_VERSION}")
    return Champion(folder=folder, document=document, sha256=digest_file(path))


def require_whole(gates: Iterable[str]) -> None:
    """Check that champions are those that git names.

    Raises:
        ValueError: One is missing, or a promotion was interrupted.
    """
    files = {dvc_file(gate).as_posix(): gate for gate in gates}
    known = [path for path in files if Path(path).exists()]
    if unknown := [gate for path, gate in files.items() if path not in known and (CHAMPIONS / gate).exists()]:
        raise ValueError(f"{dvc_file(unknown[0])} is missing: repeat an interrupted `vignette promote {unknown[0]}`")
    for path in json.loads(said(find_dvc(), "status", "--json", *known)) if known else ():
        gate, where = files[path], CHAMPIONS / files[path]
        raise ValueError(
            f"{where} is not what {path} names: repeat an interrupted `vignette promote {gate}`, or bring it "
            f"back by `dvc checkout {path}` or `dvc pull {path}`"
        )


def write_champion(folder: Path, run: str, pack: Path, frozen: Champion | None, facts: Mapping[str, Any]) -> Champion:
    """Put a champion together.

    Args:
        folder: A new folder, or an unfinished one, which is emptied.
        run: Key of the run.
        pack: The pack whose test split is frozen, where `frozen` is None.
        frozen: A champion whose test set is kept.
        facts: Further values of `champion.json`, among them `gate` and `version`.

    Raises:
        ValueError: A run is missing, or a pack is not the one any more that it was trained on.
    """
    clear_folder(folder)
    for key in chain(run):
        shutil.copytree(RUNS / key, folder / "runs" / key)
    if frozen:
        shutil.copytree(frozen.test, folder / "test")
        held_out, about = frozen.samples(HELD_OUT), frozen.document["test"]
    else:
        held_out, about = samples_of(pack, SPLIT), freeze(pack, folder / "test")
    files = {}
    for name, table in ((TRAINED_ON, trained_on(run)), (HELD_OUT, held_out)):
        files[name] = describe(folder / name, folder, write_table(folder / name, table)).as_dict()
    document = {
        "format_version": FORMAT_VERSION,
        "run": run,
        "model_sha256": run_digest(run),
        "test": {**about, "manifest_sha256": manifest_digest(folder / "test")},
        "files": files,
        **facts,
    }
    write_json(folder / CHAMPION_FILE, document)
    return Champion(folder=folder, document=document, sha256=digest_file(folder / CHAMPION_FILE))


def freeze(pack: Path, folder: Path) -> dict[str, Any]:
    """Copy the test split of a pack as a pack of its own.

    Returns:
        What it was made from: `pack`, `pack_sha256`, `num_samples`.
    """
    manifest = read_manifest(pack)
    shards = manifest.files(f"{SPLIT}/")
    for info in shards:
        (folder / info.name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(info.check(pack), folder / info.name)
    total = sum(info.num_samples for info in shards)
    digest = manifest_digest(pack)
    write_manifest(
        folder,
        Manifest(
            stage="promote",
            instance=manifest.instance,
            settings_digest=manifest.settings_digest,
            inputs={f"pack/{manifest.instance}": digest},
            counts=Counts(num_in=total, kept=total),
            shards=shards,
            details={name: manifest.details[name] for name in KEPT_DETAILS if name in manifest.details},
        ),
    )
    return {"pack": manifest.instance, "pack_sha256": digest, "num_samples": total}


def utc_day() -> str:
    """Today, as `YYYY-MM-DD`."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
