"""CoCa of open_clip, with weights from a given file.

Source: Yu et al. 2022, arXiv:2205.01917. Architectures are open_clip's, by name; weights are a local safetensors file
whose sha256 is part of the settings. Nothing is fetched.

Differs from open_clip's own `generate`: texts are decoded by `models.shared.decoding`, so that each one is drawn from
its own seed, whatever else is in the batch; `!`, whose id is also that of the padding, is never written. Every picture
is encoded once for all its texts. The network has no cache of keys and values: each token reads the whole text again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from models.shared.decoding import Decoding, decode
from pipelines.captioners import CaptionerInput, Written
from pipelines.shared.clip_models import ClipModel, check_weights, load_clip, require_file
from pipelines.shared.devices import require_device
from pipelines.shared.texts import clean_text

SPECIAL = ("<start_of_text>", "<end_of_text>")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Decoding):
    """Settings: those of the decoding, and what follows.

    Attributes:
        model: One of `open_clip.list_models()` that is a CoCa, such as `coca_ViT-B-32`.
        weights: Path of a safetensors file.
        sha256: Digest of that file, 64 hex digits.
        device: `auto`, `cpu` or `cuda`; a round's captioners run where the round does if they do not name it.
    """

    model: str
    weights: str
    sha256: str
    device: str = "cpu"

    def __post_init__(self) -> None:
        Decoding.__post_init__(self)
        check_weights(self.weights, self.sha256)
        require_device(self.device)


class Captioner:
    """Writes with a CoCa."""

    def __init__(self, config: Config) -> None:
        require_file("weights", config.weights)
        self.config = config
        self.model = config.sha256
        self.decoding = {field.name: getattr(config, field.name) for field in fields(Decoding)}

    def files(self) -> tuple[Path, ...]:
        """The weights."""
        return (Path(self.config.weights),)

    def caption(self, samples: Sequence[CaptionerInput]) -> list[Written]:
        """Texts of each sample."""
        coca = load_model(self.config)
        network, tokenizer = coca.model, coca.tokenizer
        frames, rows = _distinct_frames(samples)
        pictures = torch.stack([coca.preprocess(frame) for frame in frames]).to(coca.device)
        first, last = (tokenizer.encoder[name] for name in SPECIAL)
        generators = [torch.Generator().manual_seed(seed) for sample in samples for seed in sample.seeds]
        with torch.inference_mode():
            latents, states = network(pictures).values()
            stepper = _Decoder(network, latents[rows], states[rows])
            prompt = torch.full((len(rows), 1), first, device=coca.device)
            tokens = decode(stepper, prompt, self.config, generators, last, forbidden=(network.pad_id, first))
        texts = iter([clean_text(tokenizer.decode(row)) for row in tokens])
        return [Written(texts=tuple(next(texts) for _ in sample.seeds)) for sample in samples]


class _Decoder:
    """CoCa's text towers as `models.shared.decoding` drives them."""

    def __init__(self, network: Any, latents: Tensor, states: Tensor) -> None:
        self.network = network
        self.latents, self.states = latents, states
        self.history = torch.empty(len(states), 0, dtype=torch.int64, device=states.device)

    def __call__(self, tokens: Tensor) -> Tensor:
        self.history = torch.cat([self.history, tokens], dim=1)
        known = {"image_latent": self.latents, "image_embs": self.states}
        return self.network(None, self.history, **known, output_labels=False)["logits"][:, -1]

    def select(self, rows: Tensor) -> None:
        self.history, self.latents, self.states = (each[rows] for each in (self.history, self.latents, self.states))


def _distinct_frames(samples: Sequence[CaptionerInput]) -> tuple[list[Image.Image], list[int]]:
    """The frames that texts are asked of, each once, and for every text the number of its frame."""
    places: dict[int, int] = {}
    frames: list[Image.Image] = []
    rows = []
    for sample in samples:
        for number in range(len(sample.seeds)):
            frame = sample.frame(number)
            if id(frame) not in places:
                places[id(frame)] = len(frames)
                frames.append(frame)
            rows.append(places[id(frame)])
    return frames, rows


def load_model(config: Config) -> ClipModel:
    """The model; once per process.

    Raises:
        ValueError: As `load_clip`; or the architecture is no CoCa, or cannot write so long a text.
    """
    import open_clip

    coca = load_clip(config.model, config.weights, config.sha256, config.device)
    if not isinstance(coca.model, open_clip.CoCa):
        raise ValueError(f"model must be a CoCa, which {config.model} is not")
    if config.max_tokens >= coca.model.context_length:
        longest = coca.model.context_length - 1
        raise ValueError(f"max_tokens must be at most {longest} with {config.model}, got {config.max_tokens}")
    return coca
