import csv
import json

from pipelines.shared.training.history import Averages, History, columns, write_csv

ROWS = [
    {"step": 10, "train/loss": 0.1 + 0.2, "learning_rate": 1e-3},
    {"step": 20, "train/loss": 1 / 3, "learning_rate": 5e-4, "val/loss": 2.5},
]


def test_columns_are_named_by_group_and_term():
    assert columns("train", {"main": 1.0, "main/itc": 2.0}) == {"train/loss": 1.0, "train/itc": 2.0}
    assert columns("val", {"generator": 1.0, "generator/hinge": 2.0}) == {
        "val/generator/loss": 1.0,
        "val/generator/hinge": 2.0,
    }


def test_averages():
    averages = Averages()
    averages.add({"main": 1.0, "x": 4.0})
    again = Averages(averages.sums, averages.count)
    again.add({"main": 3.0, "x": 4.0})
    assert again.take() == {"main": 2.0, "x": 4.0}
    assert (again.sums, again.count) == ({}, 0)


def test_csv_keeps_every_bit_and_leaves_gaps_empty(tmp_path):
    write_csv(tmp_path / "history.csv", ROWS)
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert lines[0] == "step,train/loss,learning_rate,val/loss"
    rows = list(csv.DictReader(lines))
    assert float(rows[0]["train/loss"]) == ROWS[0]["train/loss"]
    assert float(rows[1]["train/loss"]) == ROWS[1]["train/loss"]
    assert rows[0]["val/loss"] == ""
    assert rows[1]["step"] == "20"


def test_dvclive_has_all_rows_also_of_a_resumed_run(tmp_path):
    with History(tmp_path / "live", ROWS[:1]) as history:
        history.add(ROWS[1])
    loss = (tmp_path / "live/plots/metrics/train/loss.tsv").read_text().splitlines()
    assert loss[0] == "step\tloss"
    assert [float(line.split("\t")[1]) for line in loss[1:]] == [row["train/loss"] for row in ROWS]
    assert [line.split("\t")[0] for line in loss[1:]] == ["10", "20"]
    summary = json.loads((tmp_path / "live/metrics.json").read_text())
    assert summary["val"]["loss"] == 2.5
    assert summary["step"] == 20
    with History(tmp_path / "live", ROWS[:1]):
        pass
    assert len((tmp_path / "live/plots/metrics/train/loss.tsv").read_text().splitlines()) == 2


def test_no_folder_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with History(None, ROWS) as history:
        history.add({"step": 30, "train/loss": 0.0})
    assert list(tmp_path.iterdir()) == []
