import re
from pathlib import Path

import pytest
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo

from pipelines.shared.doctoring.entries import Output
from pipelines.shared.doctoring.project import Project

STAGES = """vars: [extra.yaml]
stages:
  one:
    cmd: [echo 1, echo 2]
    wdir: sub
    deps: [../a, b]
    params:
      - x
      - other.yaml: [y.z]
      - whole.yaml:
    outs:
      - c
      - d: {cache: false, persist: true}
    always_changed: true
  matrix:
    matrix: {size: [1, 2], kind: [a]}
    cmd: echo ${item.size} ${name}
    plots: ["p/${item.size}"]
"""


def test_written_and_resolved(write_project):
    project = write_project()
    template = project.templates[0]
    assert (template.name, template.line, template.commands) == ("train", 2, ("python3 -m stages.train ${key}",))
    assert template.deps[0] == ("data/${item.pack}.txt", 7)
    stage = project.stage("train@small")
    assert [each.name for each in project.stages] == ["train@large", "train@small"]
    assert stage.commands == ("python3 -m stages.train small",) and stage.group == "train"
    assert stage.deps == (("data/web.txt", 7), ("stages/shared/text.py", 8), ("stages/train.py", 9))
    assert stage.params == {"params.yaml": ("seed", "models.small")}
    assert stage.outs == (
        Output(path="runs/small", kind="outs", cached=True, persist=False, line=14),
        Output(path="scores/small.json", kind="metrics", cached=False, persist=False, line=16),
    )
    assert stage.tracked == {"params.yaml": ("models.small.pack",)}
    assert project.problems == []
    assert project.stage("train") is None


def test_dvc_agrees(write_project):
    """DVC's own index of the same project has the same stages, commands, dependencies and outputs."""
    project = write_project({"dvc.yaml": STAGES, "extra.yaml": "name: n\n", "sub/params.yaml": "x: 1\n"})
    Repo.init(str(project.root), no_scm=True).close()
    with Repo(str(project.root)) as repo:
        expected = {
            stage.addressing: (
                stage.cmd if isinstance(stage.cmd, list) else [stage.cmd],
                {Path(dep.fs_path) for dep in stage.deps if not isinstance(dep, ParamsDependency)},
                {(Path(out.fs_path), out.use_cache, out.persist) for out in stage.outs},
            )
            for stage in repo.index.stages
        }
    root = project.root
    assert expected == {
        stage.name: (
            list(stage.commands),
            {root / dep for dep, _ in stage.deps},
            {(root / out.path, out.cached, out.persist) for out in stage.outs},
        )
        for stage in project.stages
    }


@pytest.mark.parametrize(
    ("dvc_yaml", "place", "message"),
    [
        ("stages:\n  a: {cmd: x\n", "dvc.yaml:", "not YAML"),
        ("- a\n", "dvc.yaml", "no mapping of stages"),
        ("stages:\n  a:\n    cmd: echo ${nothing}\n", "dvc.yaml:2", "stage a: .*Could not find 'nothing'"),
        ("stages:\n  a:\n    foreach: ${nothing}\n    do: {cmd: x}\n", "dvc.yaml:2", "stage a: .*'nothing'"),
        ("vars: [missing.yaml]\nstages:\n  a: {cmd: x}\n", "dvc.yaml", "missing.yaml"),
    ],
)
def test_what_does_not_resolve(write_project, dvc_yaml, place, message):
    (found,) = write_project({"dvc.yaml": dvc_yaml}).problems
    assert found.code == "D01" and found.place.startswith(place)
    assert re.search(message, found.message)


def test_one_bad_stage_leaves_the_others(write_project):
    project = write_project({"dvc.yaml": "stages:\n  a: {cmd: '${no}'}\n  b: {cmd: x}\n"})
    assert [stage.name for stage in project.stages] == ["b"] and len(project.problems) == 1


def test_bad_params_are_a_finding(write_project):
    (found,) = write_project({"params.yaml": "sead: 1\nmodels: {}\n"}).problems
    assert found.place == "params.yaml" and "sead is not a section (did you mean seed?)" in found.message


@pytest.mark.parametrize(
    "text",
    [
        "sources: &a {x: *a}\n",
        "seed: 2014-01-01\n",
        "sources: !!set {a, b}\n",
        f"seed: {'[' * 5000}\n",
        f"seed: {'9' * 5000}\n",
        "sources: {'': {}}\n",
        "a: &a [1, 1]\n" + "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}' if n else '*a'] * 9)}]\n" for n in range(9)),
    ],
    ids=["loop", "date", "set", "deep", "digits", "empty name", "bomb"],
)
def test_params_that_are_refused_are_not_given_to_dvc(write_project, text):
    project = write_project({"dvc.yaml": "vars: [params.yaml]\nstages: {a: {cmd: a}}\n", "params.yaml": text})
    assert [problem.place for problem in project.problems] == ["params.yaml"] and project.stages == []


def test_no_project(tmp_path):
    with pytest.raises(ValueError, match=r"dvc.yaml is missing"):
        Project(tmp_path)


def test_git(write_project):
    assert write_project().tracked is None
    assert "stages/train.py" in write_project(git=True).tracked
