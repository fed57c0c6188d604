"""The benchmark of report and build on small inputs."""

import json

from tests.benchmarks import operations
from tests.benchmarks.harness import Goal


def test_the_report_is_written_and_timed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(operations, "OUT", tmp_path / "bench" / "operations.json")
    operations.main(["--quick", "--only", "Report"])
    (found,) = json.loads(operations.OUT.read_text())
    assert found["ours"] > 0 and found["goal"] == f"{Goal(most=20)}, met"
    assert "| Report of 50 models" in capsys.readouterr().out


def test_models_of_the_benchmark_differ():
    one, other = operations.model(1), operations.model(2)
    assert one.document["scores"].keys() == other.document["scores"].keys()
    assert all(one.document["scores"][name] != other.document["scores"][name] for name in one.document["scores"])


def test_a_folder_that_is_not_built_is_said_and_not_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(operations, "OUT", tmp_path / "operations.json")
    operations.main(["--quick", "--only", "nothing to do"])
    assert json.loads(operations.OUT.read_text()) == []
    assert "skipped, not everything is up to date here: `make demo` first" in capsys.readouterr().out
