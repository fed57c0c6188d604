"""Frozen document frequencies: of the wanted captions of the training split alone, and ready to be set."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from metrics.captions import Config, Metric
from metrics.shared.document_frequency import read_document_frequency
from pipelines import frequencies
from tests.pipelines.shared.evaluation.fakes import SHADES, write_pack


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pack(Path("data/pack/web"))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["vignette frequencies", *arguments])
    frequencies.main()


NUM = len(SHADES)
HUMAN = {"grey": NUM, "also": -(-NUM // 2)}


@pytest.mark.parametrize(
    ("origins", "images_with"),
    [
        ((), HUMAN),
        (("--origins", "web"), {"untitled": NUM}),
        (("--origins", "web", "human"), {**HUMAN, "untitled": NUM}),
    ],
)
def test_what_is_counted(pack, monkeypatch, origins, images_with) -> None:
    run(monkeypatch, "web", "metrics/some.json", *origins)
    frequency, _ = read_document_frequency(Path("metrics/some.json"))
    assert (frequency.num_images, dict(frequency.images_with)) == (NUM, images_with)


def test_the_printed_settings_are_accepted(pack, monkeypatch, capsys) -> None:
    run(monkeypatch, "web", "some.json")
    first, settings = capsys.readouterr().out.split("\n", 1)
    assert first.startswith(f"{NUM} training samples counted.")
    metric = Metric(Config(**YAML(typ="safe").load(settings)))
    assert metric.cider_key == "cider_d"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none", "some.json"), "data/pack/none"),
        (
            ("web", "some.json", "--origins", "synthetic"),
            "needs the captions of at least 2 images",
        ),
    ],
)
def test_what_cannot_be_counted_is_one_line(pack, monkeypatch, arguments, message) -> None:
    with pytest.raises(SystemExit, match=f"^vignette frequencies: .*{message}"):
        run(monkeypatch, *arguments)
    assert not Path("some.json").exists()
