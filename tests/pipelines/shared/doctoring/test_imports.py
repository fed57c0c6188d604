import pytest

from pipelines.shared.doctoring.imports import Code, module_of, stage_codes, undeclared_code


def lines(project):
    return [(finding.code, finding.message) for finding in undeclared_code(project)]


def test_a_clean_project(write_project):
    assert lines(write_project()) == []


def test_an_undeclared_import_of_an_import(write_project, clean):
    files = {
        "stages/shared/text.py": clean["stages/shared/text.py"] + "from stages.shared import deep\n",
        "stages/shared/deep.py": "def work():\n    try:\n        import stages.deeper\n    except ImportError: pass\n",
        "stages/deeper.py": "",
    }
    ((code, message),) = lines(write_project(files))
    assert code == "D20" and message.startswith("train imports stages/deeper.py, stages/shared/deep.py, and")


def test_a_declared_folder_declares_what_is_in_it(write_project, clean):
    changed = clean["dvc.yaml"].replace("stages/shared/text.py", "stages/shared")
    more = {"stages/shared/text.py": "from . import deep\nfrom .deep import x\n", "stages/shared/deep.py": "x = 1\n"}
    assert lines(write_project({"dvc.yaml": changed, **more})) == []


@pytest.mark.parametrize(("text", "number"), [('"""Only says what it is."""\n', 0), ("WIDTH = 3\n", 1)])
def test_code_in_a_package_file(write_project, text, number):
    found = lines(write_project({"stages/__init__.py": text}))
    assert [code for code, _ in found] == ["D21"] * number


def test_a_module_that_does_not_exist(write_project):
    project = write_project({"dvc.yaml": "stages:\n  s: {cmd: python3 -m stages.gone, deps: [stages]}\n"})
    ((code, message),) = lines(project)
    assert code == "D22" and "stages.gone" in message


def test_other_commands_are_not_looked_at(write_project):
    stages = "stages:\n  a: {cmd: python3 -m pytest}\n  b: {cmd: make x}\n  c: {cmd: 'echo \"unclosed'}\n"
    assert lines(write_project({"dvc.yaml": stages})) == []


PLUGINS = {
    "stages/train.py": 'from tools import plugin_config\nPACKAGE = "nets"\nplugin_config(PACKAGE, {}, "where")\n',
    "tools.py": "",
    "nets/__init__.py": "",
    "nets/small.py": "import nets.shared.layers\n",
    "nets/large.py": "",
    "nets/shared/__init__.py": "",
    "nets/shared/layers.py": "",
}


@pytest.mark.parametrize(
    ("deps", "codes"),
    [
        ([], ["D23"]),
        (["nets"], []),
        (["nets/small.py"], ["D20"]),
        (["nets/small.py", "nets/shared"], []),
        (["nets/large.py"], []),
        (["nets/${item.module}.py"], ["D20"]),
        (["nets/${item.module}.py", "nets/shared/layers.py"], []),
        (["nets/shared"], ["D23"]),
    ],
)
def test_plugins_loaded_by_name(write_project, deps, codes):
    listed = ", ".join(f'"{dep}"' for dep in ["stages/train.py", *deps])
    project = write_project(
        {"dvc.yaml": f"stages:\n  s: {{cmd: python3 -m stages.train, deps: [{listed}]}}\n", **PLUGINS}
    )
    assert [code for code, _ in lines(project)] == codes


def test_closure_goes_round_in_circles_once(write_project):
    project = write_project({"stages/a.py": "import stages.b\n", "stages/b.py": "import stages.a, os, numpy\n"})
    assert Code(project.root).closure("stages/a.py") == {"stages/__init__.py", "stages/a.py", "stages/b.py"}


def test_a_file_that_is_not_python(write_project):
    project = write_project({"stages/train.py": "def\n"})
    with pytest.raises(ValueError, match=r"stages/train.py:1 is not Python"):
        list(undeclared_code(project))


def test_undeclared_is_sorted(write_project, clean):
    changed = clean["dvc.yaml"].replace("        - stages/shared/text.py\n        - stages/train.py\n", "")
    (code,) = stage_codes(write_project({"dvc.yaml": changed}))
    assert code.undeclared == ["stages/shared/text.py", "stages/train.py"]


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("python3 -m a.b c", "a.b"),
        (".venv/bin/python3.11 -m a", "a"),
        ("python a.py", None),
        ("pythonic -m a", None),
        ("torchrun -m a", None),
    ],
)
def test_modules_of_commands(command, module):
    assert module_of(command) == module
