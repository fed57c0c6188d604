import pytest
import torch
from torch.nn import functional

from models.shared.vit import FeatureTransformer, VisionTransformer


def tiny_vit(image_px: int = 16) -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(image_px=image_px, patch_px=8, width=16, num_layers=2, num_heads=2)


def test_num_parameters_of_vit_b_16_and_l_16():
    # timm's counts with 1000 classes (86,567,656 and 304,326,632) less the classifier's
    for width, layers, heads, total in ((768, 12, 12, 86_567_656), (1024, 24, 16, 304_326_632)):
        with torch.device("meta"):
            vit = VisionTransformer(image_px=224, patch_px=16, width=width, num_layers=layers, num_heads=heads)
        assert sum(p.numel() for p in vit.parameters()) == total - 1000 * (width + 1)


def test_equals_timm_with_its_weights():
    timm = pytest.importorskip("timm")
    theirs = timm.create_model(
        "vit_base_patch16_224", img_size=16, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=0
    ).eval()
    ours = tiny_vit().eval()
    names = {
        "cls_token": "class_token",
        "pos_embed": "positions",
        "patch_embed.proj": "patches",
        "attn.qkv": "qkv",
        "attn.proj": "out",
        "mlp.fc1": "mlp_in",
        "mlp.fc2": "mlp_out",
    }
    state = {}
    for name, value in theirs.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        state[name] = value
    ours.load_state_dict(state, strict=True)
    image = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs.forward_features(image), rtol=0, atol=2e-6)


def test_resizing_keeps_the_class_position_and_interpolates_the_others():
    vit = tiny_vit(16)
    before = vit.positions.detach().clone()
    vit.resize(32)
    assert vit(torch.zeros(1, 3, 32, 32)).shape == (1, 17, 16)
    assert torch.equal(vit.positions[:, 0], before[:, 0])
    grid = before[:, 1:].mT.unflatten(2, (2, 2))
    expected = functional.interpolate(grid, size=(4, 4), mode="bicubic").flatten(2).mT
    torch.testing.assert_close(vit.positions[:, 1:].detach(), expected)
    assert vit.positions.requires_grad


def test_resizing_to_the_same_size_changes_nothing():
    vit = tiny_vit(16)
    before = vit.positions.detach().clone()
    vit.resize(16)
    torch.testing.assert_close(vit.positions.detach(), before)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="image_px must be a multiple of patch_px = 8, got 20"):
        tiny_vit(20)
    with pytest.raises(ValueError, match="image_px must be a multiple of patch_px = 8, got 20"):
        tiny_vit().resize(20)


def test_first_state_over_features_starts_from_their_mean():
    torch.manual_seed(0)
    tower = FeatureTransformer(num_tokens=4, feature_width=6, width=8, num_layers=0, num_heads=2)
    features = torch.randn(2, 4, 6)
    states = tower(features)
    assert states.shape == (2, 5, 8)
    mean = tower.project(features.mean(dim=1)) + tower.class_token[:, 0] + tower.positions[:, 0]
    torch.testing.assert_close(states[:, 0], tower.norm(mean))


def test_states_over_features_depend_on_position():
    torch.manual_seed(0)
    tower = FeatureTransformer(num_tokens=4, feature_width=6, width=8, num_layers=1, num_heads=2)
    features = torch.randn(1, 4, 6)
    assert not torch.allclose(tower(features)[:, 0], tower(features.flip(1))[:, 0])
