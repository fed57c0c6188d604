import pytest
import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D

from models.shared.blocks import Downsample, Head, Middle, ResidualBlock, SelfAttention, Upsample

NAMES = {
    "conv_shortcut": "skip",
    "time_emb_proj": "embedding",
    "group_norm": "norm",
    "to_q": "query",
    "to_k": "key",
    "to_v": "value",
    "to_out.0": "out",
}


def randomized(module):
    """The module with all parameters random, so that nothing starts at zero."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return module.eval()


def copy_of(peer, ours):
    """Ours with the peer's parameters; every one is used."""
    state = {}
    for name, value in randomized(peer).state_dict().items():
        for theirs, mine in NAMES.items():
            name = name.replace(theirs, mine)
        if not name.startswith("Conv2d_0."):  # diffusers' second name of `conv`
            state[name] = value.reshape(ours.state_dict()[name].shape)
    ours.load_state_dict(state)
    return ours.eval()


def images(channels=8):
    return torch.randn(2, channels, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("out_channels", [8, 16])
def test_residual_block_equals_diffusers(out_channels):
    peer = ResnetBlock2D(in_channels=8, out_channels=out_channels, temb_channels=12, groups=4, eps=1e-6)
    embedding = torch.randn(2, 12, generator=torch.Generator().manual_seed(2))
    ours = copy_of(peer, ResidualBlock(8, out_channels, 4, embedding_dim=12))
    activated = torch.nn.functional.silu(embedding)
    torch.testing.assert_close(ours(images(), activated), peer(images(), embedding), rtol=1e-5, atol=1e-5)


def test_attention_equals_diffusers():
    peer = Attention(8, heads=1, dim_head=8, bias=True, norm_num_groups=4, eps=1e-6, residual_connection=True)
    ours = copy_of(peer, SelfAttention(8, 4))
    torch.testing.assert_close(ours(images()), peer(images()), rtol=1e-5, atol=1e-5)


def test_resampling_equals_diffusers():
    down = Downsample2D(8, use_conv=True, padding=0)
    torch.testing.assert_close(copy_of(down, Downsample(8))(images()), down(images()), rtol=1e-5, atol=1e-5)
    up = Upsample2D(8, use_conv=True)
    torch.testing.assert_close(copy_of(up, Upsample(8))(images()), up(images()), rtol=1e-5, atol=1e-5)


def test_residual_branches_start_as_identity():
    x = images()
    for block in (ResidualBlock(8, 8, 4), SelfAttention(8, 4), Middle(8, 4)):
        assert torch.equal(block(x), x)
    assert Head(8, 3, 4, zero=True)(x).abs().max() == 0
    assert Head(8, 3, 4, zero=False)(x).abs().max() > 0


def test_a_block_without_its_embedding_is_refused():
    with pytest.raises(AssertionError, match="built for an embedding"):
        ResidualBlock(8, 8, 4, embedding_dim=12)(images())
