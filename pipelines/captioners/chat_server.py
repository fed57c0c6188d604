"""A model behind an OpenAI-compatible server, hosted or one's own (vLLM, llama.cpp, ...): a chat with pictures.

Pictures go as data URLs of JPEGs, all frames of a clip in one request. Requests, retries and the cache of answers:
`pipelines.shared.model_server`. The base URL and the key are read from environment variables, in every worker.

What a server answers is not ours to repeat: its weights have no digest, and few heed `seed`. The texts of a round are
as reproducible as the cache of answers, `.vignette/cache/answers`, is kept (`task_cache` says how long);
`VIGNETTE_NO_CACHE=1` turns it off.
"""

import base64
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from pipelines.captioners import CaptionerInput, Written
from pipelines.shared.decode import encode_image
from pipelines.shared.model_server import Server, ask
from pipelines.shared.task_cache import TaskCache
from pipelines.shared.texts import clean_text

VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
PROMPT = "Describe what is to be seen in one sentence of at most 20 words. Answer with the sentence alone."
SEED_BITS = 31
DECODING = ("prompt", "max_tokens", "temperature", "top_p", "max_side_px")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings.

    Attributes:
        model: The model's name at the server.
        prompt: What is asked about every sample.
        max_tokens: Longest answer, in the server's tokens.
        temperature: Of the sampling, in [0, 2].
        top_p: Nucleus of the sampling, in (0, 1].
        max_side_px: Longer side of the pictures that are sent; larger ones are made smaller.
        url_variable: Environment variable with the base URL.
        key_variable: Environment variable with the key; it may be unset for a server that asks for none.
        concurrency: Most requests at a time, of one worker.
        timeout_sec: For one try.
        tries: Most tries of one request.
        backoff_sec: Pause before the second try; it doubles, up to `most_wait_sec`.
        most_wait_sec: Longest pause, whatever the server asks for.
    """

    model: str
    prompt: str = PROMPT
    max_tokens: int = 64
    temperature: float = 1.0
    top_p: float = 0.9
    max_side_px: int = 512
    url_variable: str = "OPENAI_BASE_URL"
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = 4
    timeout_sec: float = 60.0
    tries: int = 5
    backoff_sec: float = 1.0
    most_wait_sec: float = 60.0

    def __post_init__(self) -> None:
        if not self.model or not self.prompt:
            raise ValueError(f"model and prompt must not be empty, got {self.model!r} and {self.prompt!r}")
        for name in ("max_tokens", "max_side_px", "concurrency", "tries"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.temperature <= 2:
            raise ValueError(f"temperature must be in [0, 2], got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")
        if self.timeout_sec <= 0 or self.backoff_sec < 0 or self.most_wait_sec < 0:
            raise ValueError("timeout_sec must be above 0, backoff_sec and most_wait_sec at least 0")
        for name in ("url_variable", "key_variable"):
            if not VARIABLE.fullmatch(getattr(self, name)):
                raise ValueError(f"{name} must be the name of an environment variable, got another text")


class Captioner:
    """Asks a server."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = f"server:{config.model}"
        self.decoding = {name: getattr(config, name) for name in DECODING}
        self.server = self._server()

    def caption(self, samples: Sequence[CaptionerInput]) -> list[Written]:
        """Texts of each sample; a sample with a request that failed for good has the reason and no text."""
        requests = [(row, seed) for row, sample in enumerate(samples) for seed in sample.seeds]
        pictures = [[self._picture(frame) for frame in sample.frames] for sample in samples]
        bodies = [self._body(pictures[row], seed) for row, seed in requests]
        answers = ask(self.server, bodies, TaskCache().answers)
        texts: list[list[str]] = [[] for _ in samples]
        errors = ["" for _ in samples]
        for (row, _), answer in zip(requests, answers, strict=True):
            texts[row].append(clean_text(answer.text))
            errors[row] = errors[row] or answer.reason
        return [
            Written(error=error) if error else Written(texts=tuple(own))
            for own, error in zip(texts, errors, strict=True)
        ]

    def _server(self) -> Server:
        config = self.config
        url = os.environ.get(config.url_variable, "")
        if not url:
            raise ValueError(f"the environment variable {config.url_variable} must hold the server's base URL")
        return Server(
            url=url,
            key=os.environ.get(config.key_variable, ""),
            concurrency=config.concurrency,
            timeout_sec=config.timeout_sec,
            tries=config.tries,
            backoff_sec=config.backoff_sec,
            most_wait_sec=config.most_wait_sec,
        )

    def _picture(self, frame: Image.Image) -> dict[str, Any]:
        """A part of a message."""
        side_px = self.config.max_side_px
        if max(frame.size) > side_px:
            frame = frame.copy()
            frame.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
        data = base64.b64encode(encode_image(frame, "jpg")).decode()
        return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}

    def _body(self, pictures: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
        config = self.config
        return {
            "model": config.model,
            "messages": [{"role": "user", "content": [{"type": "text", "text": config.prompt}, *pictures]}],
            "max_tokens": config.max_tokens,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "seed": seed % 2**SEED_BITS,
        }
