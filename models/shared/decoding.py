"""Decoding of a text token by token: greedy, beam search, nucleus sampling.

Source: nucleus sampling is Holtzman et al. 2020, arXiv:1904.09751; repetition penalty is Keskar et al. 2019,
arXiv:1909.05858, section 4.1; settings as BLIP uses them (Li et al. 2022, arXiv:2201.12086).

Differs from BLIP's released code: `min_tokens` and `max_tokens` count what is written after the prompt, without the end
token; the repetition penalty, there 1.1 with nucleus sampling, is a setting and off by default.

Nucleus sampling is by inverse CDF in float64, one uniform number per token, and text i uses numbers of generator i
alone, the n-th for its n-th token. So a text does not depend on what else is in the batch, except through rounding: a
matrix product may round differently in another batch, by some 1e-6 of a probability, which changes a token only when
its uniform number lies that close to an edge of the CDF (about once in a million tokens).
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from models.shared.checks import require, require_one_of

METHODS = ("nucleus", "beam", "greedy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoding:
    """Settings of a decoding.

    Attributes:
        decoding: `nucleus`, `beam` or `greedy`.
        top_p: Nucleus sampling draws from the smallest set of tokens whose probability is at least this, in (0, 1].
        num_beams: Width of the beam search.
        min_tokens: The text does not end before.
        max_tokens: The text is cut here.
        repetition_penalty: Divides (where negative: multiplies) the score of tokens that were used before; 1: none.
        length_penalty: Beam search compares sums of log probabilities divided by length to this power.
    """

    decoding: str = "nucleus"
    top_p: float = 0.9
    num_beams: int = 3
    min_tokens: int = 5
    max_tokens: int = 20
    repetition_penalty: float = 1.0
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        require_one_of("decoding", self.decoding, METHODS)
        require(0 < self.top_p <= 1, "top_p", self.top_p, "in (0, 1]")
        require(self.num_beams >= 1, "num_beams", self.num_beams, "at least 1")
        require(self.max_tokens >= 1, "max_tokens", self.max_tokens, "at least 1")
        require(0 <= self.min_tokens <= self.max_tokens, "min_tokens", self.min_tokens, f"in 0..{self.max_tokens}")
        require(self.repetition_penalty > 0, "repetition_penalty", self.repetition_penalty, "above 0")
        require(self.length_penalty >= 0, "length_penalty", self.length_penalty, "at least 0")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Decoding":
        """From a mapping of settings; ValueError with the nearest name for one that does not exist."""
        names = [field.name for field in fields(cls)]
        for name in settings:
            if name not in names:
                nearest = difflib.get_close_matches(name, names, n=1, cutoff=0)[0]
                raise ValueError(f"decoding has no setting {name!r}, nearest: {nearest}; allowed: {', '.join(names)}")
        return cls(**settings)


class Stepper(Protocol):
    """A language model that remembers what it has read, one text per row."""

    def __call__(self, tokens: Tensor) -> Tensor:
        """Reads the next tokens of each text, int64 [R, T]; returns logits of the one that follows, [R, V]."""
        ...

    def select(self, rows: Tensor) -> None:
        """Goes on with these rows, int64 [R']; a row may occur several times or not at all."""
        ...


def decode(
    step: Stepper,
    prompt: Tensor,
    settings: Decoding,
    generators: Sequence[torch.Generator],
    end_token: int,
    forbidden: Sequence[int] = (),
) -> list[list[int]]:
    """Continues one text per row.

    Args:
        step: The language model, at the start of R texts.
        prompt: int64 [R, P], P >= 1, what every text begins with.
        settings: Method and limits.
        generators: R generators for nucleus sampling, read on their own devices; the other methods read none.
        end_token: The token that ends a text.
        forbidden: Tokens that are never written.

    Returns:
        The tokens after the prompt, R lists, without the end token.
    """
    limits = _Limits(settings, end_token, torch.tensor(list(forbidden), dtype=torch.int64, device=prompt.device))
    with torch.no_grad():
        if settings.decoding == "beam":
            return _beam_search(step, prompt, limits)
        if settings.decoding == "greedy":
            return _one_by_one(step, prompt, limits, lambda logits, position: logits.argmax(dim=1))
        uniform = uniforms(generators, settings.max_tokens, prompt.device)
        return _one_by_one(
            step, prompt, limits, lambda logits, position: sample_nucleus(logits, settings.top_p, uniform[:, position])
        )


def uniforms(generators: Sequence[torch.Generator], count: int, device: torch.device) -> Tensor:
    """float64 [number of generators, count] in [0, 1); row i comes from generator i alone."""
    rows = [torch.rand(count, generator=g, dtype=torch.float64, device=g.device).to(device) for g in generators]
    return torch.stack(rows)


def sample_categorical(weights: Tensor, uniform: Tensor) -> Tensor:
    """Inverse-CDF sampling.

    Args:
        weights: float64 [R, V], at least 0, each row with a positive sum.
        uniform: float64 [R] in [0, 1).

    Returns:
        int64 [R]: column v with probability `weights[r, v] / weights[r].sum()`; never one of weight 0.
    """
    cumulative = weights.cumsum(dim=1)
    target = uniform[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target, right=True).squeeze(1)


def sample_nucleus(logits: Tensor, top_p: float, uniform: Tensor) -> Tensor:
    """float64 logits [R, V], uniform numbers float64 [R] -> one token per row, int64 [R].

    Inverse CDF over the nucleus in the order of falling probability, the earlier of two equally likely tokens first.
    Probabilities are sorted without their tokens, several times as fast: the drawn one's token is found by its value.
    """
    probability = logits.softmax(dim=1)
    ordered = _descending(probability)
    before = ordered.cumsum(dim=1) - ordered
    rank = sample_categorical(torch.where(before < top_p, ordered, 0.0), uniform)[:, None]
    drawn = ordered.gather(1, rank)
    place = rank - (ordered > drawn).sum(dim=1, keepdim=True)  # among the tokens that are as likely
    return ((probability == drawn).cumsum(dim=1) == place + 1).int().argmax(dim=1)


def _descending(values: Tensor) -> Tensor:
    """Each row from its largest value; on a CPU by NumPy's sort, which is vectorised where PyTorch's is not."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), axis=1)).flip(1)
    return values.sort(dim=1, descending=True).values


@dataclass(frozen=True, slots=True)
class _Limits:
    settings: Decoding
    end_token: int
    forbidden: Tensor

    def apply(self, scores: Tensor, history: Tensor, num_written: int) -> Tensor:
        """Scores [R, V] under the penalties and bans; history [R, P + num_written] holds the prompt too."""
        scores = scores.double()
        if self.settings.repetition_penalty != 1:
            used = scores.gather(1, history)
            penalty = self.settings.repetition_penalty
            scores = scores.scatter(1, history, torch.where(used < 0, used * penalty, used / penalty))
        scores = scores.index_fill(1, self.forbidden, -torch.inf)
        if num_written < self.settings.min_tokens:
            scores[:, self.end_token] = -torch.inf
        return scores


def _one_by_one(
    step: Stepper, prompt: Tensor, limits: _Limits, choose: Callable[[Tensor, int], Tensor]
) -> list[list[int]]:
    history, tokens = prompt, prompt
    ended = torch.zeros(len(prompt), dtype=torch.bool, device=prompt.device)
    for position in range(limits.settings.max_tokens):
        token = choose(limits.apply(step(tokens), history, position), position)
        tokens = torch.where(ended, limits.end_token, token)[:, None]
        history = torch.cat([history, tokens], dim=1)
        ended |= tokens[:, 0] == limits.end_token
        if ended.all():
            break
    return [_until(row, limits.end_token) for row in history[:, prompt.shape[1] :].tolist()]


def _until(tokens: list[int], end_token: int) -> list[int]:
    return tokens[: tokens.index(end_token)] if end_token in tokens else tokens


def _beam_search(step: Stepper, prompt: Tensor, limits: _Limits) -> list[list[int]]:
    """Best ended text per row; goes on until no running beam can still surpass it."""
    num_beams, max_tokens = limits.settings.num_beams, limits.settings.max_tokens
    num_rows = len(prompt)
    first_beam = torch.arange(num_rows, device=prompt.device)[:, None] * num_beams
    step_rows = torch.arange(num_rows, device=prompt.device).repeat_interleave(num_beams)
    step.select(step_rows)
    history = prompt[step_rows]
    tokens = history
    running = torch.full((num_rows, num_beams), -torch.inf, dtype=torch.float64, device=prompt.device)
    running[:, 0] = 0.0
    best_score = torch.full((num_rows,), -torch.inf, dtype=torch.float64, device=prompt.device)
    best: list[list[int]] = [[] for _ in range(num_rows)]
    for position in range(max_tokens):
        scores = limits.apply(step(tokens).double().log_softmax(dim=1), history, position)
        total = (running[:, :, None] + scores.unflatten(0, (num_rows, num_beams))).flatten(1)
        top, index = total.topk(2 * num_beams, dim=1)
        beam, token = index // scores.shape[1] + first_beam, index % scores.shape[1]
        ends = token == limits.end_token
        complete = torch.ones_like(ends) if position == max_tokens - 1 else ends
        value = (top / (position + 1) ** limits.settings.length_penalty).masked_fill(~complete, -torch.inf)
        value, rank = value[:, :num_beams].max(dim=1)
        for row in (value > best_score).nonzero()[:, 0].tolist():
            chosen = int(rank[row])
            written = history[beam[row, chosen], prompt.shape[1] :].tolist()
            best[row] = _until([*written, int(token[row, chosen])], limits.end_token)
        best_score = torch.maximum(best_score, value)
        running, order = top.masked_fill(ends, -torch.inf).topk(num_beams, dim=1)
        if (best_score >= running[:, 0] / max_tokens**limits.settings.length_penalty).all():
            break
        rows = beam.gather(1, order).flatten()
        step.select(rows)
        tokens = token.gather(1, order).reshape(-1, 1)
        history = torch.cat([history[rows], tokens], dim=1)
    return best
