"""Weights from files and from a stream."""

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from metrics.shared.detectors import DETECTORS
from metrics.shared.weights import check_digest, digest_weights, draw_weights, is_sha256, read_weights
from tests.models.weight_files import ATTACKS, write_attack


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_is_read_if_it_is_the_one_that_was_named(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    weights = {"a": torch.arange(3.0)}
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    assert torch.equal(read_weights(path, sha256(path))["a"], weights["a"])
    with pytest.raises(ValueError, match="must have sha256 0000"):
        read_weights(path, "0" * 64)
    with pytest.raises(ValueError, match=r"weights_file .*none.pth does not exist"):
        read_weights(tmp_path / "none.pth", "0" * 64)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"a": np.random.default_rng}, path)
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        read_weights(path, sha256(path))


def test_drawn_weights_are_he_uniform_without_biases():
    weights = draw_weights({"kernel": (64, 16, 3, 3), "bias": (64,), "matrix": (100, 40)}, key=1)
    bound = np.sqrt(6 / (16 * 9))
    kernel = weights["kernel"].numpy()
    assert (kernel.dtype, kernel.shape) == (np.float32, (64, 16, 3, 3))
    assert 0.99 * bound < np.abs(kernel).max() <= np.float32(bound)
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
    assert not weights["bias"].any()
    assert np.abs(weights["matrix"].numpy()).max() <= np.float32(np.sqrt(6 / 40))


def test_drawn_weights_depend_on_the_key_and_the_order_alone():
    shapes = {"a": (8, 4), "b": (4, 8)}
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, again, other = (draw_weights(shapes, key) for key in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state()), "no draw from the global generator"
    assert digest_weights(one.values()) == digest_weights(again.values()) != digest_weights(other.values())


def test_the_digest_is_that_of_the_random_detector():
    """The same stream and the same layout give the weights of `random-vgg`, whose digest is published."""
    from torchvision.models import vgg

    with torch.device("meta"):
        network = torch.nn.Sequential(vgg.make_layers(vgg.cfgs["D"]), torch.nn.Linear(2048, 64))
    weights = draw_weights({name: slot.shape for name, slot in network.named_parameters()}, key=20200209)
    assert digest_weights(weights.values()) == DETECTORS["random-vgg"].digest


def test_digests_are_recognised():
    assert is_sha256("0a" * 32)
    for text in ("", "0a" * 31, "0A" * 32, "xy" * 32):
        assert not is_sha256(text)
    check_digest("a file", "ab", "ab")
    with pytest.raises(ValueError, match="a file must have sha256 ab, got cd"):
        check_digest("a file", "cd", "ab")


@pytest.mark.parametrize("kind", ATTACKS)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_files_that_must_not_be_used_are_refused_by_name(tmp_path, kind, suffix):
    path, witness = tmp_path / f"weights{suffix}", tmp_path / "witness"
    write_attack(kind, path, witness)
    with pytest.raises(ValueError, match=rf"weights\{suffix}") as caught:
        read_weights(path, sha256(path))
    assert not witness.exists(), "no code in a file runs"
    if kind in ("nan", "infinite") and suffix == ".safetensors":
        assert f"weights{suffix}: weight holds NaN or infinite values" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": torch.tensor([1.0, float("nan")])}, "a holds NaN or infinite values"),
        ({"a": {"b": torch.ones(1)}}, "must hold tensors by name and nothing else"),
        ([torch.ones(1)], "must hold tensors by name and nothing else"),
        (3, "must hold tensors by name and nothing else"),
    ],
)
def test_a_file_of_torch_save_holds_finite_tensors_by_name(tmp_path, content, message):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match=rf"weights\.pth.* {message}"):
        read_weights(path, sha256(path))
