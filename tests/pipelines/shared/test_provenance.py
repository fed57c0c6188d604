"""What a result's code is."""

import shutil
from pathlib import Path

import pytest

from pipelines.shared import provenance
from pipelines.shared.params import plugin_names
from pipelines.shared.provenance import code_identity, imported_code, library_version

ROOT = Path(__file__).resolve().parents[3]


def names(*modules: str) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in imported_code(modules)[0]]


def test_imports_are_followed() -> None:
    found = names("pipelines.shared.packing")
    assert {"pipelines/shared/packing.py", "pipelines/shared/records.py", "pipelines/shared/decode.py"} <= set(found)
    assert "pipelines/shared/fetch.py" not in found and "pipelines/pack.py" not in found
    assert "pipelines/annotators/phash.py" in names("pipelines.shared.annotating", "pipelines.annotators.phash")
    assert "pipelines/annotators/phash.py" not in names("pipelines.shared.annotating")
    assert "models/shared/packaged.py" in names("pipelines.annotators.embeddings"), "into the other packages too"


@pytest.mark.parametrize("package", ["pipelines.annotators", "pipelines.sources"])
def test_every_library_has_a_version(package: str) -> None:
    modules = [f"{package}.{name}" for name in plugin_names(package)]
    _, libraries = imported_code(("pipelines.shared.packing", "pipelines.shared.crawling", *modules))
    assert {"PIL", "av", "numpy", "pyarrow"} <= set(libraries)
    assert all(library_version(name) for name in libraries), libraries
    assert library_version("no_such_library") == ""


def test_identity_follows_code_and_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    first = code_identity("pipelines.shared.packing")
    (tmp_path / "pipelines/shared/fetch.py").write_text("# other code\n")
    assert code_identity("pipelines.shared.packing") == first, "it is not imported"
    (tmp_path / "pipelines/shared/records.py").write_text(
        (tmp_path / "pipelines/shared/records.py").read_text() + "\nX = 1\n"
    )
    second = code_identity("pipelines.shared.packing")
    assert second != first
    monkeypatch.setattr(provenance, "library_version", lambda name: "9.9")
    assert code_identity("pipelines.shared.packing") not in (first, second)


def test_unknown_modules_are_our_mistake() -> None:
    with pytest.raises(AssertionError, match="are not modules of pipelines"):
        code_identity("pipelines.shared.nothing")
