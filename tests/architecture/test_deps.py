"""DVC does not follow Python imports, so each stage's declared code is compared with what its module really imports."""

from pathlib import Path

import pytest

from pipelines.shared.doctoring.imports import StageCode, stage_codes
from pipelines.shared.doctoring.project import Project

ROOT = Path(__file__).resolve().parents[2]
PROJECT = Project(ROOT)
CODES = {code.stage.name: code for code in stage_codes(PROJECT)}


def test_every_stage_runs_a_module_of_the_project() -> None:
    assert sorted(CODES) == sorted(stage.name for stage in PROJECT.templates)
    assert {code.module for code in CODES.values() if code.start is None} == set()


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_declared_code_covers_all_imports(code: StageCode) -> None:
    assert not code.undeclared, f"stage {code.stage.name} reads code that it does not declare"
    undeclared = [package for package, files in code.plugins.items() if not files]
    assert not undeclared, f"stage {code.stage.name} does not declare its plug-ins"


def test_plugins_are_seen() -> None:
    loaded = {name: set(code.plugins) for name, code in CODES.items() if code.plugins}
    assert loaded == {
        "crawl": {"pipelines.sources"},
        "annotate": {"pipelines.annotators"},
        "filter": {"pipelines.filters"},
        "train": {"models"},
        "stack": {"models"},
        "recaption": {"pipelines.captioners"},
        "evaluate": {"metrics"},
        "reference": {"metrics"},
    }


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_declared_files_exist(code: StageCode) -> None:
    for dep, _ in code.stage.deps:
        if dep.split("/")[0] in code.code.packages:
            assert "${" in dep or (ROOT / dep).exists(), f"stage {code.stage.name} declares {dep}, which does not exist"
