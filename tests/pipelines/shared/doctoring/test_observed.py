import json
import os
import pickle
import sys
from pathlib import Path

import pytest

from pipelines.shared import params, stage
from pipelines.shared.doctoring import observed
from pipelines.shared.doctoring.hook import LOG, ROOT, SETTING
from pipelines.shared.doctoring.observed import Settings

VALUES = {"seed": 1, "report": {"title": "t"}, "models": {"a": {"x": 1}, "b": {"x": 2}}, "empty": {}}


@pytest.fixture
def read():
    """Settings, and what was noted of them."""
    noted = []
    return Settings(VALUES, lambda kind, what: noted.append((kind, what))), noted


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda s: s["seed"], ["seed"]),
        (lambda s: s.get("seed"), ["seed"]),
        (lambda s: s.get("nothing", 5), []),
        (lambda s: s["report"]["title"], ["report"]),
        (lambda s: s["empty"], ["empty"]),
        (lambda s: s["models"], []),
        (lambda s: "a" in s["models"], []),
        (lambda s: s["models"]["a"], ["models.a"]),
        (lambda s: (s.get("models") or {}).get("b"), ["models.b"]),
        (lambda s: params.entry(s, "models", "a"), ["models.a"]),
        (lambda s: list(s["models"]), ["models"]),
        (lambda s: dict(s["models"]), ["models", "models.a", "models.b"]),
        (lambda s: {**s["models"]}, ["models", "models.a", "models.b"]),
        (lambda s: list(s["models"].values()), ["models"]),
        (lambda s: json.dumps(s["models"]), ["models"]),
        (lambda s: params.freeze_lists(s["models"]), ["models"]),
        (lambda s: s["models"] | {}, ["models"]),
        (lambda s: pickle.dumps(s["models"]), ["models"]),
        (lambda s: list(s), ["*"]),
    ],
)
def test_what_is_noted(read, use, expected):
    settings, noted = read
    use(settings)
    assert list(dict.fromkeys(noted)) == [(SETTING, name) for name in expected]


def test_the_values_are_the_same(read):
    settings, _ = read
    assert settings == VALUES and settings["models"]["a"] == {"x": 1} and settings["models"] == VALUES["models"]
    assert pickle.loads(pickle.dumps(settings)) == VALUES and type(pickle.loads(pickle.dumps(settings))) is dict
    with pytest.raises(KeyError):
        settings["nothing"]


def test_a_module_is_run_with_noting_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(LOG, str(tmp_path / "log"))
    monkeypatch.setenv(ROOT, str(tmp_path))
    Path("params.yaml").write_text("seed: 7\nmodels: {a: {module: x}}\n")
    Path("small_stage.py").write_text("""
from pathlib import Path
from pipelines.shared.stage import StageRun, load_params
assert __name__ == "__main__"
run = StageRun(stage="train", key="a", params=load_params())
with run.scratch("settings") as folder:
    Path("said").write_text(f"{folder} {run.params['models']['a']['module']}")
assert not folder.exists()
""")
    monkeypatch.setattr(sys, "argv", ["observed", "small_stage"])
    for module, name in ((params, "load_params"), (stage, "load_params"), (stage.StageRun, "scratch")):
        monkeypatch.setattr(module, name, getattr(module, name))  # is put back afterwards
    observed.main()
    assert Path("said").read_text() == f".vignette{os.sep}scratch/train/a/traced x"
    noted = [json.loads(line) for line in Path("log").read_text().splitlines()]
    assert noted == [[SETTING, "models.a", "small_stage.py:7"]], "the seed is not read, as scratch is not named by it"
