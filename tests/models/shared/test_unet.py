import re

import pytest
import torch
from diffusers import UNet2DModel
from diffusers.models.embeddings import get_timestep_embedding

from models.shared.unet import UNet, UNetConfig, sinusoidal_embedding

TINY = UNetConfig(
    image_px=16, width=16, channel_multipliers=(1, 2, 2), num_res_blocks=1, attention_px=(8,), dropout=0.0, num_groups=8
)


def diffusers_unet(config: UNetConfig) -> UNet2DModel:
    has_attention = [
        config.image_px >> level in config.attention_px for level in range(len(config.channel_multipliers))
    ]
    return UNet2DModel(
        sample_size=config.image_px,
        layers_per_block=config.num_res_blocks,
        block_out_channels=tuple(config.width * m for m in config.channel_multipliers),
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in has_attention),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(has_attention)),
        attention_head_dim=None,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        norm_eps=1e-6,
        norm_num_groups=config.num_groups,
    )


def our_name(name: str, config: UNetConfig) -> str:
    """The name that a parameter of diffusers' UNet has in ours."""
    down, up = config.num_res_blocks + 1, config.num_res_blocks + 2  # our modules per level

    def place(match: re.Match[str]) -> str:
        way, level, kind, index = match[1], int(match[2]), match[3], int(match[4])
        per_level = down if way == "down" else up
        if kind.endswith("samplers"):
            return f"{way}.{level * per_level + per_level - 1}"
        part = {"resnets": "block", "attentions": "attention"}[kind]
        return f"{way}.{level * per_level + index}.{part}"

    name = re.sub(r"^(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)", place, name)
    plain = {
        r"^conv_norm_out": "head.norm",
        r"^conv_out": "head.conv",
        r"^time_embedding\.linear_": "time.linear",
        r"^mid_block\.resnets\.0": "middle.block1",
        r"^mid_block\.resnets\.1": "middle.block2",
        r"^mid_block\.attentions\.0": "middle.attention",
        r"time_emb_proj": "embedding",
        r"conv_shortcut": "skip",
        r"group_norm": "norm",
        r"to_q": "query",
        r"to_k": "key",
        r"to_v": "value",
        r"to_out\.0": "out",
    }
    for theirs, ours in plain.items():
        name = re.sub(theirs, ours, name)
    return name


def test_parameter_count_of_the_paper():
    config = UNetConfig(image_px=32)
    with torch.device("meta"):
        ours, peer = UNet(config), diffusers_unet(config)
    assert sum(p.numel() for p in ours.parameters()) == 35_746_307
    theirs = {our_name(name, config): p.numel() for name, p in peer.named_parameters()}
    assert {name: p.numel() for name, p in ours.named_parameters()} == theirs


@pytest.mark.parametrize("num_res_blocks", [1, 2])
def test_output_and_gradient_equal_diffusers(num_res_blocks):
    config = UNetConfig(
        image_px=16,
        width=16,
        channel_multipliers=(1, 2, 2),
        num_res_blocks=num_res_blocks,
        attention_px=(8,),
        dropout=0.0,
        num_groups=8,
    )
    peer, ours = diffusers_unet(config).eval(), UNet(config).eval()
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, parameter in peer.named_parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
        state[our_name(name, config)] = parameter.data.reshape(ours.state_dict()[our_name(name, config)].shape)
    ours.load_state_dict(state)
    x = torch.randn(2, 3, 16, 16, generator=generator, dtype=torch.float64)
    t = torch.tensor([3, 987])
    outputs, gradients = [], []
    for forward, model in ((lambda x: peer(x, t).sample, peer), (lambda x: ours(x, t), ours)):
        model.double()
        leaf = x.clone().requires_grad_()
        output = forward(leaf)
        output.square().mean().backward()
        outputs.append(output.detach())
        gradients.append(leaf.grad)
    assert outputs[0].std() > 0.1
    # float32 sinusoids inside both are what keeps this from 1e-10
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-5)


def test_sinusoids_equal_diffusers():
    t = torch.tensor([0, 1, 500, 999])
    expected = get_timestep_embedding(t, 32, flip_sin_to_cos=False, downscale_freq_shift=1)
    torch.testing.assert_close(sinusoidal_embedding(t, 32), expected, rtol=0, atol=1e-4)


def test_starts_at_zero_and_every_parameter_can_learn():
    unet = UNet(TINY)
    x, t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([5, 900])
    assert unet(x, t).abs().max() == 0
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    unet(x, t).square().sum().backward()
    without = {n for n, p in unet.named_parameters() if p.grad is None or p.grad.abs().max() == 0}
    # A softmax does not change when the same number is added to all its inputs, so key biases have no effect.
    assert {name for name in without if not name.endswith("key.bias")} == set()


def test_time_and_condition_change_the_output():
    unet = UNet(TINY).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in unet.parameters():
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    x, t = torch.randn(2, 3, 16, 16, generator=generator), torch.tensor([5, 5])
    plain = unet(x, t)
    assert not torch.allclose(plain, unet(x, torch.tensor([5, 900])))
    condition = torch.zeros(2, TINY.embedding_dim)
    torch.testing.assert_close(unet(x, t, condition), plain)
    condition[1] = 1
    changed = unet(x, t, condition)
    torch.testing.assert_close(changed[0], plain[0])
    assert not torch.allclose(changed[1], plain[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_px": 18}, "image_px must be a positive multiple of 4"),
        ({"channel_multipliers": ()}, "channel_multipliers must be positive integers"),
        ({"width": 20}, "width must be positive, even and a multiple of num_groups = 8, got 20"),
        ({"width": 2, "num_groups": 1}, "width must be at least 4"),
        ({"attention_px": (7,)}, r"attention_px must be among \[16, 8, 4\], got \(7,\)"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"num_res_blocks": 0}, "num_res_blocks must be positive"),
    ],
)
def test_bad_shapes_are_refused(change, message):
    settings = {"image_px": 16, "width": 16, "channel_multipliers": (1, 2, 2), "attention_px": (8,), "num_groups": 8}
    with pytest.raises(ValueError, match=message):
        UNetConfig(**(settings | change))
