"""Weights of others for BLIP's network: the packaged sentence encoder, and checkpoints in Hugging Face's format.

The published BLIP checkpoints come in two kinds, and each lacks what the other was fine-tuned for:

| kind | Hugging Face's class | what it brings |
|---|---|---|
| captioner | `BlipForConditionalGeneration` | ViT, decoder, LM head |
| matcher | `BlipForImageTextRetrieval` | ViT, text encoder, projections, matching head |
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.shared.med import MED, Attention, Embeddings, FeedForward
from models.shared.packaged import TextTower
from models.shared.vit import VisionTransformer
from models.shared.weights import read_safetensors, require_sha256

if TYPE_CHECKING:
    from models.shared.blip import BlipNetwork

CLS = 101

Named = Iterator[tuple[Tensor, str]]
"""Our tensors and the checkpoint's names of them."""

DUPLICATES = ("position_ids", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias")
"""Ends of names in checkpoints that hold nothing of their own: a count from 0, tied weights."""


def load_hugging_face(network: "BlipNetwork", path: Path, sha256: str) -> None:
    """Takes over a published checkpoint of either kind; what it does not bring stays as it is.

    Args:
        network: With a ViT and the sharing of the paper, of the checkpoint's sizes.
        path: A safetensors file.
        sha256: Its digest.

    Raises:
        ValueError: The file is another one, the network is of another make, or a tensor is missing, unknown or of
            another shape.
    """
    require_sha256(path, sha256, "set weights and weights_sha256 to one file")
    _copy(network, read_safetensors(path))


@torch.no_grad()
def _copy(network: "BlipNetwork", state: Mapping[str, Tensor]) -> None:
    vit = network.image_encoder
    if not isinstance(vit, VisionTransformer) or network.config.sharing != "all-but-self-attention":
        raise ValueError("weights need image_encoder: vit and sharing: all-but-self-attention")
    is_captioner = any(name.startswith("text_decoder.") for name in state)
    text = _captioner(network) if is_captioner else _matcher(network)
    named = {name: tensor for part in (_vit(vit), text) for tensor, name in part}
    unknown = sorted(name for name in set(state) - set(named) if not name.endswith(DUPLICATES))
    if unknown or set(named) - set(state):
        missing = sorted(set(named) - set(state))
        raise ValueError(f"weights do not fit the settings: missing {missing[:3]}, unknown {unknown[:3]}")
    for name, tensor in named.items():
        if tensor.shape != state[name].shape:
            ours, theirs = tuple(tensor.shape), tuple(state[name].shape)
            raise ValueError(f"weights do not fit the settings: {name} is {theirs}, the settings make it {ours}")
        tensor.copy_(state[name])


def _module(module: nn.Module, name: str) -> Named:
    for kind, tensor in module.named_parameters():
        yield tensor, f"{name}.{kind}"


def _vit(vit: VisionTransformer) -> Named:
    yield vit.class_token, "vision_model.embeddings.class_embedding"
    yield vit.positions, "vision_model.embeddings.position_embedding"
    yield from _module(vit.patches, "vision_model.embeddings.patch_embedding")
    yield from _module(vit.norm, "vision_model.post_layernorm")
    for index, block in enumerate(vit.blocks):
        layer = f"vision_model.encoder.layers.{index}"
        yield from _module(block.qkv, f"{layer}.self_attn.qkv")
        yield from _module(block.out, f"{layer}.self_attn.projection")
        yield from _module(block.norm1, f"{layer}.layer_norm1")
        yield from _module(block.norm2, f"{layer}.layer_norm2")
        yield from _module(block.mlp_in, f"{layer}.mlp.fc1")
        yield from _module(block.mlp_out, f"{layer}.mlp.fc2")


def _captioner(network: "BlipNetwork") -> Named:
    yield from _text(network.med, "text_decoder.bert", decoder=True)
    head = network.med.head
    yield head.bias, "text_decoder.cls.predictions.bias"
    yield from _module(head.dense, "text_decoder.cls.predictions.transform.dense")
    yield from _module(head.norm, "text_decoder.cls.predictions.transform.LayerNorm")


def _matcher(network: "BlipNetwork") -> Named:
    yield from _text(network.med, "text_encoder", decoder=False)
    yield from _module(network.image_projection, "vision_proj")
    yield from _module(network.text_projection, "text_proj")
    yield from _module(network.match_head, "itm_head")


def _text(med: MED, prefix: str, *, decoder: bool) -> Named:
    embeddings = med.embeddings.of(decoder=decoder)
    yield embeddings.word.weight, f"{prefix}.embeddings.word_embeddings.weight"
    yield embeddings.position.weight, f"{prefix}.embeddings.position_embeddings.weight"
    yield from _module(embeddings.norm, f"{prefix}.embeddings.LayerNorm")
    for index, layer in enumerate(med.layers):
        theirs = f"{prefix}.encoder.layer.{index}"
        yield from _attention(layer.self_attention.of(decoder=decoder), f"{theirs}.attention")
        yield from _attention(layer.cross_attention.of(decoder=decoder), f"{theirs}.crossattention")
        feed_forward = layer.feed_forward.of(decoder=decoder)
        yield from _module(feed_forward.inner, f"{theirs}.intermediate.dense")
        yield from _module(feed_forward.out, f"{theirs}.output.dense")
        yield from _module(feed_forward.norm, f"{theirs}.output.LayerNorm")


def _attention(attention: Attention, name: str) -> Named:
    yield from _module(attention.query, f"{name}.self.query")
    yield from _module(attention.key, f"{name}.self.key")
    yield from _module(attention.value, f"{name}.self.value")
    yield from _module(attention.out, f"{name}.output.dense")
    yield from _module(attention.norm, f"{name}.output.LayerNorm")


@torch.no_grad()
def copy_text_tower(tower: TextTower, med: MED) -> None:
    """Starts a MED from the first layers of the packaged BERT encoder, as BLIP's starts from BERT.

    Encoder and decoder both start from its self-attention. BLIP has no token-type embeddings, so the one that every
    token of a single text has is added to the positions. The tokens that BERT lacks, [DEC] and [ENC], start as [CLS]:
    like it they gather the text. Cross-attention and the LM head stay random.
    """
    for decoder in (False, True):
        _copy_embeddings(tower, med.embeddings.of(decoder=decoder))
        for ours, theirs in zip(med.layers, tower.encoder.layers, strict=False):
            assert isinstance(theirs, nn.TransformerEncoderLayer)
            _copy_attention(theirs.self_attn, theirs.norm1, ours.self_attention.of(decoder=decoder))
            _copy_feed_forward(theirs, ours.feed_forward.of(decoder=decoder))


def _copy_embeddings(tower: TextTower, ours: Embeddings) -> None:
    ours.word.weight.copy_(tower.words.weight[CLS])
    ours.word.weight[: tower.words.num_embeddings].copy_(tower.words.weight)
    num_positions = ours.position.num_embeddings
    ours.position.weight.copy_(tower.positions.weight[:num_positions] + tower.segments.weight[0])
    ours.norm.load_state_dict(tower.norm.state_dict())


def _copy_attention(theirs: nn.MultiheadAttention, norm: nn.LayerNorm, ours: Attention) -> None:
    for kind in ("weight", "bias"):
        stacked = getattr(theirs, f"in_proj_{kind}").chunk(3)
        for part, rows in zip((ours.query, ours.key, ours.value), stacked, strict=True):
            getattr(part, kind).copy_(rows)
    ours.out.load_state_dict(theirs.out_proj.state_dict())
    ours.norm.load_state_dict(norm.state_dict())


def _copy_feed_forward(theirs: nn.TransformerEncoderLayer, ours: FeedForward) -> None:
    ours.inner.load_state_dict(theirs.linear1.state_dict())
    ours.out.load_state_dict(theirs.linear2.state_dict())
    ours.norm.load_state_dict(theirs.norm2.state_dict())
