"""All checks together: a clean project, and one with many traps at once."""

import ast
from pathlib import Path

from pipelines.shared.doctoring import checks
from pipelines.shared.doctoring.findings import CODES

ENVIRONMENT = {"D33", "D60"}  # what is installed beside the project, and the disk


def codes(project):
    return {finding.code for finding in checks.examine(project)} - ENVIRONMENT


def test_a_clean_project_has_no_finding(write_project):
    assert codes(write_project({"runs/small/model.json": "{}", "scores/small.json": "{}"}, git=True)) == set()


def test_many_traps_at_once(write_project, clean):
    changed = (
        clean["dvc.yaml"].replace('- "runs/${key}"', '- "runs/${key}": {persist: true}').replace("- seed", "- seed")
    )
    changed += "  stamp: {cmd: echo $(date), outs: [runs/small/stamp], always_changed: true}\n"
    files = {
        "dvc.yaml": changed,
        "dvc.lock": "schema",
        "stages/shared/text.py": "import stages.other\n",
        "stages/other.py": "",
        "stages/page.html": '<img src="https://example.org/a.png">',
        ".dvc/tmp/rwlock": "{",
    }
    assert codes(write_project(files, git=True)) == {"D02", "D04", "D05", "D07", "D10", "D20", "D40", "D50", "D61"}


def test_a_project_that_dvc_cannot_read(write_project):
    assert "D01" in codes(write_project({"dvc.yaml": "stages: [\n"}))


def test_every_code_is_used_and_every_check_is_in_the_list():
    folder = Path(checks.__file__).parent
    text = "".join(path.read_text() for path in folder.glob("*.py") if path.name != "findings.py")
    assert {code for code in CODES if f'"{code}"' not in text} == set()
    listed = {(check.__module__.rpartition(".")[2], check.__name__) for check in checks.CHECKS}
    modules = {module for module, _ in listed}
    takes_a_project = {
        (path.stem, node.name)
        for path in folder.glob("*.py")
        if path.stem in modules
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.returns and ast.unparse(node.returns) == "Iterator[Finding]"
    }
    assert listed == takes_a_project
