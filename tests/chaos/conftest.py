"""A line at the end: how many kills there were, and how many runs ended as promised."""

from pathlib import Path

import pytest

from tests.chaos.killing import KILLS


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back to where we were, after a test that goes elsewhere."""
    monkeypatch.chdir(Path.cwd())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Counted over all tests of this folder."""
    if KILLS["killed"]:
        terminalreporter.write_line(f"chaos: {KILLS['killed']} kills, {KILLS['as promised']} of them ended as promised")
