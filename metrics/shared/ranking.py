"""Where the right answers of queries stand among all answers, with ties, in memory that does not grow with the product.

Sources: McSherry & Najork 2008, Computing Information Retrieval Performance Measures Efficiently in the Presence of
Tied Scores (expected values over the order of ties); Cheng et al. 2021, arXiv:2109.04290 (the dual softmax);
Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1 (the rounding error of a dot product).

Scores are cosines in float64 and those that differ by less than 1e-12 are equal: far more than float64 rounding and far
less than a float32 embedding can resolve, so that results depend neither on blocks nor on the order of a sum. On a CPU
the product is taken in float32 and only the few scores that lie within its rounding error of a right answer's are taken
again in float64, which gives the same counts in half the time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.shared.metric import unit_rows

TIE = 1e-12
BLOCK_SCORES = 2_000_000  # of the score matrix held at once
MAX_NEAR_FRAC = 0.02  # of a block; beyond it, a product in float64 is cheaper
NEAR_AT_A_TIME = 4096
FLOAT32_ROUNDING = 2.0**-24


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the right answers of each query stand, int64 [number of queries] each.

    Attributes:
        above: Wrong answers that are better than the best right one.
        tied: Answers as good as the best right one, right ones included.
        right: Right answers among the tied.
    """

    above: NDArray[np.int64]
    tied: NDArray[np.int64]
    right: NDArray[np.int64]

    def recall(self, k: int) -> NDArray[np.float64]:
        """Probability that a right answer is among the first k when ties are put in random order."""
        missed = np.ones(len(self.above))
        for place in range(k):
            tied_before = place - self.above  # of those tied with it, already drawn and wrong
            wrong, left = self.tied - self.right - tied_before, self.tied - tied_before
            missed *= np.where(tied_before >= 0, np.maximum(wrong, 0) / np.maximum(left, 1), 1.0)
        return 1 - missed

    def rank(self) -> NDArray[np.float64]:
        """Expected rank of the first right answer, from 1."""
        return 1 + self.above + (self.tied - self.right) / (self.right + 1)

    def reciprocal_rank(self) -> NDArray[np.float64]:
        """Expected reciprocal of the rank of the first right answer."""
        places, query = np.unique(np.stack([self.above, self.tied, self.right]), axis=1, return_inverse=True)
        return np.array([_reciprocal_rank(*place) for place in places.T.tolist()])[query]

    def is_tied(self) -> NDArray[np.bool_]:
        """Whether a wrong answer is as good as the best right one."""
        return self.tied > self.right


def place(media: Tensor, texts: Tensor, owner: Tensor) -> tuple[Placement, Placement]:
    """Places of the right answers by cosine, for texts as queries and for media as queries.

    Memory beyond the arguments: a few blocks of scores, and the media in float32 and float64.

    Args:
        media: [n, d], of any length.
        texts: [m, d], of any length; each has one right answer.
        owner: int64 [m], that answer, a row of `media`. A row of `media` that is none has no place worth reading.
    """
    media = unit_rows(media)
    right = torch.cat([(rows * media[own]).sum(1) for rows, own in _blocks(texts, owner, len(media))])
    slack = torch.full_like(right, TIE)
    by_text, by_media = _sides((right, slack), (right, slack), owner, len(media))
    # elsewhere, or where less precise products are allowed, float32 has not the error that is assumed here
    single = media.float() if media.device.type == "cpu" and torch.get_float32_matmul_precision() == "highest" else None
    start = 0
    for rows, own in _blocks(texts, owner, len(media)):
        part = slice(start, start + len(rows))
        if single is None or not _count_in_single(rows, own, media, single, by_text, by_media, part):
            scores = rows @ media.T
            scores[torch.arange(len(rows), device=own.device), own] = -torch.inf
            by_text.count(scores, part, dim=1)
            by_media.count(scores, slice(None), dim=0)
        start = part.stop
    return by_text.placement(), by_media.placement()


def place_dual_softmax(media: Tensor, texts: Tensor, owner: Tensor, temperature: float) -> tuple[Placement, Placement]:
    """Places by the cosine times its softmax over all queries: an answer near to many queries is worth less to each.

    Arguments as for `place`, and the factor of the cosine in the softmax. Memory as well, without the float32 copy.
    """
    media = unit_rows(media)
    by_medium = torch.full((len(media),), -torch.inf, dtype=torch.float64, device=media.device)
    text_sums, right = [], []
    for rows, own in _blocks(texts, owner, len(media)):
        cosines = rows @ media.T
        right.append(cosines[torch.arange(len(rows), device=own.device), own])
        text_sums.append(torch.logsumexp(temperature * cosines, dim=1))
        by_medium = torch.logaddexp(by_medium, torch.logsumexp(temperature * cosines, dim=0))
    by_text, own_cosines = torch.cat(text_sums), torch.cat(right)
    slack = TIE * (1 + temperature * own_cosines.abs())  # what a difference of TIE in the cosine comes to
    among_texts, among_media = (torch.exp(temperature * own_cosines - sums) for sums in (by_medium[owner], by_text))
    texts_side, media_side = _sides(
        (own_cosines * among_texts, slack * among_texts),
        (own_cosines * among_media, slack * among_media),
        owner,
        len(media),
    )
    start = 0
    for rows, own in _blocks(texts, owner, len(media)):
        part = slice(start, start + len(rows))
        cosines = rows @ media.T
        own_place = torch.arange(len(rows), device=own.device), own
        for side, sums, at, dim in (
            (texts_side, by_medium, part, 1),
            (media_side, by_text[part, None], slice(None), 0),
        ):
            scores = cosines * torch.exp(temperature * cosines - sums)
            scores[own_place] = -torch.inf
            side.count(scores, at, dim=dim)
        start = part.stop
    return texts_side.placement(), media_side.placement()


