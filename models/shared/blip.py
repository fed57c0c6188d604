"""BLIP's network and what it can do; pre-training and the two fine-tunes train it.

Source: Li et al. 2022, arXiv:2201.12086, section 3. An image encoder, a MED (`models.shared.med`), two projections into
the space in which images and texts are compared, and the image-text matching head.

Differs from the paper: instead of the ViT the image encoder can be a frozen packaged EfficientNet-Lite0 with
transformer layers over its feature map; instead of BERT the text network can start from the packaged MiniLM sentence
encoder. That brings no prediction head, which starts from random, and was trained for the mean of its states: the first
state of its first layers says next to nothing of the text, so there `pooling: mean` is an option for contrast and
matching. Captions are lower-cased by the tokenizer and else taken as they are; BLIP's code also strips punctuation.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import Batch
from models.shared.blip_checkpoint import copy_text_tower
from models.shared.blip_config import NetworkConfig
from models.shared.checks import require
from models.shared.decoding import Decoding, decode
from models.shared.frozen import Frozen
from models.shared.med import MED, MedConfig, Memory, select_rows
from models.shared.packaged import ImageTower, image_tower, text_tower
from models.shared.plain_text import plain_text
from models.shared.vit import FeatureTransformer, VisionTransformer

PAD, UNK, CLS, SEP, MASK, DEC, ENC = 0, 100, 101, 102, 103, 30522, 30523
VOCAB_SIZE = 30524
PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)


class Encoders(nn.Module):
    """The image encoder and the text encoder with their projections: what BLIP also keeps a momentum copy of."""

    def __init__(self, config: NetworkConfig, *, unimodal: bool) -> None:
        super().__init__()
        self.config = config
        trunk = {
            "width": config.image_width,
            "num_layers": config.num_image_layers,
            "num_heads": config.num_image_heads,
        }
        self.image_encoder: nn.Module
        if config.image_encoder == "vit":
            self.image_encoder = VisionTransformer(image_px=config.image_px, patch_px=config.patch_px, **trunk)
        else:
            num_tokens = config.feature_grid**2
            self.image_encoder = FeatureTransformer(num_tokens=num_tokens, feature_width=ImageTower.width, **trunk)
        self.med = MED(
            MedConfig(
                vocab_size=VOCAB_SIZE,
                width=config.text_width,
                num_layers=config.num_layers,
                num_heads=config.num_heads,
                mlp_width=4 * config.text_width,
                image_width=config.image_width,
                dropout=config.dropout,
                sharing=config.sharing,
                unimodal=unimodal,
            )
        )
        self.image_projection = nn.Linear(config.image_width, config.embed_width)
        self.text_projection = nn.Linear(config.text_width, config.embed_width)

    def embed_image(self, states: Tensor) -> Tensor:
        """The image encoder's states [B, S, image_width] -> rows of length 1, float32 [B, embed_width]."""
        return functional.normalize(self.image_projection(states[:, 0]).float(), dim=-1)

    def embed_text(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """int64 tokens and bool mask [B, T] -> rows of length 1, float32 [B, embed_width]."""
        pooled = self.pool(self.med.encode_text(tokens, mask), mask)
        return functional.normalize(self.text_projection(pooled).float(), dim=-1)

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """States of texts [B, T, text_width] and their mask -> one for each text, [B, text_width]."""
        if self.config.pooling == "first":
            return states[:, 0]
        return states.masked_fill(~mask[:, :, None], 0).sum(dim=1) / mask.sum(dim=1, keepdim=True)


class BlipNetwork(Encoders):
    """The whole network.

    Attributes:
        tower: The frozen image network, None with a ViT.
        tokenizer: Lower-cased WordPiece of BERT's vocabulary. [DEC] and [ENC] follow it, as ids alone.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config, unimodal=False)
        self.match_head = nn.Linear(config.text_width, 2)
        self.tower = None if config.image_encoder == "vit" else Frozen(image_tower())
        text = text_tower()
        self.packaged_digests = dict(text.packaged_digests)
        if self.tower is not None:
            self.packaged_digests |= cast(ImageTower, self.tower.module).packaged_digests
        self.tokenizer = text.tokenizer
        self.tokenizer.enable_truncation(config.max_tokens)
        if config.text_init == "minilm":
            copy_text_tower(text, self.med)
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN)[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD)[:, None, None], persistent=False)
        self.train_all()

    def frozen_features(self, batch: Batch) -> dict[str, Tensor]:
        """`image_feature` float32 [B, feature_grid ** 2, 1280] from `image`; nothing with a ViT."""
        if self.tower is None:
            return {}
        with torch.no_grad():
            features = cast(ImageTower, self.tower.module).feature_map(batch["image"])
            return {"image_feature": functional.adaptive_avg_pool2d(features, self.config.feature_grid).flatten(2).mT}

    def train_all(self) -> None:
        """Makes all of the network trainable but the frozen image network and, if so set, the word embeddings."""
        self.requires_grad_(True)
        if not self.config.train_word_embeddings:
            for embeddings in (self.med.embeddings.of(decoder=False), self.med.embeddings.of(decoder=True)):
                embeddings.word.requires_grad_(False)

    def freeze_unused(self, *, by_decoder: bool) -> None:
        """Freezes what a fine-tune of the decoder, or of the encoders, leaves unused."""
        self.med.freeze_own(decoder=not by_decoder)
        if by_decoder:
            for module in (self.image_projection, self.text_projection, self.match_head):
                module.requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.match_head.weight.device

    @property
    def feature_key(self) -> str:
        """What the frozen features are, equal for networks that have the same ones."""
        return f"feature map averaged to a grid of {self.config.feature_grid}"

    @property
    def image_key(self) -> str:
        """The key of `Batch` that images are read from in training."""
        return "image" if self.tower is None else "image_feature"

    def visual_input(self, batch: Batch) -> Tensor:
        """What the image encoder reads: `image_feature`, given or computed, or with a ViT the normalised `image`."""
        if self.tower is None:
            return ((batch["image"] + 1) / 2 - self.pixel_mean) / self.pixel_std
        return (batch if "image_feature" in batch else self.frozen_features(batch))["image_feature"]

    def image_states(self, batch: Batch) -> Tensor:
        """States of the images, [B, S, image_width]; the first is the whole image's."""
        return self.image_encoder(self.visual_input(batch))

    def tokenize(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """int64 tokens [B, T] ([CLS] ... [SEP], padded to the longest) and bool mask, True where a token is."""
        rows = [torch.tensor(encoding.ids) for encoding in plain_text(self.tokenizer).encode_batch(list(captions))]
        tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD).to(self.device)
        lengths = torch.tensor([len(row) for row in rows], device=tokens.device)
        return tokens, torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]

    def match_logits(self, tokens: Tensor, mask: Tensor, memory: Memory, first_token: int = ENC) -> Tensor:
        """Does text i describe image i of the memory: logits of (no, yes), float32 [B, 2].

        The released BLIP code leaves [CLS] in place of [ENC] when it matches, but not when it trains; `first_token`
        is for comparison with it.
        """
        states = self.med.encode_pair(_with_first(tokens, first_token), mask, memory)
        return self.match_head(self.pool(states, mask)).float()

    def language_loss(
        self, tokens: Tensor, mask: Tensor, memory: Memory, num_prompt_tokens: int = 0, label_smoothing: float = 0.0
    ) -> Tensor:
        """Mean cross-entropy of the next token over the texts [B, T], the first `num_prompt_tokens` words unscored."""
        target = tokens[:, 1:]
        scored = mask[:, 1:].clone()
        scored[:, :num_prompt_tokens] = False
        states = self.med.decode(_with_first(tokens, DEC)[:, :-1], memory)
        logits = self.med.logits(states[scored]).float()
        return functional.cross_entropy(logits, target[scored], label_smoothing=label_smoothing)

    def prompt_tokens(self, prompt: str) -> list[int]:
        """[DEC] and the word pieces of a prompt."""
        return [DEC, *plain_text(self.tokenizer).encode(prompt, add_special_tokens=False).ids]

    @torch.no_grad()
    def encode_image(self, image: Tensor) -> Tensor:
        """float32 [B, 3, H, W] -> float32 [B, embed_width], rows of length 1."""
        return self.embed_image(self.image_states({"image": image}))

    @torch.no_grad()
    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """B captions -> float32 [B, embed_width], rows of length 1."""
        return self.embed_text(*self.tokenize(captions))

    @torch.no_grad()
    def match(self, image: Tensor, captions: Sequence[str], owners: Tensor | None = None) -> Tensor:
        """Probability that caption i describes image `owners[i]` (image i without owners), float32 [B].

        Args:
            image: float32 [N, 3, H, W]; each is encoded once.
            captions: B texts.
            owners: int64 [B], rows of `image`; None where B = N and row i belongs to text i.
        """
        memory, _ = self.med.memories(self.image_states({"image": image}))
        if owners is not None:
            memory = select_rows(memory, owners.to(image.device))
        return self.match_logits(*self.tokenize(captions), memory).softmax(dim=1)[:, 1]

    @torch.no_grad()
    def caption(
        self, image: Tensor, generators: Sequence[torch.Generator], prompt: str, settings: Decoding
    ) -> list[str]:
        """Captions without the prompt, one per generator: k per image where there are k times as many generators.

        Captions `k * i` to `k * i + k - 1` are image i's. Every image is encoded once.

        Raises:
            ValueError: The generators are not a multiple of the images, or k > 1 with a method that draws nothing.
        """
        per_image, rest = divmod(len(generators), len(image))
        require(rest == 0 and per_image >= 1, "generators", len(generators), f"a multiple of {len(image)} images")
        require(per_image == 1 or settings.decoding == "nucleus", "decoding", settings.decoding, "nucleus for many")
        _, memory = self.med.memories(self.image_states({"image": image}))
        first = torch.tensor(self.prompt_tokens(prompt), device=image.device).expand(len(generators), -1)
        stepper = CachedDecoder(self.med, memory)
        texts = decode(stepper, first, settings, generators, SEP, forbidden=(PAD, UNK, CLS, MASK, DEC, ENC))
        return self.tokenizer.decode_batch(texts)


