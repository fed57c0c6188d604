"""`params.yaml`: what is read, what is refused, and what the message says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from pipelines.shared.params import (
    build,
    entry,
    freeze_lists,
    load_params,
    plugin,
    plugin_config,
    plugin_names,
    read_value,
    split_settings,
    suggestion,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    rate: float = 0.5
    count: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer:
    name: str
    size: int = 3
    scale: float = 1.0
    on: bool = False
    mode: Literal["fast", "slow"] = "fast"
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[int, float] = (1, 0.5)
    most: int | None = None
    weights: dict[str, float] = field(default_factory=dict)
    anything: Any = None
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}")


def written(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text)
    return path


def test_yaml_as_dvc_reads_it(tmp_path: Path) -> None:
    values = load_params(written(tmp_path, "seed: 7\nmodels: {a: {lr: 1e-4, x: [1, [2, 3]], on: on, n: null}}\n"))
    assert values == {"seed": 7, "models": {"a": {"lr": 1e-4, "x": (1, (2, 3)), "on": "on", "n": None}}}
    assert isinstance(values["models"]["a"]["lr"], float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeed: 1", "seeed is not a section .did you mean seed?"),
        ("a: b: c", "is not valid YAML"),
        ("seed: 1\nseed: 2", "is not valid YAML: .*duplicate key"),
        ("seed: !!python/object/apply:os.system [ls]", "is not valid YAML"),
        ("- 1\n- 2", "must be a mapping of sections, got list"),
        ("", "must be a mapping of sections, got NoneType"),
        ("seed: [1", "is not valid YAML"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_params(written(tmp_path, text))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is missing: run this in the project's folder"):
        load_params(tmp_path / "params.yaml")


def test_entry() -> None:
    params = {"sources": {"emoji": {"module": "m"}, "bad": 3}, "models": None}
    assert entry(params, "sources", "emoji") == {"module": "m"}
    with pytest.raises(
        ValueError, match=r"sources.emojis does not exist .did you mean emoji\?.; there are: bad, emoji"
    ):
        entry(params, "sources", "emojis")
    with pytest.raises(ValueError, match=r"models.x does not exist; there are: none"):
        entry(params, "models", "x")
    with pytest.raises(ValueError, match=r"sources.bad must be a mapping, got 3"):
        entry(params, "sources", "bad")


def test_build() -> None:
    values = {
        "name": "x",
        "scale": 2,
        "mode": "slow",
        "sizes": (4,),
        "pair": (1, 2),
        "most": 5,
        "weights": {"a": 1, "b": 0.5},
        "anything": ("x",),
        "inner": {"rate": 1},
    }
    built = build(Outer, values, "models.x")
    assert built == Outer(**{**values, "scale": 2.0, "inner": Inner(rate=1.0)})
    assert isinstance(built.scale, float) and isinstance(built.inner.rate, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "models.x lacks name"),
        ({"nam": "x"}, r"models.x.nam is not a setting .did you mean name\?"),
        ({"name": "x", "zzz": 1}, "models.x.zzz is not a setting$"),
        ({"name": 3}, "models.x.name must be str, got 3"),
        ({"name": "x", "size": 1.5}, "models.x.size must be int, got 1.5"),
        ({"name": "x", "size": "3"}, "models.x.size must be int, got '3'"),
        ({"name": "x", "size": True}, "models.x.size must be int, got True"),
        ({"name": "x", "size": None}, "models.x.size must be int, got None"),
        ({"name": "x", "scale": True}, "models.x.scale must be float, got True"),
        ({"name": "x", "scale": "1e-4"}, "models.x.scale must be float, got '1e-4'"),
        ({"name": "x", "on": 1}, "models.x.on must be bool, got 1"),
        ({"name": "x", "mode": "fats"}, "models.x.mode must be one of fast, slow, got 'fats'"),
        ({"name": "x", "sizes": (1, "2")}, r"models.x.sizes must be tuple\[int, ...\], got \(1, '2'\)"),
        ({"name": "x", "sizes": 1}, "models.x.sizes must be tuple"),
        ({"name": "x", "pair": (1,)}, "models.x.pair must be tuple"),
        ({"name": "x", "most": "5"}, r"models.x.most must be int | None, got '5'"),
        ({"name": "x", "weights": {"a": "b"}}, "models.x.weights must be dict"),
        ({"name": "x", "weights": ("a",)}, "models.x.weights must be dict"),
        ({"name": "x", "inner": {"rat": 1}}, r"models.x.inner.rat is not a setting .did you mean rate\?"),
        ({"name": "x", "inner": {"count": 0.5}}, "models.x.inner.count must be int, got 0.5"),
        ({"name": "x", "inner": 3}, "models.x.inner must be Inner, got 3"),
        ({"name": "x", "size": 0}, "models.x: size must be at least 1, got 0"),
    ],
)
def test_settings_that_are_refused(values: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"params.yaml: {message}"):
        build(Outer, values, "models.x")


def test_split() -> None:
    own, rest = split_settings(Inner, {"rate": 1, "module": "m", "other": 2}, "x")
    assert own == Inner(rate=1.0) and rest == {"module": "m", "other": 2}


def test_plugins() -> None:
    assert "html_site" in plugin_names("pipelines.sources")
    assert plugin("pipelines.sources", "html_site", "sources.a").Config
    module, config = plugin_config("pipelines.sources", {"module": "url_list", "path": "a.csv"}, "sources.a")
    assert config == module.Config(path="a.csv")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"path": "a.csv"}, "sources.a lacks module; there are: .*html_site"),
        ({"module": "url_lits"}, r"sources.a.module: pipelines.sources has no 'url_lits' .did you mean url_list\?"),
        ({"module": "os"}, "pipelines.sources has no 'os'"),
        ({"module": "../shared/jobs"}, "pipelines.sources has no"),
        ({"module": "url_list", "paht": "a"}, r"sources.a.paht is not a setting .did you mean path\?"),
        ({"module": "url_list", "path": "a.doc"}, "sources.a: path must end in one of"),
    ],
)
def test_plugins_that_are_refused(values: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plugin_config("pipelines.sources", values, "sources.a")


def test_helpers() -> None:
    assert suggestion("lernin", ["learning", "other"]) == " (did you mean learning?)"
    assert suggestion("zzz", ["learning"]) == ""
    assert freeze_lists({"a": [1, {"b": [2]}]}) == {"a": (1, {"b": (2,)})}


def test_single_values_are_read_as_yaml():
    assert read_value("[1, {a: 1e-4}]", "--set x") == (1, {"a": 1e-4})
    with pytest.raises(ValueError, match=r"^--set x: '\[1' is not valid YAML"):
        read_value("[1", "--set x")
