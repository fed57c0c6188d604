"""Model cards."""

import base64
import json
from pathlib import Path

from pipelines.shared.reporting.models import method, model_cards, picture_uri
from tests.pipelines.shared.reporting import world


def test_card_says_what_a_model_is_and_started_from(tmp_path: Path) -> None:
    world.write_evaluation(tmp_path, "first", 0.0)
    document = json.loads((tmp_path / "scores" / "first.json").read_text())
    (card,) = model_cards(tmp_path / "data", tmp_path / "runs", {"first": document})
    assert card.key == "first"
    assert card.summary == method("vae")
    assert card.started_from == ["some-package"]
    assert card.plot is not None and card.plot.last_step == 2
    assert card.gallery[0]["picture"] == picture_uri(world.PICTURE)


def test_picture_uri_holds_the_bytes() -> None:
    assert base64.b64decode(picture_uri(b"abc").partition(",")[2]) == b"abc"
