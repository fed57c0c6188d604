"""Bars do not flood a log."""

import pytest

from pipelines.shared.progress import progress


def test_a_log_gets_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(5000), desc="count")) == list(range(5000))
    text = capsys.readouterr().err
    assert "count: 100%" in text
    assert text.count("\r") <= 3
