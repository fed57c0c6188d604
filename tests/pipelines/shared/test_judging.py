from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.shared.decode import encode_clip
from pipelines.shared.judging import Judge, model_frames, sample_frames
from pipelines.shared.media import MediaError
from pipelines.shared.pixels import model_images
from pipelines.shared.records import Sample
from tests.pipelines.builders import drawing, encoded


class Brightness:
    """Scores by the picture's mean and the text's number: as a matcher and as a CLIP of two dimensions."""

    image_px = 8

    def match(self, image: Any, captions: list[str], owners: Any) -> Any:
        assert len(captions) == len(owners)
        return torch.stack([image[owner].mean() * 0.5 + 0.5 for owner in owners]) * torch.tensor(
            [float(text) for text in captions]
        )

    def encode_image(self, image: Any) -> Any:
        angle = image.mean(dim=(1, 2, 3))
        return torch.stack([angle.cos(), angle.sin()], dim=1)

    def encode_text(self, captions: list[str]) -> Any:
        angle = torch.tensor([float(text) for text in captions])
        return torch.stack([angle.cos(), angle.sin()], dim=1)


def run(model: Any, device: str = "cpu") -> Any:
    return SimpleNamespace(model=model, device=device)


def grey(value: int) -> Image.Image:
    return Image.new("RGB", (10, 10), (value, value, value))


def tone(value: int) -> float:
    return value / 127.5 - 1


def test_frames_count_alike() -> None:
    judge = Judge(run(Brightness()), run(Brightness()))
    frames = [(grey(255),), (grey(0), grey(100), grey(200)), (grey(50),)]
    owners, texts = [1, 0, 1], ["1", "0.5", "0.25"]
    mean = sum((tone(value) + 1) / 2 for value in (0, 100, 200)) / 3
    assert judge.match(frames, owners, texts) == pytest.approx([mean, 0.5, mean / 4], abs=1e-5)
    vectors = np.array([[np.cos(tone(value)), np.sin(tone(value))] for value in (0, 100, 200)]).mean(axis=0)
    vectors /= np.linalg.norm(vectors)
    expected = [
        vectors @ [np.cos(1), np.sin(1)],
        np.cos(tone(255) - 0.5),
        vectors @ [np.cos(0.25), np.sin(0.25)],
    ]
    assert judge.cosine(frames, owners, texts) == pytest.approx([100 * value for value in expected], abs=1e-3)


def test_a_sample_is_judged_by_its_own_frames() -> None:
    judge = Judge(run(Brightness()), run(Brightness()))
    frames = [(grey(10), grey(90)), (grey(200),), (grey(255), grey(0), grey(7))]
    owners, texts = [0, 1, 1, 2], ["0.1", "0.2", "0.3", "0.4"]
    alone = [judge.match([frames[owner]], [0], [text])[0] for owner, text in zip(owners, texts, strict=True)]
    assert judge.match(frames, owners, texts) == pytest.approx(alone)
    alone = [judge.cosine([frames[owner]], [0], [text])[0] for owner, text in zip(owners, texts, strict=True)]
    assert judge.cosine(frames, owners, texts) == pytest.approx(alone, abs=1e-4)


def test_no_texts_need_no_model() -> None:
    judge = Judge(run(None), run(None))
    assert judge.match([(grey(1),)], [], []) == judge.cosine([(grey(1),)], [], []) == []


def test_pictures_are_what_models_take() -> None:
    samples = [
        Sample(key=f"{n:020x}", extension="png", media=encoded(drawing(n, 40, 30 + n)), captions=()) for n in range(3)
    ]
    frames = [frame for sample in samples for frame in sample_frames(sample, 4)]
    assert torch.equal(model_frames(frames, run(SimpleNamespace(image_px=16))), model_images(samples, 16))


def test_pictures_go_to_the_model() -> None:
    class Elsewhere(Brightness):
        def match(self, image: Any, captions: list[str], owners: Any) -> Any:
            assert image.device.type == "meta"
            return torch.ones(len(captions))

    assert Judge(run(Elsewhere(), "meta"), run(None)).match([(grey(1),)], [0, 0], ["1", "2"]) == [1, 1]
    assert model_frames([grey(1)], run(Brightness(), "meta")).device.type == "meta"


def test_frames_of_a_clip() -> None:
    values = np.repeat(np.arange(0, 250, 50, dtype=np.uint8), 16 * 16 * 3).reshape(5, 16, 16, 3)
    clip = Sample(key="0" * 20, extension="mp4", media=encode_clip(values, 5.0), captions=())
    tones = [float(np.asarray(frame).mean()) for frame in sample_frames(clip, 3)]
    assert tones == pytest.approx([0, 100, 200], abs=6)
    assert len(sample_frames(clip, 9)) == 5
    with pytest.raises(MediaError):
        sample_frames(Sample(key="0" * 20, extension="mp4", media=b"no clip", captions=()), 3)
