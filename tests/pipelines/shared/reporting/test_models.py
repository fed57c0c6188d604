"""Models on the page."""

from pathlib import Path

from pipelines.shared.reporting.models import method, model_cards
from pipelines.shared.reporting.thumbnails import picture_uri
from tests.pipelines.shared.reporting import world


def test_card_says_what_a_model_is_and_started_from(tmp_path: Path) -> None:
    world.write_run(tmp_path / "runs" / "first", "first")
    world.write_scored(tmp_path, world.scored("first"))
    document = world.scored("first").document
    (card,) = model_cards(tmp_path / "data", tmp_path / "runs", {"first": document})
    assert card.key == "first"
    assert card.summary == method("vae")
    assert card.started_from == ["some-package"]
    assert card.plot is not None and card.plot.last_step == 2
    assert card.gallery[0]["picture"] == picture_uri(world.PICTURE)
