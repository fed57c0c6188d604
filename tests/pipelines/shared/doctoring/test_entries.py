from pipelines.shared.doctoring.entries import overlap, within

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


def test_everything_that_a_stage_may_have(write_project):
    project = write_project({"dvc.yaml": STAGES, "extra.yaml": "name: n\n"})
    one, *others = project.stages
    assert one.commands == ("echo 1", "echo 2")
    assert [dep for dep, _ in one.deps] == ["a", "sub/b"], "from the project's root"
    assert one.params == {"sub/params.yaml": ("x",), "sub/other.yaml": ("y.z",), "sub/whole.yaml": ()}
    assert [(out.path, out.cached, out.persist) for out in one.outs] == [("sub/c", True, False), ("sub/d", False, True)]
    assert one.always_changed
    assert [stage.name for stage in others] == ["matrix@1-a", "matrix@2-a"]
    assert others[0].commands == ("echo 1 n",) and others[0].tracked == {"extra.yaml": ("name",)}
    assert [out.path for out in others[1].outs] == ["p/2"]


def test_paths():
    assert within("a/b", "a") and within("a", "a") and not within("ab", "a") and not within("a", "a/b")
    assert overlap("a", "a/b") and overlap("a/b", "a") and not overlap("a/b", "a/c")
