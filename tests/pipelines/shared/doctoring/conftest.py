"""A small project without a trap, and projects made from it."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pipelines.shared.doctoring.project import Project

WriteProject = Callable[..., Project]
CLEAN: Mapping[str, str] = {
    "dvc.yaml": """stages:
  train:
    foreach: ${models}
    do:
      cmd: python3 -m stages.train ${key}
      deps:
        - "data/${item.pack}.txt"
        - stages/shared/text.py
        - stages/train.py
      params:
        - seed
        - "models.${key}"
      outs:
        - "runs/${key}"
      metrics:
        - "scores/${key}.json":
            cache: false
""",
    "params.yaml": "seed: 0\nmodels:\n  large: {pack: web, width: 2}\n  small: {pack: web, width: 1}\n",
    "stages/__init__.py": '"""Stages."""\n',
    "stages/shared/__init__.py": "",
    "stages/shared/text.py": """import json
from pathlib import Path

def write(key, value):
    folder = Path("runs") / key
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(value, sort_keys=True))
    Path("scores").mkdir(exist_ok=True)
    Path(f"scores/{key}.json").write_text("{}")
""",
    "stages/train.py": """import sys
from pathlib import Path

from pipelines.shared.params import load_params
from stages.shared.text import write

if __name__ == "__main__":
    key = sys.argv[1]
    params = load_params()
    settings = params["models"][key]
    words = Path(f"data/{settings['pack']}.txt").read_text().split()
    write(key, {"words": words, "seed": params["seed"], "width": settings["width"]})
""",
    "data/web.txt": "a b c\n",
    ".gitignore": "/runs/\n/.vignette/\n__pycache__/\n",
    "dvc.lock": "schema: '2.0'\nstages: {}\n",
}


@pytest.fixture
def write_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteProject:
    """Writes the clean project with other or further files: `write_project({"dvc.yaml": text})`; it is the folder."""

    def write(changes: Mapping[str, str] | None = None, *, git: bool = False) -> Project:
        for name, content in (CLEAN | (changes or {})).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        if git:
            subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
            subprocess.run(["git", "add", "--all"], cwd=tmp_path, check=True)
        return Project(tmp_path)

    monkeypatch.chdir(tmp_path)
    return write


@pytest.fixture
def clean() -> Mapping[str, str]:
    """Files of the clean project."""
    return CLEAN
