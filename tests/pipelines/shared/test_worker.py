"""A local worker is Beam's harness with our logging."""

import logging
import sys
import types

import pytest

from pipelines.shared import worker


def test_starts_the_harness_with_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    harness = types.ModuleType("sdk_worker_main")
    harness.main = seen.append  # type: ignore[attr-defined]
    package = types.ModuleType("apache_beam.runners.worker")
    package.sdk_worker_main = harness  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "apache_beam.runners.worker", package)
    monkeypatch.setattr(sys, "argv", ["worker", "--flag"])
    worker.main()
    assert seen == [["worker", "--flag"]]
    assert logging.getLogger("vignette").level == logging.INFO
