import pickle
from dataclasses import asdict
from typing import Any

import pytest

from pipelines.shared.params import build
from pipelines.shared.recaption_settings import RecaptionEntry, captioner_specs

NAMES = {"pack": "a", "captioner": "b", "matcher": "c", "clip": "d"}
SERVER = {"module": "chat_server", "model": "m"}


def entry(**settings: Any) -> RecaptionEntry:
    return build(RecaptionEntry, {**NAMES, **settings}, "recaptions.first")


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"threshold": 1.5}, "threshold must be in"),
        ({"num_candidates": 0}, "num_candidates must be at least 1, or 0 beside captioners, got 0"),
        ({"num_candidates": -1, "captioners": {"x": SERVER}}, "num_candidates"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"num_frames": 0}, "num_frames must be at least 1"),
        ({"best_by_clip": -1}, "best_by_clip must be at least 0"),
        ({"num_audited": -1}, "num_audited must be at least 0"),
        ({"max_failed_frac": 2.0}, "max_failed_frac must be in"),
        ({"device": "gpu"}, "device must be one of auto, cpu, cuda, got 'gpu'"),
        ({"ranked": ()}, "ranked must be web, synthetic or both"),
        ({"ranked": ("human",)}, "ranked must be web, synthetic or both"),
        ({"captioners": {"captioner": SERVER}}, "must not have the name captioner"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        entry(**settings)


def test_captioners_are_found_by_name_and_sent_to_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = entry(num_candidates=0, captioners={"b": SERVER, "a": {**SERVER, "num_candidates": 3, "tries": 2}})
    specs = captioner_specs(settings, "recaptions.first")
    assert [(spec.name, spec.module, spec.num_candidates) for spec in specs] == [
        ("a", "chat_server", 3),
        ("b", "chat_server", 1),
    ]
    assert specs[0].config.tries == 2
    assert pickle.loads(pickle.dumps(specs)) == specs and len({*specs}) == 2
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert specs[0].build().model == "server:m"


@pytest.mark.parametrize(
    "captioners,message",
    [
        (
            {"a": {"module": "chat_servr", "model": "m"}},
            r"captioners has no 'chat_servr' \(did you mean chat_server\?\)",
        ),
        ({"a": {**SERVER, "modl": 1}}, r"first\.captioners\.a\.modl is not a setting \(did you mean model\?\)"),
        ({"a": {**SERVER, "num_candidates": 0}}, "num_candidates must be at least 1"),
        ({"A b": SERVER}, "names match"),
    ],
)
def test_mistakes_name_their_place(captioners: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        captioner_specs(entry(captioners=captioners), "recaptions.first")


def test_a_round_stays_the_same_while_unused_settings_are_added() -> None:
    first = {"pack", "captioner", "matcher", "clip", "num_candidates", "decoding", "threshold", "batch_size"}
    assert set(entry().identity()) == set(entry(num_audited=3, max_failed_frac=0.5).identity()) == first
    used = entry(best_by_clip=2, ranked=("web",), num_frames=8, captioners={"a": SERVER}, device="cuda")
    assert used.identity() == {
        name: value for name, value in asdict(used).items() if name not in ("num_audited", "max_failed_frac")
    }


def test_texts_have_their_provenance_where_there_may_be_several() -> None:
    assert not entry().has_provenance
    assert entry(num_candidates=2).has_provenance and entry(captioners={"a": SERVER}).has_provenance


def test_captioners_run_where_the_round_does_unless_they_say_otherwise() -> None:
    local = {"module": "hugging_face", "folder": "a", "sha256": "0" * 64}
    captioners = {"a": local, "b": {**local, "device": "cpu"}, "c": SERVER}
    for device, expected in (("cuda", ["cuda", "cpu"]), ("cpu", ["cpu", "cpu"])):
        specs = captioner_specs(entry(captioners=captioners, device=device), "recaptions.first")
        assert [spec.config.device for spec in specs[:2]] == expected