class CachedDecoder:
    """The MED's decoder as `models.shared.decoding` drives it; keys and values of what was read are kept.

    Rows are grouped by image, equally many for each, and stay so: a selected row takes the place of one of its image.
    """

    def __init__(self, med: MED, memory: Memory) -> None:
        self.med = med
        self.memory = memory
        self.cache: Memory = []

    def __call__(self, tokens: Tensor) -> Tensor:
        """Reads int64 [R, T] (T = 1 but for the first call) -> logits of the next token, [R, vocab_size]."""
        return self.med.logits(self.med.decode(tokens, self.memory, self.cache)[:, -1])

    def select(self, rows: Tensor) -> None:
        """Goes on with these rows, int64 [R']."""
        self.cache = select_rows(self.cache, rows)


def _with_first(tokens: Tensor, token: int) -> Tensor:
    return torch.cat([torch.full_like(tokens[:, :1], token), tokens[:, 1:]], dim=1)


def copy_of_pretrained(bases: Mapping[str, nn.Module], image_px: int) -> BlipNetwork:
    """The network that a fine-tune starts from and owns: a copy of `bases["blip"]`'s.

    Args:
        bases: The loaded base models.
        image_px: Side of the fine-tune's images, 0 for the pre-training's. A ViT's positions are interpolated.

    Raises:
        ValueError: There is no base `blip`, or none with this network.
    """
    network = getattr(bases.get("blip"), "network", None)
    if not isinstance(network, BlipNetwork):
        raise ValueError(f"bases must hold a pre-trained BLIP model under the name blip, got {sorted(bases)}")
    network = copy.deepcopy(network)
    network.train_all()  # the base may be frozen, in part or as a whole
    if image_px and isinstance(network.image_encoder, VisionTransformer):
        network.image_encoder.resize(image_px)
    if image_px:
        network.config = replace(network.config, image_px=image_px)
    return network
