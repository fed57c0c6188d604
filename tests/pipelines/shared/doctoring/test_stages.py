import pytest

from pipelines.shared.doctoring import stages


def found(check, project):
    return [(finding.code, finding.place, finding.message) for finding in check(project)]


ALL = (
    stages.resolving,
    stages.kept_outputs,
    stages.run_cache,
    stages.overlapping_outputs,
    stages.cached_numbers,
    stages.too_many,
    stages.unsafe_keys,
    stages.bound_to_here,
    stages.missing_dependencies,
)


@pytest.mark.parametrize("check", ALL, ids=lambda check: check.__name__)
def test_a_clean_project(write_project, check):
    assert found(check, write_project()) == []


def test_persist(write_project, clean):
    changed = clean["dvc.yaml"].replace('- "runs/${key}"', '- "runs/${key}": {persist: true}')
    ((code, place, message),) = found(stages.kept_outputs, write_project({"dvc.yaml": changed}))
    assert (code, place) == ("D02", "dvc.yaml:14") and "runs/${key}" in message, "once, not for each instance"


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ("deps: [a], outs: [b]", []),
        ("deps: [a], outs: [b], metrics: [m: {cache: false}]", []),
        ("deps: [a], metrics: [m: {cache: false}]", ["D03"]),
        ("deps: [a]", ["D03"]),
        ("outs: [b]", ["D07"]),
        ("deps: [a], outs: [b], always_changed: true", ["D04"]),
        ("always_changed: true", ["D03", "D04", "D07"]),
    ],
)
def test_run_cache(write_project, body, codes):
    project = write_project({"dvc.yaml": f"stages:\n  s: {{cmd: x, {body}}}\n"})
    assert [code for code, _, _ in found(stages.run_cache, project)] == codes


@pytest.mark.parametrize(
    ("outs", "pairs"),
    [
        (("a", "b"), 0),
        (("a", "ab"), 0),
        (("a", "a/b"), 1),
        (("a/b/c", "a"), 1),
        (("a", "a"), 1),
        (("a", "a-b", "a/b"), 1),
        (("a", "a/b", "a/b/c"), 3),
    ],
)
def test_overlap(write_project, outs, pairs):
    lines = [f"  s{i}: {{cmd: x, deps: [d], outs: [{out}]}}" for i, out in enumerate(outs)]
    project = write_project({"dvc.yaml": "\n".join(["stages:", *lines, ""])})
    assert len(found(stages.overlapping_outputs, project)) == pairs


def test_overlap_within_a_stage_is_dvcs_business(write_project):
    project = write_project({"dvc.yaml": "stages:\n  s: {cmd: x, outs: [a], metrics: [a/b]}\n"})
    assert not found(stages.overlapping_outputs, project)


def test_cached_metrics_and_plots(write_project):
    text = "stages:\n  s:\n    cmd: x\n    metrics: [m]\n    plots:\n      - p\n      - q: {cache: false}\n"
    codes = found(stages.cached_numbers, write_project({"dvc.yaml": text}))
    assert [(code, place) for code, place, _ in codes] == [("D06", "dvc.yaml:4"), ("D06", "dvc.yaml:6")]


def test_too_many(write_project):
    def project(number):
        items = ", ".join(f"i{i}" for i in range(number))
        return write_project({"dvc.yaml": f"stages:\n  s: {{foreach: [{items}], do: {{cmd: x}}}}\n  t: {{cmd: x}}\n"})

    assert not found(stages.too_many, project(99))
    ((code, _, message),) = found(stages.too_many, project(100))
    assert code == "D08" and message.startswith("101 stages, 100 of them s")


@pytest.mark.parametrize("key", ["a.b", "a[0]", "a b", "a/b", "a@b", "a:b", "a;b", "-a", "ä"])
def test_unsafe_keys(write_project, key):
    project = write_project({"dvc.yaml": f"stages:\n  s: {{foreach: {{'{key}': 1, good-1_A: 1}}, do: {{cmd: x}}}}\n"})
    found_here = [*stages.unsafe_keys(project), *project.problems]
    assert {finding.code for finding in found_here} <= {"D01", "D09"} and len(found_here) == 1, "one of the two says it"
    assert key in found_here[0].message or found_here[0].code == "D01"


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("python3 -m a /srv/data", "/srv/data"),
        ("python3 -m a --out=/srv/x", "/srv/x"),
        ("python3 -m a ~/data", "~/data"),
        ("python3 -m a --stamp $(date +%s)", "$(date"),
        ("python3 -m a `date`", "`date"),
        ("python3 -m a $HOME/x", "$HOME"),
        ("python3 -m a --run 2026-11-25T08:30:00", "2026-11-25T08:30"),
        ("python3 -m a --run 20261125-0830", "20261125-0830"),
    ],
)
def test_bound_commands(write_project, command, what):
    project = write_project({"dvc.yaml": f"stages:\n  s:\n    cmd: {command}\n"})
    ((code, place, message),) = found(stages.bound_to_here, project)
    assert (code, place) == ("D10", "dvc.yaml:2") and f"has {what}:" in message


@pytest.mark.parametrize(
    "command",
    [
        "python3 -m a key",
        "cat a/b > c/d",
        "/usr/bin/env python3 a.py > /dev/null",
        "a --url https://x.org/y",
        "a 2026-11",
    ],
)
def test_free_commands(write_project, command):
    assert not found(stages.bound_to_here, write_project({"dvc.yaml": f"stages:\n  s:\n    cmd: {command}\n"}))


def test_absolute_outputs_and_dependencies(write_project):
    project = write_project({"dvc.yaml": "stages:\n  s:\n    cmd: x\n    deps: [/etc/x]\n    outs: [/srv/y]\n"})
    assert [place for _, place, _ in found(stages.bound_to_here, project)] == ["dvc.yaml:4", "dvc.yaml:5"]


def test_missing_dependencies(write_project):
    text = """stages:
  one: {cmd: x, outs: [made/one]}
  two:
    cmd: x
    deps:
      - made/one/file
      - made
      - data/web.txt
      - s3://bucket/x
      - brought/file
      - gone.txt
"""
    project = write_project({"dvc.yaml": text, "brought.dvc": "outs: [{path: brought}]\n"})
    ((code, place, message),) = found(stages.missing_dependencies, project)
    assert (code, place) == ("D11", "dvc.yaml:11") and "gone.txt" in message


def test_a_missing_dependency_of_all_instances_is_said_once(write_project, clean):
    changed = clean["dvc.yaml"].replace("stages/shared/text.py", "stages/shared/gone.py")
    assert len(found(stages.missing_dependencies, write_project({"dvc.yaml": changed}))) == 1
