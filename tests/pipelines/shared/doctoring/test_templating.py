import pytest

from pipelines.shared.doctoring.templating import covers, untracked_settings


def test_a_clean_project(write_project):
    assert not list(untracked_settings(write_project()))


def test_an_untracked_setting_of_params(write_project, clean):
    changed = clean["dvc.yaml"].replace('        - "models.${key}"\n', "")
    (found,) = untracked_settings(write_project({"dvc.yaml": changed}))
    assert (found.code, found.place) == ("D24", "dvc.yaml:2")
    assert "models.large.pack, models.small.pack of params.yaml" in found.message


VARS = "vars: [extra.yaml]\nstages:\n  s:\n    cmd: x --width ${net.width}\n    deps: [data/web.txt]\n"


@pytest.mark.parametrize(
    ("more", "number"),
    [
        ("", 1),
        ("    params: [seed]\n", 1),
        ("    params: [extra.yaml: [net]]\n", 0),
        ("    params: [extra.yaml: [net.width]]\n", 0),
        ("    params: [extra.yaml: [net.wid]]\n", 1),
        ("    params:\n      - extra.yaml:\n", 0),
    ],
)
def test_a_file_of_vars(write_project, more, number):
    project = write_project({"dvc.yaml": VARS + more, "extra.yaml": "net: {width: 3}\n"})
    assert len(list(untracked_settings(project))) == number


def test_a_file_of_vars_that_is_a_dependency(write_project):
    text = VARS.replace("[data/web.txt]", "[extra.yaml]")
    assert not list(untracked_settings(write_project({"dvc.yaml": text, "extra.yaml": "net: {width: 3}\n"})))


def test_covers():
    assert covers((), "a.b") and covers(("a",), "a.b") and covers(("a.b",), "a.b")
    assert not covers(("a.b",), "a") and not covers(("a",), "ab")
