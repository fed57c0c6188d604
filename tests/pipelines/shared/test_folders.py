"""Folders that change places: killed at every single step, a name is never without a whole folder."""

from pathlib import Path

import pytest

from pipelines.shared import folders
from pipelines.shared.folders import exchange, new_folder, replace_folder
from tests.chaos.killing import num_steps, run_killed


def folder(path: Path, text: str) -> Path:
    path.mkdir(parents=True)
    (path / text).write_text(text)
    return path


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir())


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    target = tmp_path / "a/target"
    replace_folder(folder(tmp_path / "state/new", "one"), target)
    assert names(target) == ["one"]
    replace_folder(folder(tmp_path / "state/new", "two"), target)
    assert names(target) == ["two"] and names(tmp_path / "state") == []


def test_a_kill_between_the_renames_is_made_good_by_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system cannot exchange two names."""
    monkeypatch.setattr(folders, "exchange", lambda first, second: False)
    target = folder(tmp_path / "target", "one")
    new = folder(tmp_path / "state/new", "two")
    rename = Path.rename

    def killed(self: Path, other: Path) -> Path:
        if self == new:
            raise KeyboardInterrupt
        return rename(self, other)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            replace_folder(new, target)
    assert not target.exists() and names(new) == ["two"]
    replace_folder(new, target)
    assert names(target) == ["two"] and names(tmp_path / "state") == []


def test_two_names_change_places(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "a", "one"), folder(tmp_path / "b", "two")
    assert exchange(first, second)
    assert (names(first), names(second)) == (["two"], ["one"])
    assert not exchange(first, tmp_path / "none")


def write(target: Path, text: str) -> None:
    with new_folder(target) as new:
        (new / "deep").mkdir()
        for name in ("a", "b", "deep/c"):
            (new / name).write_text(text)


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "x", "old")
    with pytest.raises(OSError, match="full"), new_folder(tmp_path / "x") as new:
        (new / "a").write_text("new")
        raise OSError("full")
    assert (tmp_path / "x/a").read_text() == "old" and names(tmp_path) == ["x"]


def test_a_link_to_a_folder_elsewhere_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "large/x", "old")
    (tmp_path / "x").symlink_to(tmp_path / "large/x")
    write(tmp_path / "x", "new")
    assert (tmp_path / "x").is_symlink() and (tmp_path / "large/x/a").read_text() == "new"
    assert names(tmp_path / "large") == ["x"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_killed_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool) -> None:
    if not can_exchange:
        monkeypatch.setattr(folders, "exchange", lambda first, second: False)
    target = tmp_path / "x"
    write(target, "0")
    steps = num_steps(lambda: write(target, "1"))
    assert steps >= 10
    last = "1"
    for number in range(1, steps + 1):
        text = str(number + 1)
        run_killed(lambda text=text: write(target, text), number)
        if can_exchange or target.exists():
            found = {(target / name).read_text() for name in ("a", "b", "deep/c")}
            assert found in ({last}, {text}), f"killed at step {number}"
        write(target, "again")
        assert {(target / name).read_text() for name in ("a", "b", "deep/c")} == {"again"}
        assert names(tmp_path) == ["x"]
        last = "again"
