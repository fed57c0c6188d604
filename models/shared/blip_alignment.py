"""BLIP's image-text contrastive (ITC) and image-text matching (ITM) losses, with momentum encoders and queues.

Source: Li et al. 2022 (BLIP), arXiv:2201.12086, section 3.2, which takes both from Li et al. 2021 (ALBEF),
arXiv:2107.07651, sections 3.2 (ITC, ITM with hard negatives) and 3.3 (soft targets of a momentum model).

Differs from the papers:

- Targets of ITC are spread over all texts of the same image *and all equal texts*, in pre-training too (as the released
  retrieval fine-tune does for images): captions of the web repeat, and a repeated caption is no negative.
- Hard negatives are drawn by the similarity of online to momentum features plus 1e-4 in the fine-tune too. Those that
  describe the same image or have the same text are never drawn; where nothing else is in the batch, none is.
- Any batch up to the queues' size will do, not only divisors of it. A batch enters them after the optimizer step, so
  that the loss is a function of the batch alone.
- The momentum copy of a fine-tune starts from the pre-trained network itself, not from its momentum copy.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import Batch
from models.shared.blip import BlipNetwork, Encoders
from models.shared.checks import require
from models.shared.decoding import sample_categorical
from models.shared.med import Memory, select_rows

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.001, 0.5
WEIGHT_FLOOR = 1e-4
EMPTY = -1


@dataclass(frozen=True, kw_only=True)
class AlignmentConfig:
    """Settings of ITC and ITM.

    Attributes:
        momentum: Of the momentum encoders, per optimizer step.
        queue_size: Momentum features that are kept as further negatives; at least the batch over all processes.
        alpha: Weight of the momentum model's soft targets.
        alpha_warmup_steps: Optimizer steps over which alpha rises linearly from 0.
        temperature: At the start; it is learned, within [0.001, 0.5].
    """

    momentum: float = 0.995
    queue_size: int = 57600
    alpha: float = 0.4
    alpha_warmup_steps: int = 10000
    temperature: float = 0.07

    def __post_init__(self) -> None:
        require(0 <= self.momentum <= 1, "momentum", self.momentum, "in [0, 1]")
        require(self.queue_size >= 1, "queue_size", self.queue_size, "at least 1")
        require(0 <= self.alpha <= 1, "alpha", self.alpha, "in [0, 1]")
        require(self.alpha_warmup_steps >= 0, "alpha_warmup_steps", self.alpha_warmup_steps, "at least 0")
        within = MIN_TEMPERATURE <= self.temperature <= MAX_TEMPERATURE
        require(within, "temperature", self.temperature, f"in [{MIN_TEMPERATURE}, {MAX_TEMPERATURE}]")


@dataclass(frozen=True, slots=True)
class Pairs:
    """A batch of B pairs, encoded once for all losses.

    Attributes:
        visual: What the image encoder read.
        states: The images' states, [B, S, image_width].
        memory: What the image-grounded encoder attends to.
        decoder_memory: What the decoder attends to.
        tokens: int64 [B, T], from [CLS].
        mask: bool [B, T], True where a token is.
        identity: int64 [B, 2]: the sample's group, a hash of the caption.
    """

    visual: Tensor
    states: Tensor
    memory: Memory
    decoder_memory: Memory
    tokens: Tensor
    mask: Tensor
    identity: Tensor


def encode_pairs(network: BlipNetwork, batch: Batch) -> Pairs:
    """Runs the image encoder, projects keys and values, tokenizes."""
    visual = network.visual_input(batch)
    states = network.image_encoder(visual)
    memory, decoder_memory = network.med.memories(states)
    tokens, mask = network.tokenize(batch["caption"])
    identity = torch.stack([batch["group"].to(tokens.device), caption_ids(batch["caption"]).to(tokens.device)], dim=1)
    return Pairs(visual, states, memory, decoder_memory, tokens, mask, identity)


def caption_ids(captions: Sequence[str]) -> Tensor:
    """int64 [B], equal for captions that differ at most in case and white space."""
    texts = [" ".join(caption.lower().split()) for caption in captions]
    return torch.tensor([int.from_bytes(hashlib.sha256(t.encode()).digest()[:8], signed=True) for t in texts])


def same_pair(a: Tensor, b: Tensor) -> Tensor:
    """Identities int64 [A, 2] and [B, 2] -> bool [A, B]: same group or same caption."""
    return (a[:, None] == b[None]).any(dim=2)


class Alignment(nn.Module):
    """ITC and ITM over a network, and what they remember: momentum encoders, queues, temperature, step count."""

    num_steps: Tensor

    def __init__(self, config: AlignmentConfig, network: BlipNetwork) -> None:
        super().__init__()
        self.config = config
        self.momentum = momentum_copy(network)
        self.temperature = nn.Parameter(torch.tensor(config.temperature))
        self.queue = Queue(config.queue_size, network.config.embed_width)
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.int64))
        self._pending: list[tuple[Tensor, Tensor, Tensor]] = []

    def alpha(self) -> Tensor:
        """Weight of the soft targets now, float32 scalar."""
        if not self.config.alpha_warmup_steps:
            return torch.full_like(self.temperature, self.config.alpha)
        return self.config.alpha * (self.num_steps / self.config.alpha_warmup_steps).clamp(max=1)

    def losses(self, network: BlipNetwork, pairs: Pairs, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """ITC and ITM of a batch; its momentum features wait for `after_step`, unless gradients are off."""
        image = network.embed_image(pairs.states)
        text = network.embed_text(pairs.tokens, pairs.mask)
        with torch.no_grad():
            image_m = self.momentum.embed_image(self.momentum.image_encoder(pairs.visual))
            text_m = self.momentum.embed_text(pairs.tokens, pairs.mask)
        itc, image_weights, text_weights = self._contrast((image, text), (image_m, text_m), pairs.identity)
        if torch.is_grad_enabled():
            self._pending.append((image_m, text_m, pairs.identity))
        negatives = mine_negatives(image_weights, text_weights, same_pair(pairs.identity, pairs.identity), generator)
        return itc, matching_loss(network, pairs, *negatives)

    @torch.autocast("cuda", enabled=False)
    def _contrast(
        self, online: tuple[Tensor, Tensor], momentum: tuple[Tensor, Tensor], identity: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """ITC, and the mining weights [B, B] of texts for each image and of images for each text."""
        images, texts = torch.cat([momentum[0], self.queue.image]), torch.cat([momentum[1], self.queue.text])
        positive = same_pair(identity, torch.cat([identity, self.queue.identity])).float()
        hard = positive / positive.sum(dim=1, keepdim=True)
        losses, weights = [], []
        for query, query_m, gallery in ((online[0], momentum[0], texts), (online[1], momentum[1], images)):
            similarity = query @ gallery.T / self.temperature
            with torch.no_grad():
                soft = (query_m @ gallery.T / self.temperature).softmax(dim=1)
                target = hard.lerp(soft, self.alpha())
                weights.append(similarity[:, : len(query)].softmax(dim=1))
            losses.append(functional.cross_entropy(similarity, target))
        return (losses[0] + losses[1]) / 2, weights[0], weights[1]

    @torch.no_grad()
    def after_step(self, network: BlipNetwork) -> None:
        """Moves the momentum encoders, clamps the temperature, fills the queues, counts the step.

        The published code does the first two at the start of the next forward pass, which comes to the same.
        """
        online = {name: value for name, value in network.named_parameters() if value.requires_grad}
        ours = {name: value for name, value in self.momentum.named_parameters() if name in online}
        torch._foreach_lerp_(list(ours.values()), [online[name] for name in ours], 1 - self.config.momentum)
        self.temperature.clamp_(MIN_TEMPERATURE, MAX_TEMPERATURE)
        for image, text, identity in self._pending:
            self.queue.push(image, text, identity)
        self._pending.clear()
        self.num_steps += 1


def momentum_copy(network: BlipNetwork) -> Encoders:
    """The image and the text encoder with their projections, never trained; parameters are named as the network's."""
    copy = Encoders(network.config, unimodal=True).requires_grad_(False)
    online = network.state_dict()
    copy.load_state_dict({name: online[name] for name in copy.state_dict()})
    return copy


