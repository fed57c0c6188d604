"""The FID Inception against torch-fidelity's, with random weights in a file that the test writes."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchvision.models.inception import Inception3

from metrics.shared.detectors import DetectorSpec


@pytest.fixture(scope="module")
def weights():
    """Random weights that keep the activations at order 1; torchvision's shapes and names."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in Inception3(1008, False, init_weights=False).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    made = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            made[name] = torch.tensor(0)
        elif len(shape) > 1:
            made[name] = torch.randn(shape, generator=generator) * (2 / shape[1:].numel()) ** 0.5
        else:
            made[name] = torch.rand(shape, generator=generator) + 0.5
    return made


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_features_are_those_of_torch_fidelity(weights, tmp_path):
    path = tmp_path / "inception.pth"
    torch.save(weights, path)
    images = torch.randint(0, 256, (2, 3, 40, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    detector = DetectorSpec(name="inception", weights_file=str(path), weights_sha256=sha256(path)).load()
    with torch.no_grad():
        (theirs,) = FeatureExtractorInceptionV3("fid", ["2048"], feature_extractor_weights_path=str(path))(images)
    ours = detector(images)
    assert ours.shape == (2, 2048)
    assert theirs.std() > 0.1
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_safetensors_file_is_read(weights, tmp_path):
    path = tmp_path / "inception.safetensors"
    save_file(weights, path)
    loaded = DetectorSpec(name="inception", weights_file=str(path), weights_sha256=sha256(path)).load()
    stem = loaded._network.network.Conv2d_1a_3x3.conv.weight
    assert torch.equal(stem, weights["Conv2d_1a_3x3.conv.weight"])


def test_pickled_code_is_not_run(tmp_path):
    """A checkpoint that holds anything but tensors does not load, even if its digest is right."""
    path = tmp_path / "inception.pth"
    torch.save({"conv.weight": DetectorSpec(name="random-vgg")}, path)
    with pytest.raises(Exception, match="Weights only load failed"):
        DetectorSpec(name="inception", weights_file=str(path), weights_sha256=sha256(path)).load()
