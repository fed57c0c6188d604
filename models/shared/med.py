"""Multimodal mixture of encoder-decoder (MED): one BERT-style text network with three uses.

Source: Li et al. 2022 (BLIP), arXiv:2201.12086, section 3.1 and Table 3 (what encoder and decoder share).

| use | first token | self-attention | cross-attention to the image |
|---|---|---|---|
| text encoder | [CLS] | bidirectional | no |
| image-grounded text encoder | [ENC] | bidirectional | yes |
| image-grounded text decoder | [DEC] | causal | yes |

Layers are BERT's (post-LN), with the cross-attention between self-attention and feed-forward; there are no token-type
embeddings. As published, the decoder has its own self-attention (with its LN) and shares everything else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.shared.checks import require, require_one_of

ModuleT = TypeVar("ModuleT", bound=nn.Module)

NORM_EPS = 1e-12
INIT_STD = 0.02
NOT_SHARED: dict[str, frozenset[str]] = {
    "all": frozenset(),
    "all-but-self-attention": frozenset({"self_attention"}),
    "all-but-cross-attention": frozenset({"cross_attention"}),
    "none": frozenset({"self_attention", "cross_attention", "feed_forward", "embeddings"}),
}
"""What the decoder has of its own, for each value of `MedConfig.sharing` (the rows of Table 3)."""

Memory = list[tuple[Tensor, Tensor]]
"""Keys and values of the images' states, one pair per layer, each [B, heads, image tokens, head width]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MedConfig:
    """Sizes of a MED.

    Attributes:
        vocab_size: Rows of the word embeddings, [DEC] and [ENC] included.
        width: Width of the text states; `num_heads` must divide it.
        num_layers: Number of layers.
        num_heads: Attention heads.
        mlp_width: Width inside the feed-forward.
        image_width: Width of the image's states.
        max_positions: Longest text, in tokens.
        dropout: Of embeddings, attention weights and each block's output.
        sharing: What encoder and decoder share, a key of `NOT_SHARED`.
        unimodal: Only the text encoder: no cross-attention, no decoder, no LM head (BLIP's momentum encoder).
    """

    vocab_size: int
    width: int
    num_layers: int
    num_heads: int
    mlp_width: int
    image_width: int
    max_positions: int = 512
    dropout: float = 0.1
    sharing: str = "all-but-self-attention"
    unimodal: bool = False

    def __post_init__(self) -> None:
        require(self.width % self.num_heads == 0, "num_heads", self.num_heads, f"a divisor of width = {self.width}")
        require_one_of("sharing", self.sharing, NOT_SHARED)


