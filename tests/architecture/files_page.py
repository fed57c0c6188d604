"""`docs/files.md`, a line for every module, from the first lines of their docstrings: `make docs` writes it."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/files.md"
SECTIONS = {
    "Stages and commands": "pipelines",
    "Sources": "pipelines/sources",
    "Annotators": "pipelines/annotators",
    "Filters": "pipelines/filters",
    "Captioners of others": "pipelines/captioners",
    "What stages share": "pipelines/shared",
    "Training": "pipelines/shared/training",
    "Evaluation": "pipelines/shared/evaluation",
    "The report": "pipelines/shared/reporting",
    "Checks of the pipeline": "pipelines/shared/doctoring",
    "Models": "models",
    "What models share": "models/shared",
    "Metrics": "metrics",
    "What metrics share": "metrics/shared",
    "The embedded site": "examples",
    "A cluster on one machine": "deploy/spark",
}


def first_line(path: Path) -> str:
    """What a module says of itself."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def page() -> str:
    """The page's text."""
    lines = ["# What is where", "", "Written by `make docs` from the first lines of all modules.", ""]
    for title, folder in SECTIONS.items():
        lines += [f"## {title} (`{folder}/`)", ""]
        modules = sorted(path for path in (ROOT / folder).glob("*.py") if path.name != "__init__.py")
        lines += [f"- `{path.name}`: {first_line(path)}" for path in modules]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
