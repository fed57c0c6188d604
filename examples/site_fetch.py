"""Gets the packages that hold the pictures, by the ordinary package clients, and keeps them in a cache folder.

A download lands in a scratch folder and is renamed when it is whole, and so is an unpacked package, so a killed run
goes on where it stopped.
"""

import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

HOW_TO_INSTALL = {
    "apt-get": "it comes with Debian and Ubuntu; on another system run this script in a Debian container",
    "dpkg-deb": "apt-get install dpkg, or your system's package named dpkg",
    "npm": "apt-get install npm, or install Node.js, which brings it",
}
NPM_VERSIONS = {
    "@lobehub/fluent-emoji-3d": "1.1.0",
    "@lobehub/fluent-emoji-anim-1": "1.0.0",
    "@lobehub/fluent-emoji-anim-2": "1.0.0",
    "@lobehub/fluent-emoji-anim-3": "1.0.0",
    "@lobehub/fluent-emoji-anim-4": "1.0.0",
    "emojibase-data": "17.0.0",
}


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package that has been unpacked into a folder.

    Attributes:
        name: Its name, as its client knows it.
        version: The version that was unpacked.
        root: The folder that holds its files.
    """

    name: str
    version: str
    root: Path


def client(program: str) -> str:
    """Finds a package client.

    Args:
        program: Name of the program, a key of HOW_TO_INSTALL.

    Returns:
        The program's path.

    Raises:
        SystemExit: If it is not installed; the message says how to install it.
    """
    path = shutil.which(program)
    if path is None:
        raise SystemExit(f"build_site: {program} is missing; to install it: {HOW_TO_INSTALL[program]}")
    return path


def run(command: list[str], folder: Path, advice: str) -> str:
    """Runs a package client and returns what it printed.

    Args:
        command: Program and arguments.
        folder: Folder to run it in.
        advice: What the user can do when it fails.

    Returns:
        The standard output.

    Raises:
        SystemExit: If the client fails; the message holds its last line and the advice.
    """
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise SystemExit(f"build_site: {Path(command[0]).name} {' '.join(command[1:3])} failed: {said}; {advice}")
    return done.stdout


def apt_package(name: str, cache: Path) -> Package:
    """Downloads and unpacks a Debian package, unless the cache has it.

    Args:
        name: Name of the package.
        cache: Folder that keeps downloads.

    Returns:
        The unpacked package.
    """
    unpacked = cache / "unpacked" / name
    if not unpacked.exists():
        archive = next(iter(sorted(cache.glob(f"{name}_*.deb"))), None)
        if archive is None:
            command = [client("apt-get"), "download", name]
            archive = _download(command, cache, "run 'apt-get update' first, and check that the network is there")
        dpkg = client("dpkg-deb")
        advice = f"delete {archive.name} from the cache folder and run this again"
        version = run([dpkg, "-f", str(archive), "Version"], cache, advice).strip()
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            run([dpkg, "-x", str(archive), str(Path(scratch, "files"))], cache, advice)
            _publish(Path(scratch, "files"), version, unpacked)
    return Package(name=name, version=(unpacked / ".version").read_text(), root=unpacked)


def npm_package(name: str, cache: Path) -> Package:
    """Downloads and unpacks an npm package of the version in NPM_VERSIONS, unless the cache has it.

    Args:
        name: Name of the package, a key of NPM_VERSIONS.
        cache: Folder that keeps downloads.

    Returns:
        The unpacked package; its root is the archive's folder `package`.
    """
    version = NPM_VERSIONS[name]
    flat = name.removeprefix("@").replace("/", "-")
    unpacked = cache / "unpacked" / f"{flat}-{version}"
    if not unpacked.exists():
        archive = cache / f"{flat}-{version}.tgz"
        if not archive.exists():
            command = [client("npm"), "pack", f"{name}@{version}", "--ignore-scripts", "--silent"]
            archive = _download(command, cache, "check that the network is there")
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, filter="data")
            _publish(Path(scratch, "package"), version, unpacked)
    return Package(name=name, version=(unpacked / ".version").read_text(), root=unpacked)


def _download(command: list[str], cache: Path, advice: str) -> Path:
    """Runs a client that leaves one file in its working folder, and moves that file into the cache."""
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        run(command, Path(scratch), advice)
        (file,) = Path(scratch).iterdir()
        return file.rename(cache / file.name)


def _publish(files: Path, version: str, unpacked: Path) -> None:
    """Puts a whole unpacked package in its place; a package that is there is complete."""
    (files / ".version").write_text(version)
    unpacked.parent.mkdir(exist_ok=True)
    files.rename(unpacked)
