"""The command; what it does has its own test in `shared/`."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import export
from pipelines.shared.storage import RemoteFolder
from tests.pipelines.small_job import ROOT


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["vignette export", *words])
    export.main()


def test_a_report(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports/pictures").mkdir(parents=True)
    (tmp_path / "reports/index.html").write_text("<p>")
    (tmp_path / "reports/pictures/1.png").write_bytes(b"png")
    for said in ("2 files sent, 0 were there", "0 files sent, 2 were there"):
        run(monkeypatch, "reports", f"{s3}/page")
        assert capsys.readouterr().out == f"{s3}/page: {said}; all compared, 0.0 MB\n"
    assert list(RemoteFolder(s3).listed()) == ["page/index.html", "page/pictures/1.png"]


def test_mistakes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"^vignette export none: none is not a folder with files$"):
        run(monkeypatch, "none", "s3://bucket/x")
    (tmp_path / "some").mkdir()
    (tmp_path / "some/file").touch()
    with pytest.raises(SystemExit, match=r"^vignette export some: nowhere://x: Protocol not known: nowhere$"):
        run(monkeypatch, "some", "nowhere://x")


def test_help() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "export", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "usage: vignette export" in done.stdout and "s3://bucket/packs/web" in done.stdout
