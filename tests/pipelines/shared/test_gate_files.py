import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.shared.files import clear_folder, digest_file, write_json
from pipelines.shared.gate_files import (
    GATES,
    gate_digest,
    number,
    plain,
    publish_gate,
    read_gate_file,
    summary,
)

OUTCOME = {
    "score": "recall@1",
    "role": "improve",
    "outcome": "won",
    "higher_is_better": True,
    "champion": 0.5,
    "challenger": 0.75,
    "margin": 0.1,
    "gain": 0.25,
    "low": 0.2,
    "high": 0.3,
    "p_value": 0.0001,
    "n": 1200,
    "smallest_detectable": 0.07,
    "samples_needed": None,
    "note": "",
}
SHOWN = dict.fromkeys(OUTCOME) | {
    "score": "rank",
    "role": "report",
    "outcome": "shown",
    "higher_is_better": False,
    "champion": 4.0,
    "challenger": 3.0,
    "note": "",
}
EVIL = "a|b](javascript:x) <img src=x>\n# no"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def document(**changes: Any) -> dict[str, Any]:
    return {
        "gate": "clip",
        "evaluation": "clip",
        "verdict": "promote",
        "reasons": ["recall@1 gains more than 0.1"],
        "outcomes": [OUTCOME, SHOWN],
        "challenger": {"run": "clip", "model_sha256": "c" * 64},
        "champion": {"run": "clip", "model_sha256": "d" * 64, "version": "v0.1.0"},
        "test": {"num_samples": 12, "num_excluded": 2, "num_scored": 8},
        **changes,
    }


def gallery(name: str, items: list[dict[str, Any]]) -> Path:
    folder = Path("galleries") / name
    clear_folder(folder)
    for item in items:
        for picture in (item["picture"], item.get("second")):
            if picture:
                (folder / picture).write_bytes(picture.encode())
    write_json(folder / "gallery.json", items)
    return folder


def galleries(**second: str) -> dict[str, Path]:
    items = [{"key": "k", "picture": "k.webp", "captions": ["a cat", EVIL], "written": "grey", **second}] * 10
    return {name: gallery(name, items) for name in ("champion", "challenger")}


def test_there_is_none_yet() -> None:
    assert read_gate_file("clip") is None


def test_what_is_published_is_read_and_replaces_what_was_there() -> None:
    publish_gate(document(), galleries(second="other.webp"))
    publish_gate(document(verdict="hold"), galleries())
    found = read_gate_file("clip")
    assert found is not None and found["verdict"] == "hold" and found["outcomes"][0] == OUTCOME
    names = sorted(path.relative_to(GATES / "clip").as_posix() for path in (GATES / "clip").rglob("*.*"))
    sides = [f"{side}/{name}" for side in ("challenger", "champion") for name in ("gallery.json", "k.webp")]
    assert names == [*sides, "gate.json", "gate.md"]
    assert gate_digest("clip") == digest_file(GATES / "clip/gate.json")


@pytest.mark.parametrize(
    ("content", "message"), [("[]", "is not a gate's"), ('{"format_version": 2}', "format version 2")]
)
def test_a_file_of_something_else(content: str, message: str) -> None:
    (GATES / "clip").mkdir(parents=True)
    (GATES / "clip/gate.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_gate_file("clip")


def page() -> str:
    return (GATES / "clip/gate.md").read_text()


def test_the_page() -> None:
    publish_gate(document(), galleries())
    lines = page().splitlines()
    assert lines[0] == "# Gate clip: promote" and lines[2] == "- recall@1 gains more than 0.1"
    assert "on 8 samples of a test set of 12 (frozen with v0.1.0). 2 were left out" in page()
    (row, shown) = (line for line in lines if "is better)" in line)
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        *("`recall@1` (higher is better)", "improve", "0.1", "0.5", "0.75", "0.25 [0.2, 0.3]"),
        *("0.0001", "1,200", "0.07", "won"),
    ]
    assert shown.startswith("| `rank` (lower is better) | report |  | 4 | 3 |")
    assert sum("![](champion/k.webp)" in line for line in lines) == 8


def test_captions_of_the_web_mean_nothing_in_markdown() -> None:
    publish_gate(document(), galleries())
    row = next(line for line in page().splitlines() if "k.webp" in line)
    caption = row.removeprefix("| ").partition(" | ")[0]
    assert caption.startswith("a cat; a") and caption.endswith("no")
    assert re.findall(r"(?<!\\)[<>|\[\]()#]", caption) == []
    assert plain("a_b*c|d`e") == r"a\_b\*c\|d\`e"


def test_the_second_picture_is_shown_where_there_is_one() -> None:
    publish_gate(document(), galleries(second="reconstruction-k.webp"))
    assert "![](challenger/reconstruction-k.webp) grey" in page()


def test_the_page_of_a_first_champion_and_of_an_invalid_comparison() -> None:
    publish_gate(document(champion=None), {"challenger": galleries()["challenger"]})
    assert "Champion: none yet." in page() and "(the present one, which a promotion freezes)" in page()
    publish_gate(document(verdict="invalid", outcomes=[]), {})
    assert "No score was compared." in page() and "webp" not in page()


def test_a_line() -> None:
    assert summary(document()).startswith(
        "promote (recall@1 gains more than 0.1); `vignette promote clip` puts it in use;"
    )
    assert "vignette promote" not in summary(document(verdict="hold"))
    assert json.dumps(summary(document())).endswith('scores/gates/clip/gate.md"')


@pytest.mark.parametrize(("value", "text"), [(None, ""), (1200, "1,200"), (0.123456, "0.1235"), (0.0, "0")])
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text
