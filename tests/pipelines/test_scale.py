"""Switching scales and back."""

from pathlib import Path

import pytest

from pipelines.scale import merge, scale_names, switch
from pipelines.shared.params import load_params

BASE = "# by hand\nscale: debug\nseed: 0\nsources:\n  a: {module: html_site, start: a/}\n  b: {module: html_site}\n"
OVERLAY = "seed: 1\nsources:\n  a: {start: big/}\n  b: null\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(BASE)
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "packages.yaml").write_text(OVERLAY)
    return tmp_path


def test_overlay_and_back(project: Path) -> None:
    assert switch("packages")
    params = load_params()
    assert params["scale"] == "packages"
    assert params["seed"] == 1
    assert params["sources"] == {"a": {"module": "html_site", "start": "big/"}}
    assert not switch("packages"), "a second time there is nothing to do"
    assert switch("debug")
    assert (project / "params.yaml").read_text() == BASE, "the committed scale comes back byte for byte"


def test_names_and_typo(project: Path) -> None:
    assert scale_names() == ("debug", "packages")
    with pytest.raises(ValueError, match=r"'package' does not exist \(did you mean packages\?\)"):
        switch("package")


def test_merge_replaces_lists_and_removes_nulls() -> None:
    merged = merge({"a": [1, 2], "b": {"c": 1, "d": 2}}, {"a": [3], "b": {"d": None}})
    assert merged == {"a": [3], "b": {"c": 1}}


@pytest.mark.parametrize(
    "overlay", ["- 1\n", "sources: {my.site: {}}\n", "a: &a [*a]\n", "seed: [\n", "seed: 1\nseed: 2\n", "nothing: 1\n"]
)
def test_an_overlay_that_is_refused_leaves_the_settings_as_they_were(project: Path, overlay: str) -> None:
    (project / "params" / "packages.yaml").write_text(overlay)
    with pytest.raises(ValueError, match=r"params/packages.yaml") as refusal:
        switch("packages")
    assert "\n" not in str(refusal.value)
    assert sorted(path.name for path in project.iterdir()) == ["params", "params.yaml"]
    assert (project / "params.yaml").read_text() == BASE
