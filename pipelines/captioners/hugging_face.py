"""An image-to-text model of `transformers`, from a local folder (extra `hf`).

The folder is what `save_pretrained` writes, with safetensors weights and the processor (or the tokenizer and the image
processor); a digest of all its files is part of the settings. Nothing is fetched, and code in the folder is not run.

Sampling draws from PyTorch's global generator in `transformers`, so texts are sampled one at a time, each from its own
seed; greedy and beam search take a whole batch. A clip's texts describe its frames one at a time.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from models.shared.decoding import Decoding
from pipelines.captioners import CaptionerInput, Written
from pipelines.shared.devices import choose_device, require_device
from pipelines.shared.files import digest_tree
from pipelines.shared.texts import clean_text

SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Decoding):
    """Settings: those of the decoding, and what follows.

    Attributes:
        folder: A folder with a model that `AutoModelForImageTextToText` or `VisionEncoderDecoderModel` reads.
        sha256: Digest over the names and bytes of its files, 64 hex digits; the message about a wrong one names it.
        prompt: What every text continues, or the instruction; not part of what is returned; may be empty.
        device: `auto`, `cpu` or `cuda`; a round's captioners run where the round does if they do not name it.
    """

    folder: str
    sha256: str
    prompt: str = ""
    device: str = "cpu"

    def __post_init__(self) -> None:
        Decoding.__post_init__(self)
        if not SHA256.fullmatch(self.sha256):
            raise ValueError(f"sha256 must be 64 lower-case hex digits, got {self.sha256!r}")
        require_device(self.device)


class Captioner:
    """Writes with a model of `transformers`."""

    def __init__(self, config: Config) -> None:
        if not Path(config.folder).is_dir():
            raise ValueError(f"folder: {config.folder} does not exist")
        self.config = config
        self.model = config.sha256
        self.decoding = {field.name: getattr(config, field.name) for field in fields(Decoding)}
        self.decoding["prompt"] = config.prompt

    def files(self) -> tuple[Path, ...]:
        """The folder's."""
        return tuple(path for path in sorted(Path(self.config.folder).rglob("*")) if path.is_file())

    def caption(self, samples: Sequence[CaptionerInput]) -> list[Written]:
        """Texts of each sample."""
        frames = [sample.frame(number) for sample in samples for number in range(len(sample.seeds))]
        seeds = [seed for sample in samples for seed in sample.seeds]
        if self.config.decoding == "nucleus":
            written = [self._sampled(frame, seed) for frame, seed in zip(frames, seeds, strict=True)]
        else:
            written = self._texts(frames)
        texts = iter(written)
        return [Written(texts=tuple(next(texts) for _ in sample.seeds)) for sample in samples]

    def _sampled(self, frame: Image.Image, seed: int) -> str:
        """One text; PyTorch's global generators are as before afterwards."""
        device = load_model(self.config)[0].device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            return self._texts([frame])[0]

    def _texts(self, frames: Sequence[Image.Image]) -> list[str]:
        model, processor = load_model(self.config)
        prompt = self.config.prompt
        inputs = dict(processor(images=list(frames), return_tensors="pt", **_texts_for(prompt, len(frames))))
        inputs = {name: value.to(model.device) for name, value in inputs.items()}
        with torch.inference_mode():
            tokens = model.generate(**inputs, **self._generation())
        texts = processor.batch_decode(tokens, skip_special_tokens=True)
        return [clean_text(_after(prompt, text)) for text in texts]

    def _generation(self) -> dict[str, Any]:
        config = self.config
        settings: dict[str, Any] = {
            "min_new_tokens": config.min_tokens,
            "max_new_tokens": config.max_tokens,
            "repetition_penalty": config.repetition_penalty,
            "do_sample": config.decoding == "nucleus",
            "num_beams": 1,
        }
        if config.decoding == "nucleus":
            return {**settings, "top_p": config.top_p, "top_k": 0, "temperature": 1.0}
        if config.decoding == "beam":
            beams = {"num_beams": config.num_beams, "length_penalty": config.length_penalty}
            return {**settings, **beams, "early_stopping": "never"}
        return settings


class _Parts:
    """A processor made of an image processor and a tokenizer, for models that have none."""

    def __init__(self, images: Any, tokenizer: Any) -> None:
        self.images, self.tokenizer = images, tokenizer
        self.batch_decode = tokenizer.batch_decode

    def __call__(self, images: Sequence[Image.Image], return_tensors: str, text: Sequence[str] = ()) -> Any:
        inputs = dict(self.images(images, return_tensors=return_tensors))
        if text:
            words = self.tokenizer(list(text), return_tensors=return_tensors, add_special_tokens=False)
            inputs["decoder_input_ids"] = words["input_ids"]
        return inputs


def _texts_for(prompt: str, count: int) -> dict[str, Any]:
    return {"text": [prompt] * count} if prompt else {}


def _after(prompt: str, text: str) -> str:
    """What follows the prompt, which some models repeat."""
    start = clean_text(prompt)
    flat = clean_text(text)
    return flat[len(start) :] if start and flat.casefold().startswith(start.casefold()) else flat


@functools.cache
def load_model(config: Config) -> tuple[Any, Any]:
    """The model in evaluation mode and its processor; once per process.

    Raises:
        ValueError: `transformers` is not installed, the folder is not the one of the settings, or has no such model,
            or the device is not there.
    """
    try:
        import transformers
    except ImportError as error:
        raise ValueError("module hugging_face needs transformers: pip install 'vignette[hf]'") from error
    from models.shared.weights import require_finite

    chosen = choose_device(config.device, f"captioner {config.folder}")
    folder = Path(config.folder)
    if (found := digest_tree(folder)) != config.sha256:
        raise ValueError(f"folder: {config.folder}: sha256 is {found}, the settings say {config.sha256}")
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        is_pair = transformers.AutoConfig.from_pretrained(folder, **local).model_type == "vision-encoder-decoder"
        kind: Any = transformers.VisionEncoderDecoderModel if is_pair else transformers.AutoModelForImageTextToText
        model = kind.from_pretrained(folder, use_safetensors=True, **local)
        if is_pair:
            images = transformers.AutoImageProcessor.from_pretrained(folder, **local)
            processor = _Parts(images, transformers.AutoTokenizer.from_pretrained(folder, **local))
        else:
            processor = transformers.AutoProcessor.from_pretrained(folder, **local)
    except (OSError, ValueError) as error:
        raise ValueError(f"folder: {config.folder} has no image-to-text model that can be read: {error}") from error
    require_finite(model.state_dict(), f"folder: {config.folder}")
    return model.to(chosen).eval(), processor
