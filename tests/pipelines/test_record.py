import json
from pathlib import Path

import pytest

from pipelines import record
from pipelines.shared.recording import read_records


def test_everything_that_params_names_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("evaluations: {b: {}}\nreferences: {a: {}}\n")
    Path("scores").mkdir()
    for name in "abc":
        (Path("scores") / f"{name}.json").write_text(json.dumps({"evaluation": name, "model": ""}))
    monkeypatch.setattr("sys.argv", ["vignette record"])
    record.main()
    record.main()
    assert capsys.readouterr().out.splitlines() == [
        "scores/records.jsonl: 2 records appended",
        "scores/records.jsonl: 0 records appended",
    ]
    assert [each["document"]["evaluation"] for each in read_records(Path("scores"))] == ["a", "b"]


def test_a_missing_score_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("evaluations: {b: {}}\n")
    monkeypatch.setattr("sys.argv", ["vignette record"])
    with pytest.raises(SystemExit, match=r"^vignette record: scores/b\.json is missing: run `vignette evaluate b`$"):
        record.main()