class Attention(nn.Module):
    """`LN(x + out(attention(x, memory)))`, BERT's attention block."""

    def __init__(self, config: MedConfig, memory_width: int) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(memory_width, config.width)
        self.value = nn.Linear(memory_width, config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """[B, S, memory width] -> two of [B, heads, S, head width]."""
        return self._split(self.key(memory)), self._split(self.value(memory))

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """X [B, T, W]; keys and values as `keys_values` gives; mask bool, True where attended, [B, 1, 1, S]."""
        attended = functional.scaled_dot_product_attention(
            self._split(self.query(x)),
            keys,
            values,
            attn_mask=mask,
            dropout_p=self.dropout.p if self.training else 0.0,
            is_causal=causal,
        )
        return self.norm(x + self.dropout(self.out(attended.transpose(1, 2).flatten(2))))


class FeedForward(nn.Module):
    """`LN(x + mlp(x))` with exact GELU."""

    def __init__(self, config: MedConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.width, config.mlp_width)
        self.out = nn.Linear(config.mlp_width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, W] -> [B, T, W]."""
        return self.norm(x + self.dropout(self.out(functional.gelu(self.inner(x)))))


class Embeddings(nn.Module):
    """Word and position embeddings, LN, dropout."""

    def __init__(self, config: MedConfig) -> None:
        super().__init__()
        self.word = nn.Embedding(config.vocab_size, config.width)
        self.position = nn.Embedding(config.max_positions, config.width)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, start: int = 0) -> Tensor:
        """int64 [B, T], the first at position `start` -> [B, T, W]."""
        position = self.position.weight[start : start + tokens.shape[1]]
        return self.dropout(self.norm(self.word(tokens) + position))


class ByRole(nn.Module, Generic[ModuleT]):
    """The encoders' module, and the decoder's own where the two do not share one."""

    encoder: ModuleT
    decoder: ModuleT | None

    def __init__(self, build: Callable[[], ModuleT], *, own_decoder: bool) -> None:
        super().__init__()
        self.encoder = build()
        self.decoder = build() if own_decoder else None

    def of(self, *, decoder: bool) -> ModuleT:
        """The module that the decoder, or that the encoders use."""
        return self.decoder if decoder and self.decoder is not None else self.encoder


class Layer(nn.Module):
    """Self-attention, cross-attention (not in a unimodal MED), feed-forward; each by role."""

    self_attention: ByRole[Attention]
    cross_attention: ByRole[Attention]
    feed_forward: ByRole[FeedForward]

    def __init__(self, config: MedConfig) -> None:
        super().__init__()
        own: frozenset[str] = frozenset() if config.unimodal else NOT_SHARED[config.sharing]
        self.self_attention = ByRole(lambda: Attention(config, config.width), own_decoder="self_attention" in own)
        if not config.unimodal:
            own_cross = "cross_attention" in own
            self.cross_attention = ByRole(lambda: Attention(config, config.image_width), own_decoder=own_cross)
        self.feed_forward = ByRole(lambda: FeedForward(config), own_decoder="feed_forward" in own)


class LanguageModelHead(nn.Module):
    """BERT's prediction head; its last matrix is the word embedding, so it is an argument."""

    def __init__(self, config: MedConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, x: Tensor, word_embedding: Tensor) -> Tensor:
        """[..., W], [V, W] -> logits [..., V]."""
        return functional.linear(self.norm(functional.gelu(self.dense(x))), word_embedding, self.bias)


class MED(nn.Module):
    """The network. Tokens are int64 [B, T], padded on the right; states are [B, T, width]."""

    embeddings: ByRole[Embeddings]
    layers: Sequence[Layer]

    def __init__(self, config: MedConfig) -> None:
        super().__init__()
        self.config = config
        own: frozenset[str] = frozenset() if config.unimodal else NOT_SHARED[config.sharing]
        self.embeddings = ByRole(lambda: Embeddings(config), own_decoder="embeddings" in own)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))  # type: ignore[assignment]
        if not config.unimodal:
            self.head = LanguageModelHead(config)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INIT_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def encode_text(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Text alone; mask bool [B, T], True where a token is -> states."""
        return self._encode(tokens, mask, None)

    def encode_pair(self, tokens: Tensor, mask: Tensor, memory: Memory) -> Tensor:
        """Text i grounded in image i of the memory -> states."""
        return self._encode(tokens, mask, memory)

    def _encode(self, tokens: Tensor, mask: Tensor, memory: Memory | None) -> Tensor:
        x = self.embeddings.encoder(tokens)
        attended = mask[:, None, None, :]
        for index, layer in enumerate(self.layers):
            attention = layer.self_attention.encoder
            x = attention(x, *attention.keys_values(x), mask=attended)
            if memory is not None:
                x = layer.cross_attention.encoder(x, *memory[index])
            x = layer.feed_forward.encoder(x)
        return x

    def memories(self, image_states: Tensor) -> tuple[Memory, Memory]:
        """What `encode_pair` and what `decode` attend to, from states [B, S, image_width].

        Where encoder and decoder share the cross-attention both are one object, so the work is done once.
        """
        encoder = self._memory(image_states, decoder=False)
        shared = "cross_attention" not in NOT_SHARED[self.config.sharing]
        return encoder, encoder if shared else self._memory(image_states, decoder=True)

    def _memory(self, image_states: Tensor, *, decoder: bool) -> Memory:
        return [layer.cross_attention.of(decoder=decoder).keys_values(image_states) for layer in self.layers]

    def decode(self, tokens: Tensor, memory: Memory, cache: Memory | None = None) -> Tensor:
        """Texts after [DEC], grounded in images -> states; state t sees tokens 0..t only.

        Args:
            tokens: The tokens; with a cache those that come next. Texts `k * i` to `k * i + k - 1` are image i's.
            memory: Second result of `memories`, of B / k images. Its keys and values are not copied for k texts: to an
                image's keys their tokens are queries of one text.
            cache: Keys and values of the tokens before, one pair per layer; changed in place. An empty list at first.
        """
        start = cache[0][0].shape[2] if cache else 0
        assert not start or tokens.shape[1] == 1, "with a filled cache tokens are read one at a time"
        x = self.embeddings.of(decoder=True)(tokens, start)
        for index, layer in enumerate(self.layers):
            attention = layer.self_attention.of(decoder=True)
            keys, values = attention.keys_values(x)
            if cache is not None:
                keys, values = _extend(cache, index, keys, values)
            x = attention(x, keys, values, causal=start == 0)
            by_image = x.reshape(len(memory[index][0]), -1, x.shape[2])
            x = layer.cross_attention.of(decoder=True)(by_image, *memory[index]).view_as(x)
            x = layer.feed_forward.of(decoder=True)(x)
        return x

    def freeze_own(self, *, decoder: bool) -> None:
        """Freezes what the decoder alone, or what the encoders alone use."""
        for module in self.modules():
            if isinstance(module, ByRole) and module.decoder is not None:
                module.of(decoder=decoder).requires_grad_(False)
        if decoder:
            self.head.requires_grad_(False)

    def logits(self, states: Tensor) -> Tensor:
        """Decoder states [..., width] -> logits of the next token, [..., vocab_size]."""
        return self.head(states, self.embeddings.of(decoder=True).word.weight)


def _extend(cache: Memory, index: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Appends to layer `index` of the cache; returns all its keys and values."""
    if index == len(cache):
        cache.append((keys, values))
    else:
        old_keys, old_values = cache[index]
        cache[index] = (torch.cat([old_keys, keys], dim=2), torch.cat([old_values, values], dim=2))
    return cache[index]


def select_rows(memory: Memory, rows: Tensor) -> Memory:
    """The memory (or cache) of other rows: int64 [R], each below B -> R rows."""
    return [(keys[rows], values[rows]) for keys, values in memory]