class Queue(nn.Module):
    """The momentum features of the last pairs, first in, first out; at the start random rows of length 1.

    Attributes:
        image: float32 [size, D], rows of length 1.
        text: float32 [size, D], rows of length 1.
        identity: int64 [size, 2], as in `Pairs`; -1 in the random rows.
        num_pushed: int64 scalar, pairs so far.
    """

    image: Tensor
    text: Tensor
    identity: Tensor
    num_pushed: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("image", functional.normalize(torch.randn(size, width), dim=1))
        self.register_buffer("text", functional.normalize(torch.randn(size, width), dim=1))
        self.register_buffer("identity", torch.full((size, 2), -1))
        self.register_buffer("num_pushed", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, image: Tensor, text: Tensor, identity: Tensor) -> None:
        """Adds the pairs of all processes, in place of the oldest."""
        image, text, identity = (_of_all_processes(x) for x in (image, text, identity))
        size = len(self.image)
        require(len(image) <= size, "queue_size", size, f"at least the batch over all processes, {len(image)}")
        rows = (self.num_pushed + torch.arange(len(image), device=image.device)) % size
        self.image[rows], self.text[rows], self.identity[rows] = image, text, identity
        self.num_pushed += len(image)


def _of_all_processes(x: Tensor) -> Tensor:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x
    parts = [torch.empty_like(x) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def mine_negatives(
    text_weights: Tensor, image_weights: Tensor, same: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draws a hard negative text for each image, and a hard negative image for each text.

    Args:
        text_weights: [B, B], row: image, column: text; drawn in proportion to this plus 1e-4.
        image_weights: [B, B], row: text, column: image.
        same: bool [B, B], True where image and text belong together; never drawn.
        generator: Its device may be another one.

    Returns:
        Two int64 [B]; -1 where the batch has no negative.
    """
    uniform = torch.rand(2, len(same), generator=generator, device=generator.device, dtype=torch.float64)
    chosen = []
    for weights, numbers in zip((text_weights, image_weights), uniform.to(same.device), strict=True):
        allowed = (weights.double() + WEIGHT_FLOOR).masked_fill(same, 0)
        has_negative = ~same.all(dim=1)
        allowed[~has_negative] = 1
        chosen.append(torch.where(has_negative, sample_categorical(allowed, numbers), EMPTY))
    return chosen[0], chosen[1]


def matching_loss(network: BlipNetwork, pairs: Pairs, negative_text: Tensor, negative_image: Tensor) -> Tensor:
    """Cross-entropy of the matching head over the B pairs and their negatives (-1: none), in one pass."""
    own = torch.arange(len(pairs.tokens), device=pairs.tokens.device)
    images = torch.cat([own, own, negative_image])
    texts = torch.cat([own, negative_text, own])
    present = (images != EMPTY) & (texts != EMPTY)
    images, texts = images[present], texts[present]
    logits = network.match_logits(pairs.tokens[texts], pairs.mask[texts], select_rows(pairs.memory, images))
    return functional.cross_entropy(logits, (images == texts).long())
