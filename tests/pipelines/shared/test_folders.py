from pathlib import Path

import pytest

from pipelines.shared.folders import replace_folder


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
    target = folder(tmp_path / "target", "one")
    new = folder(tmp_path / "state/new", "two")
    rename = Path.rename

    def killed(self: Path, other: Path) -> Path:
        if self == new:
            raise KeyboardInterrupt
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        replace_folder(new, target)
    assert not target.exists() and names(new) == ["two"]
    monkeypatch.undo()
    replace_folder(new, target)
    assert names(target) == ["two"] and names(tmp_path / "state") == []
