"""Model cards with scores."""

from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from pipelines.shared.reporting.cards import ScoredRun, scored_card, write_cards
from pipelines.shared.reporting.trainings import read_training
from tests.pipelines.shared.reporting import world
from tests.pipelines.shared.reporting.test_leaderboard import rows_of
from tests.pipelines.shared.reporting.world import FD, RECALL, scored


def card(runs: Path, licences: dict[str, str]) -> str:
    evaluations = [scored("first", recall=0.8), scored("first-again", about={"model": "first"})]
    training = read_training(runs, "first", [world.record(evaluations[0], 1, seconds=120.0)])
    rows = rows_of(*evaluations, columns=(RECALL,), first=training)
    run = ScoredRun(key="first", training=training, evaluations=evaluations, rows=rows, licences=licences)
    return scored_card(runs, run)


def test_the_hub_reads_its_results(tmp_path: Path) -> None:
    world.write_run(tmp_path / "first", "first")
    read = ModelCard(card(tmp_path, {"site": "CC0-1.0"}))
    assert read.data.library_name == "vignette" and read.data.tags == ["vignette", "vae"]
    assert read.data.license == ["CC0-1.0"]
    assert read.data.datasets == ["web"]
    assert read.data.eval_results is not None
    results = {(each.task_name, each.metric_type): each.metric_value for each in read.data.eval_results}
    assert results["retrieval", RECALL] in (0.8, 0.5) and results["distance", FD] == 2.0


def test_text_has_what_training_wrote_and_the_scores(tmp_path: Path) -> None:
    world.write_run(tmp_path / "first", "first")
    text = card(tmp_path, {"site": "CC0-1.0"})
    assert "# first\n\n" in text and "| Can | all |" in text, "the run's own card"
    assert f"| first | {RECALL} | 0.8 | 0.7 to 0.9 | 1 | 40 |" in text
    assert f"| first-again | {RECALL} | 0.5 | 0.4 to 0.6 | 2 | 40 |" in text
    assert "234 of 1,234 parameters were trained on 40 samples, 5 different ones in 120 s on cpu." in text
    assert "not stated" not in text


def test_a_licence_that_is_not_stated(tmp_path: Path) -> None:
    world.write_run(tmp_path / "first", "first")
    text = card(tmp_path, {"site": "CC0-1.0", "elsewhere": ""})
    assert ModelCard(text).data.license is None, "a part of the licences is none"
    assert "The licence of elsewhere is not stated." in text


@pytest.mark.parametrize("licence", ["no", "1.0", "a: b # c", '"]}\n---\n', "- x", "\u2028", "{{ x }}"])
def test_hostile_texts_stay_texts(tmp_path: Path, licence: str) -> None:
    world.write_run(tmp_path / "first", "first")
    front = card(tmp_path, {"site": licence}).split("---\n")[1]
    assert yaml.safe_load(front)["license"] == [licence], "also for readers of YAML 1.1, to whom no is false"


def test_one_card_for_each_run(tmp_path: Path) -> None:
    world.write_run(tmp_path / "runs" / "first", "first")
    models = [scored("first"), scored("first-again", about={"model": "first"})]
    rows = rows_of(*models)
    trainings = {"first": read_training(tmp_path / "runs", "first", [])}
    write_cards(tmp_path / "cards", tmp_path / "runs", models, trainings, rows, {"web": {"site": ""}})
    assert [path.name for path in (tmp_path / "cards").iterdir()] == ["first.md"]


def test_a_run_without_a_card(tmp_path: Path) -> None:
    world.write_run(tmp_path / "first", "first")
    (tmp_path / "first" / "README.md").write_text("# first\n")
    with pytest.raises(ValueError, match="must begin with front matter"):
        card(tmp_path, {})
    (tmp_path / "first" / "README.md").unlink()
    with pytest.raises(ValueError, match="vignette train first"):
        card(tmp_path, {})
