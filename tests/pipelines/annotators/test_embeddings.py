import numpy as np
import pytest
import torch

from models.shared.packaged import image_tower, text_tower
from pipelines.annotators import AnnotatorInput
from pipelines.annotators.embeddings import Annotator, Config
from pipelines.shared.cosine_pairs import cosine_pairs, embedding_rows
from pipelines.shared.pixels import square, to_float
from tests.pipelines.builders import captions, drawing

TEXTS = ("a red fox in the snow", "a fox standing in snow", "quarterly report of a bank")


@pytest.fixture(scope="module", autouse=True)
def state_of_torch():
    yield
    torch.set_deterministic_debug_mode("default")


def annotate(*images, texts=(), **settings):
    samples = [
        AnnotatorInput(key=f"{i:020x}", media="image", image=image, first_image=image, captions=captions(*texts))
        for i, image in enumerate(images)
    ]
    return Annotator(Config(**settings)).annotate(samples)


def vector(given: bytes) -> np.ndarray:
    return np.frombuffer(given, "<f2").astype(np.float32)


def test_vectors_are_the_towers():
    row = annotate(drawing(0, 90, 60), texts=TEXTS)[0]
    with torch.no_grad():
        pixels = to_float(torch.from_numpy(square(drawing(0, 90, 60), 224)).permute(2, 0, 1)[None])
        image = image_tower()(pixels)[0].numpy()
        texts = text_tower()(TEXTS).numpy()
    assert vector(row["image_embedding"]) == pytest.approx(image / np.linalg.norm(image), rel=1e-3, abs=1e-6)
    assert np.stack([vector(each) for each in row["caption_embedding"]]) == pytest.approx(texts, rel=1e-3, abs=1e-6)


def test_like_things_are_near():
    image = drawing(1, 128, 128)
    rows = annotate(image, image.resize((100, 100)), drawing(2, 128, 128), texts=TEXTS)
    same, near, far = (vector(row["image_embedding"]) for row in rows)
    assert np.linalg.norm(same) == pytest.approx(1, abs=1e-3) and same.shape == (1280,)
    assert same @ near > max(0.95, same @ far)
    fox, paraphrase, bank = (vector(each) for each in rows[0]["caption_embedding"])
    assert fox @ paraphrase > 0.8 and fox @ bank < 0.3


def test_the_filter_s_search_for_duplicates_reads_them():
    image = drawing(1, 128, 128)
    rows = annotate(image, image.resize((100, 100)), drawing(2, 128, 128), captions=False)
    unit, owners = embedding_rows([row["image_embedding"] for row in rows])
    assert owners.tolist() == [0, 1, 2]
    between = float(unit[0] @ unit[1] + max(unit[0] @ unit[2], unit[1] @ unit[2])) / 2
    found = [pair for left, right in cosine_pairs(unit, unit, between) for pair in zip(left, right, strict=True)]
    assert found == [(0, 1)]


def test_either_can_be_left_out():
    assert set(annotate(drawing(0), texts=TEXTS, images=False)[0]) == {"caption_embedding"}
    assert set(annotate(drawing(0), texts=TEXTS, captions=False)[0]) == {"image_embedding"}
    assert annotate(drawing(0), images=False)[0] == {"caption_embedding": []}
    with pytest.raises(ValueError, match="one of them must be true"):
        Config(images=False, captions=False)
