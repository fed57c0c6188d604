import json
import re

import pytest

from pipelines.shared.doctoring.findings import CODES, SEVERITIES, Finding, as_json, as_text, codes_text, ordered

NOTE = Finding("D06", "dvc.yaml:3", "a note", "nothing")
ERROR = Finding("D02", "dvc.yaml:9", "persist", "remove it")


def test_one_line_each_errors_first_each_once():
    text = as_text(ordered([NOTE, ERROR, NOTE]))
    assert text.splitlines() == [
        "error   D02  dvc.yaml:9: persist. Remedy: remove it",
        "note    D06  dvc.yaml:3: a note. Remedy: nothing",
        "1 error, 0 warnings, 1 note",
    ]


def test_a_message_of_several_lines_is_one_line():
    assert "\n" not in Finding("D02", "p", "first\nsecond", "r").line()


def test_json():
    row = {"severity": "error", "code": "D02", "place": "dvc.yaml:9", "message": "persist", "remedy": "remove it"}
    assert json.loads(as_json([ERROR])) == [row]


def test_ignored_codes():
    assert ordered([NOTE, ERROR], ["D02"]) == [NOTE]
    with pytest.raises(ValueError, match=r"there is no code D0 \(did you mean D\d\d\?\)"):
        ordered([], ["D0"])


def test_codes_are_well_formed():
    assert all(re.fullmatch(r"D\d\d", code) for code in CODES)
    assert {severity for severity, _ in CODES.values()} == set(SEVERITIES)
    assert len(codes_text().splitlines()) == len(CODES)
    with pytest.raises(AssertionError, match="D99"):
        Finding("D99", "", "", "")