@dataclass(slots=True)
class _Side:
    """Queries of one kind and what was counted for them, [number of queries] each.

    Attributes:
        target: Score of the best right answer, float64.
        slack: Scores that differ from it by less are equal to it.
        above: Counts of `Placement`, int64; so are the next two.
        tied: The same.
        right: The same.
    """

    target: Tensor
    slack: Tensor
    above: Tensor
    tied: Tensor
    right: Tensor

    @classmethod
    def start(cls, target: Tensor, slack: Tensor, right: Tensor) -> Self:
        """Before any wrong answer was counted."""
        return cls(target, slack, torch.zeros_like(right), right.clone(), right)

    def masks(self, scores: Tensor, part: slice, dim: int, error: float) -> tuple[Tensor, Tensor]:
        """Which scores are above the target, and which cannot be told from it, given an error of the scores."""
        reach = self.slack[part] + error
        high, low = (edge.to(scores.dtype) for edge in (self.target[part] + reach, self.target[part] - reach))
        above = scores > high.unsqueeze(dim)
        return above, (scores >= low.unsqueeze(dim)) ^ above

    def count(self, scores: Tensor, part: slice, dim: int) -> None:
        """Counts exact scores of the queries `part`, along the dimension of the answers."""
        above, tied = self.masks(scores, part, dim, error=0.0)
        self.above[part] += above.sum(dim, dtype=torch.int32)
        self.tied[part] += tied.sum(dim, dtype=torch.int32)

    def count_near(self, scores: Tensor, query: Tensor) -> None:
        """Counts single exact scores, each of its query."""
        target, slack = self.target[query], self.slack[query]
        above = scores > target + slack
        tied = (scores >= target - slack) ^ above
        self.above += torch.bincount(query[above], minlength=len(self.above))
        self.tied += torch.bincount(query[tied], minlength=len(self.tied))

    def placement(self) -> Placement:
        """What was counted."""
        return Placement(*(counts.cpu().numpy() for counts in (self.above, self.tied, self.right)))


def _sides(
    of_texts: tuple[Tensor, Tensor], of_media: tuple[Tensor, Tensor], owner: Tensor, num_media: int
) -> tuple[_Side, _Side]:
    """Both kinds of queries before any wrong answer was counted.

    Args:
        of_texts: Score of each text's right answer, and the slack of that score, float64 [m] each.
        of_media: Score of each text as a right answer to its medium, and the slack, float64 [m] each.
        owner: int64 [m].
        num_media: n.
    """
    scores, slacks = of_media
    best = scores.new_full((num_media,), -torch.inf).scatter_reduce(0, owner, scores, "amax")
    is_best = scores == best[owner]
    slack = scores.new_zeros(num_media).scatter_reduce(0, owner[is_best], slacks[is_best], "amax")
    num_best = torch.bincount(owner[scores >= (best - slack)[owner]], minlength=num_media)
    return _Side.start(*of_texts, torch.ones_like(owner)), _Side.start(best, slack, num_best)


def _count_in_single(
    rows: Tensor, own: Tensor, media: Tensor, single: Tensor, by_text: _Side, by_media: _Side, part: slice
) -> bool:
    """Counts a block by a product in float32; False, and nothing counted, where too much of it is near a target.

    A float32 product of unit rows of length d, summed in any order, is wrong by at most (d + 2) roundings, and the
    target rounded to float32 by one more; 8 and the 1% cover terms of higher order.
    """
    error = (1.01 * rows.shape[1] + 8) * FLOAT32_ROUNDING
    scores = rows.float() @ single.T
    scores[torch.arange(len(rows)), own] = -torch.inf
    text_above, text_near = by_text.masks(scores, part, 1, error)
    media_above, media_near = by_media.masks(scores, slice(None), 0, error)
    near = torch.from_numpy(np.flatnonzero(torch.logical_or(text_near, media_near).numpy()))
    if len(near) > MAX_NEAR_FRAC * scores.numel():
        return False
    by_text.above[part] += text_above.sum(1, dtype=torch.int32)
    by_media.above += media_above.sum(0, dtype=torch.int32)
    text_near, media_near = text_near.flatten(), media_near.flatten()
    for places in near.split(NEAR_AT_A_TIME):
        text, medium = places // len(media), places % len(media)
        exact = (rows[text] * media[medium]).sum(1)
        for side, query, is_near in ((by_text, text + part.start, text_near), (by_media, medium, media_near)):
            side.count_near(exact[is_near[places]], query[is_near[places]])
    return True


def _blocks(texts: Tensor, owner: Tensor, num_media: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Unit rows of texts with their owners, so many at a time that their scores fit into a block."""
    size = max(1, BLOCK_SCORES // num_media)
    for rows, own in zip(texts.split(size), owner.split(size), strict=True):
        yield unit_rows(rows), own


def _reciprocal_rank(above: int, tied: int, right: int) -> float:
    """Expected value over the number of wrong answers that precede the first right one among the tied."""
    before = np.arange(tied - right + 1)
    at_least = np.cumprod(np.concatenate([[1.0], (tied - right - before[:-1]) / (tied - before[:-1])]))
    probability = at_least - np.append(at_least[1:], 0.0)
    return float((probability / (1 + above + before)).sum())
