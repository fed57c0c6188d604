"""Examples of a recaption round."""

from pathlib import Path

from pipelines.shared.reporting.captions import recaption_rounds
from tests.pipelines.shared.evaluation.fakes import write_pack
from tests.pipelines.shared.reporting import world


def test_examples_have_all_texts_and_their_picture(tmp_path: Path) -> None:
    write_pack(tmp_path / "pack" / "web")
    world.write_round(tmp_path / "recaption" / "first")
    (made,) = recaption_rounds(tmp_path, {"first": {"pack": "web"}}, 5)
    assert made.threshold == 0.5
    (example,) = made.examples
    assert [(each["origin"], each["kept"]) for each in example.candidates] == [("web", False), ("synthetic", True)]
    assert example.candidates[0]["scores"] == {"match": 0.7, "clip": 20.0}
    assert example.picture.startswith("data:image/webp;base64,UklGR")
