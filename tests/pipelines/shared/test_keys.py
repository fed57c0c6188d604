"""Names that DVC, a shell, YAML or a file system would read differently are refused where params.yaml is read."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.shared.keys import check_key, check_keys, check_values
from pipelines.shared.params import load_params

REFUSED = (
    *(
        "my.site",
        "2014",
        "3d",
        "1e5",
        "a b",
        "../x",
        "a/b",
        "a\\b",
        "-x",
        "_x",
        "UPPER",
        "Web",
        "ü",
        "日本",
        "a@b",
        "a:b",
    ),
    *("$x", "${x}", "a`b", "*", "a|b", "a,b", "a=b", "~", "", " ", "a\nb", "a\x00b", "a\u202eb", "x" * 64, "x" * 300),
    *("true", "false", "null", "on", "off", "yes", "no", "y", "n", "con", "nul", "aux", "prn", "com1", "lpt9"),
    *(2014, True, None, 1.5, ("a",)),
)


@pytest.mark.parametrize("key", REFUSED, ids=repr)
def test_a_name_of_another_form_is_refused_in_one_line(key: Any) -> None:
    with pytest.raises(ValueError, match=r"params\.yaml: sources: .* cannot be a name here") as caught:
        check_keys({"sources": {key: {}}}, "params.yaml")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


@pytest.mark.parametrize("key", ["web", "clip-locked", "clip4clip", "a_b", "x1", "ye", "x" * 63, "con-1", "common"])
def test_names(key: str) -> None:
    check_key(key, "here")


@pytest.mark.parametrize(
    ("params", "place"),
    [
        *(({section: {"a.b": {}}}, section) for section in ("sources", "annotators", "filters", "packs", "repacks")),
        *(({section: {"a.b": {}}}, section) for section in ("recaptions", "models", "stacked", "metrics")),
        *(({section: {"a.b": {}}}, section) for section in ("evaluations", "references")),
        ({"filters": {"base": {"rules": {"a.b": {}}}}}, r"filters\.base\.rules"),
        ({"recaptions": {"first": {"captioners": {"a.b": {}}}}}, r"recaptions\.first\.captioners"),
        ({"retrain": {"gates": {"a.b": {}}}}, r"retrain\.gates"),
    ],
)
def test_everything_that_is_named_by_users_is_checked(params: Any, place: str) -> None:
    with pytest.raises(ValueError, match=f"f: {place}: 'a.b' cannot be a name"):
        check_keys(params, "f")


def test_settings_that_are_no_names_are_left_alone() -> None:
    check_keys({"evaluations": {"a": {"classes": {"T. Rex": "x"}}}, "retrain": {"time_budget_min": 0}}, "f")
    check_keys({"retrain": {"gates": {"a": {"improve": {"text_to_image_recall@10": 0.0}}}}, "models": None}, "f")


@pytest.mark.parametrize(
    ("first", "second"), [("packs", "repacks"), ("models", "stacked"), ("evaluations", "references")]
)
def test_two_sections_that_share_a_folder_have_no_name_in_common(first: str, second: str) -> None:
    with pytest.raises(ValueError, match=f"f: a is in {first} and in {second}, which share a folder"):
        check_keys({first: {"a": {}, "b": {}}, second: {"a": {}}}, "f")
    check_keys({"sources": {"a": {}}, "packs": {"a": {}}, "models": {"a": {}}, "evaluations": {"a": {}}}, "f")


def test_a_section_of_names_is_a_mapping() -> None:
    with pytest.raises(ValueError, match="f: sources must be a mapping of names, got tuple"):
        check_keys({"sources": ("a",)}, "f")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1e999", "seed must be a finite number, got inf"),
        ("seed: .nan", "seed must be a finite number, got nan"),
        ("models: {a: {b: [0, -.inf]}}", "models.a.b must be a finite number, got -inf"),
        ("seed: 2014-01-01", "seed is a date .2014-01-01.; in quotes it is text"),
        ("seed: !!set {a}", "seed must be text, a number, a list or a mapping, got set"),
        ("seed: !!binary aGk=", "seed must be text, a number, a list or a mapping, got bytes"),
        ("seed: 100000000000000000000", "seed must be a whole number below"),
        ('models: {a: {b: "\\ud800"}}', "models.a.b: .* is not text: surrogates not allowed"),
        ("models: {a: {2014: 1}}", "models.a: the key 2014 is of type int; in quotes it is text"),
    ],
)
def test_values_that_are_no_settings(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"params\.yaml: {message}"):
        load_params(tmp_path / "params.yaml")


def test_plain_values() -> None:
    check_values({"a": [1, 1.5, True, None, "ü 🐢", {"b": ()}]}, "f")


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"seed: 1 # \xff\n")
    with pytest.raises(ValueError, match=r"params\.yaml is not UTF-8"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("name", ["params.yaml", "params/capfilt.yaml", "params/packages.yaml"])
def test_our_own_names_fit(name: str) -> None:
    from pipelines.shared.documents import parse_yaml

    check_keys(parse_yaml((Path(__file__).parents[3] / name).read_text(), name), name)
