"""Folders, patterns and lists that other tools would hand to a shell, expand, or unpickle: here they are names."""

import asyncio
import os
import pickle
import subprocess
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.shared.records import Link
from pipelines.sources import url_list, webdataset
from tests.pipelines.sources.test_webdataset import write_tar

COMMAND = "touch canary"
FOLDERS = [
    f"pipe:{COMMAND}",
    f"pipe: {COMMAND} #",
    f"$({COMMAND})",
    f"`{COMMAND}`",
    f"x; {COMMAND}",
    "$HOME",
    "${HOME}",
    "~",
    "%HOME%",
    "{00000..99999999999}",
    "shard-{1..10**9}",
    "a::b::c",
    "x\ty",
]
PATTERNS = [f"pipe:{COMMAND} |", "{00000..99999999999}.tar", "$HOME/*.tar", "shard-{a,b}.tar", "~/*.tar"]


class Loaded:
    def __reduce__(self) -> tuple:
        return (os.system, (COMMAND,))


PICKLED = pickle.dumps(Loaded())


@pytest.fixture(autouse=True)
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a command would leave its mark, and in which none is started."""
    (tmp_path / "home" / "shards").mkdir(parents=True)
    write_tar(tmp_path / "home" / "a.tar", {"1.png": b"x", "1.txt": b"text"})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for module, name in ((subprocess, "Popen"), (os, "system"), (os, "posix_spawn"), (os, "fork"), (os, "popen")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("a program was started"))
    return tmp_path


def links(source: object) -> list[Link]:
    async def run() -> list[Link]:
        return [link async for link in source.links(SimpleNamespace(page_counts=Counter()))]

    return asyncio.run(run())


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_is_a_name(guarded: Path, folder: str) -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"has no shards|does not exist|is no folder|is missing"):
        links(webdataset.Source(webdataset.Config(folder=folder)))
    assert time.monotonic() - started < 2 and not (guarded / "canary").exists()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_expands_to_names_inside_the_folder(guarded: Path, pattern: str) -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match="has no shards"):
        links(webdataset.Source(webdataset.Config(folder="home", shards=pattern)))
    assert time.monotonic() - started < 2 and not (guarded / "canary").exists()


@pytest.mark.parametrize("path", [f"{folder}.csv" for folder in FOLDERS])
def test_a_list_is_a_name(guarded: Path, path: str) -> None:
    with pytest.raises(ValueError, match=r"does not exist|is missing|cannot be read"):
        links(url_list.Source(url_list.Config(path=path)))
    assert not (guarded / "canary").exists()


@pytest.mark.parametrize("extension", ["pyd", "pkl", "pickle", "pth", "npy", "json"])
def test_a_member_is_never_unpickled(guarded: Path, extension: str) -> None:
    write_tar(guarded / "home" / "a.tar", {f"1.{extension}": PICKLED, "1.png": b"x", "1.txt": b"text"})
    captions = ("txt", f"{extension}.caption", extension)
    (found,) = links(webdataset.Source(webdataset.Config(folder="home", captions=captions)))
    assert found.captions[0].text == "text" and not (guarded / "canary").exists()
