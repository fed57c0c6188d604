"""Training curves."""

from pathlib import Path

import pytest

from pipelines.shared.reporting.curves import HEIGHT, WIDTH, training_plot


def test_points_stay_inside_and_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("step,train/loss,val/loss\n0,4.0,\n10,2.0,3.0\n20,1.0,2.5\n30,nan,2.0\n")
    plot = training_plot(path)
    assert plot is not None
    assert [curve.name for curve in plot.curves] == ["train/loss", "val/loss"]
    assert (plot.low, plot.high, plot.last_step) == (1.0, 4.0, 30)
    loss = [tuple(map(float, point.split(","))) for point in plot.curves[0].points.split()]
    assert len(loss) == 3, "the value that is not a number is left out"
    assert [y for _, y in loss] == sorted(y for _, y in loss), "a falling loss goes down on the page"
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in loss)
    assert plot.curves[1].last == pytest.approx(2.0)


def test_no_such_column(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("step,other\n0,1\n")
    assert training_plot(path) is None
