import json
from pathlib import Path

import pytest
import torch

from pipelines import replay
from pipelines.shared.evaluation import scoring
from pipelines.shared.evaluation.settings import EvaluationEntry
from pipelines.shared.evaluation.split import HeldOut
from tests.pipelines.shared.evaluation.fakes import TwoTowers, run_of, write_pack

METRICS = {"retrieval": {"module": "retrieval", "recall_at": (1, 5)}}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scoring, "run_digest", lambda key: key * 64)
    split = HeldOut.load(write_pack(tmp_path / "data" / "pack" / "web"), ("human",))
    settings = EvaluationEntry(model="m", pack="web", judge="j", metrics=("retrieval",))
    run, out = run_of(TwoTowers()), tmp_path / "data" / "evaluate" / "towers"
    document = scoring.evaluate_run(
        "towers", settings, METRICS, 0, run=run, load_judge=lambda: run, split=split, out=out
    )
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "towers.json").write_text(json.dumps(document))
    (tmp_path / "params.yaml").write_text("num_threads: 1\n")
    before = torch.get_num_threads()
    yield tmp_path
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(before)


def said(row: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> str:
    monkeypatch.setattr("sys.argv", ["vignette replay", row])
    replay.main()
    return capsys.readouterr().out


def test_one_row_and_all(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    one = said("towers/text_to_image_recall@1", monkeypatch, capsys)
    assert one == "text_to_image_recall@1  equal  1.0\n1 rows computed again, 0 differ\n"
    every = said("towers", monkeypatch, capsys)
    number = len(json.loads((project / "scores" / "towers.json").read_text())["scores"])
    assert every.endswith(f"{number} rows computed again, 0 differ\n")


def test_a_forged_row_fails(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    path = project / "scores" / "towers.json"
    document = json.loads(path.read_text())
    document["scores"]["text_to_image_recall@1"]["high"] = 0.5
    path.write_text(json.dumps(document))
    with pytest.raises(SystemExit) as error:
        said("towers/text_to_image_recall@1", monkeypatch, capsys)
    assert error.value.code == 1
    assert "score high is 1.0, published was 0.5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("tower/x", r"scores/tower\.json does not exist \(did you mean towers\?\); a row is <evaluation>/<score>"),
        ("towers/recall", r"towers has no score 'recall'.*; there are: image_to_text"),
    ],
)
def test_rows_that_are_not_there(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys, row: str, message: str
) -> None:
    with pytest.raises(SystemExit, match=message):
        said(row, monkeypatch, capsys)
