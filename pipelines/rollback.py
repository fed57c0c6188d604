"""Command `rollback GATE`: put an older champion in use again; by default the one before the present one.

`champions/<gate>.dvc` comes back from the commit of that version and is committed, `dvc checkout` brings its files, and
the version is assigned once more (`<gate>#champion#N`). The newer version stays registered, and so does the history.
"""

import argparse
import sys
from pathlib import Path

from pipelines.shared.champions import CHAMPIONS, dvc_file, read_champion
from pipelines.shared.files import write_bytes
from pipelines.shared.params import suggestion
from pipelines.shared.programs import commit, find_dvc, require_git, require_nothing_staged, said
from pipelines.shared.registry import Version, assign, assigned, before, versions
from pipelines.shared.stage import one_line_errors, single_run


def rollback(gate: str, to: str, *, dry_run: bool) -> list[str]:
    """Put a version in use.

    Args:
        gate: Name of the gate.
        to: The version; the one before the present one where it is empty.
        dry_run: Whether only to tell.

    Returns:
        What was done, or would be.

    Raises:
        ValueError: There is no such version, or its files are nowhere.
    """
    require_git()
    paths = [dvc_file(gate).as_posix(), (CHAMPIONS / ".gitignore").as_posix()]
    require_nothing_staged(paths)
    version = chosen(gate, to)
    if dry_run:
        return [f"would put {gate} {version.name} in use ({version.facts.get('model_sha256', '')[:12]})"]
    restore(gate, version)
    commit(paths, f"Roll {gate} back to {version.name}")
    tag = assign(gate, version.name, version.facts)
    return [f"{gate} {version.name} is in use", f"tagged {tag}; `git push --follow-tags` publishes commit and tag"]


def chosen(gate: str, to: str) -> Version:
    """The version to go back to."""
    known = versions(gate)
    if not known:
        raise ValueError(f"{gate} has no versions: nothing was promoted yet")
    history = assigned(gate, known)
    name = to or before(history)
    if name is None:
        raise ValueError(
            f"no champion was in use before {history[-1] if history else 'the present one'}: name one by --to"
        )
    if name not in known:
        raise ValueError(f"{gate} has no version {name!r}{suggestion(name, known)}; there are: {', '.join(known)}")
    if history[-1:] == [name]:
        raise ValueError(f"{gate} {name} is in use already")
    return known[name]


def restore(gate: str, version: Version) -> None:
    """Bring a version's files back, or leave everything as it is."""
    path, dvc = dvc_file(gate), find_dvc()
    present = path.read_bytes() if path.exists() else None
    write_bytes(path, said("git", "show", f"{version.commit}:{path.as_posix()}").encode())
    try:
        bring(dvc, path)
    except ValueError as error:
        if present is not None:
            write_bytes(path, present)
            said(dvc, "checkout", "--quiet", str(path))
        raise ValueError(f"the files of {gate} {version.name} are neither in DVC's cache nor in a remote") from error
    champion = read_champion(gate)
    assert champion and champion.version == version.name, f"{path} of {version.commit} is another champion's"
    champion.check()


def bring(dvc: str, path: Path) -> None:
    """`dvc checkout`, and `dvc pull` where the cache has not all of it."""
    try:
        said(dvc, "checkout", "--quiet", str(path))
    except ValueError:
        said(dvc, "pull", "--quiet", str(path))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="vignette rollback", description="Put an older champion in use again.")
    parser.add_argument("gate", help="a gate of params.yaml")
    parser.add_argument("--to", default="", metavar="VERSION", help="such as v0.1.0 (default: the one before)")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    arguments = parser.parse_args()
    with one_line_errors(f"rollback {arguments.gate}"), single_run("retrain"):
        lines = rollback(arguments.gate, arguments.to, dry_run=arguments.dry_run)
        sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
