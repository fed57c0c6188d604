import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.captioners import CaptionerInput, Written
from pipelines.captioners.chat_server import Captioner, Config
from tests.pipelines.builders import drawing
from tests.pipelines.model_server import KEY, Fake, said, serve

__all__ = ["serve"]
QUICK = {"model": "tiny-vlm", "backoff_sec": 0.01, "tries": 2}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def inputs(*num_seeds: int, num_frames: int = 1) -> list[CaptionerInput]:
    return [
        CaptionerInput(
            key=f"{row:020x}",
            frames=tuple(drawing(10 * row + frame, 80, 40) for frame in range(num_frames)),
            seeds=tuple(2**40 + 100 * row + n for n in range(count)),  # 100 * row + n in 31 bits
        )
        for row, count in enumerate(num_seeds)
    ]


def pictures(body: dict[str, Any]) -> list[Image.Image]:
    urls = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    assert all(url.startswith("data:image/jpeg;base64,") for url in urls)
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


def test_what_is_asked(serve: Callable[..., Fake], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = serve(lambda body, count: said(f" a  drawing\n{body['seed'] % 100} "))
    monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    captioner = Captioner(Config(**QUICK, max_side_px=40, prompt="What is it?"))
    samples = inputs(2, 1, num_frames=3)
    written = captioner.caption(samples)
    texts = [[f"a drawing {seed % 2**31 % 100}" for seed in sample.seeds] for sample in samples]
    assert written == [Written(texts=tuple(own)) for own in texts]
    assert captioner.model == "server:tiny-vlm"
    assert all(body["messages"][0]["content"][0] == {"type": "text", "text": "What is it?"} for body in fake.asked)
    sent = next(pictures(body) for body in fake.asked if body["seed"] == samples[1].seeds[0] % 2**31)
    assert [picture.size for picture in sent] == [(40, 20)] * 3
    for number, picture in enumerate(sent):
        expected = [np.asarray(frame.resize((40, 20)), dtype=float) for frame in samples[1].frames]
        distances = [np.abs(np.asarray(picture, dtype=float) - each).mean() for each in expected]
        assert int(np.argmin(distances)) == number and distances[number] < 10
    files = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3 and not any(KEY in text for text in files)
    assert captioner.caption(samples) == written and len(fake.asked) == 3, "answers are kept"
    monkeypatch.setenv("VIGNETTE_NO_CACHE", "1")
    assert captioner.caption(samples) == written and len(fake.asked) == 6


def test_a_sample_without_an_answer_has_the_reason(serve: Callable[..., Fake], monkeypatch: pytest.MonkeyPatch) -> None:
    fake = serve(lambda body, count: (503, {}, b"") if body["seed"] == 101 else said("text"))
    monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
    assert Captioner(Config(**QUICK)).caption(inputs(1, 2)) == [Written(texts=("text",)), Written(error="http_503")]
    assert len(fake.asked) == 4, "two tries of the last"


def test_the_server_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTHER_URL", raising=False)
    with pytest.raises(ValueError, match="OTHER_URL must hold the server's base URL"):
        Captioner(Config(**QUICK, url_variable="OTHER_URL"))
    monkeypatch.setenv("OTHER_URL", "http://a.example/v1")
    monkeypatch.setenv("OTHER_KEY", KEY)
    with pytest.raises(ValueError, match="a key goes over https"):
        Captioner(Config(**QUICK, url_variable="OTHER_URL", key_variable="OTHER_KEY"))


@pytest.mark.parametrize(
    "change,message",
    [
        ({"model": ""}, "model and prompt must not be empty"),
        ({"temperature": 3.0}, "temperature must be in"),
        ({"top_p": 0.0}, "top_p must be in"),
        ({"tries": 0}, "tries must be at least 1"),
        ({"timeout_sec": 0.0}, "timeout_sec must be above 0"),
        ({"key_variable": KEY}, "key_variable must be the name of an environment variable, got another text"),
    ],
)
def test_settings_are_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**{"model": "m", **change})
