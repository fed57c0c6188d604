"""The command line of `vignette promote`; what it does is in `tests/pipelines/shared/test_promoting.py`."""

from pathlib import Path

import pytest

from pipelines import promote
from pipelines.shared.promoting import Options


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Options]]:
    monkeypatch.chdir(tmp_path)
    found: list[tuple[str, Options]] = []

    def take(gate: str, options: Options) -> list[str]:
        found.append((gate, options))
        return ["one", "two"]

    monkeypatch.setattr(promote, "promote", take)
    return found


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr("sys.argv", ["vignette promote", *words])
    promote.main()


def test_options(asked: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    call(monkeypatch, "clip")
    call(monkeypatch, "clip", "--force", "--reason", " the judge is broken ", "--push", "--refreeze", "--dry-run")
    forced = Options(reason="the judge is broken", push=True, refreeze=True, dry_run=True)
    assert asked == [("clip", Options()), ("clip", forced)]
    assert capsys.readouterr().out == "one\ntwo\none\ntwo\n"


@pytest.mark.parametrize("words", [("--force",), ("--reason", "x"), ("--force", "--reason", "  ")])
def test_force_and_reason_go_together(
    asked: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, words: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit):
        call(monkeypatch, "clip", *words)
    assert "--force needs --reason TEXT" in capsys.readouterr().err and asked == []


def test_outside_a_repository(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", "/")
    with pytest.raises(SystemExit, match=r"^vignette promote clip: this is no git repository"):
        call(monkeypatch, "clip")
