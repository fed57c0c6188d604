import itertools
import math

import pytest
import torch
from torch import Tensor

from models.shared.decoding import Decoding, decode, sample_categorical, sample_nucleus

END = 0


class Table:
    """A language model whose next token depends on the two before, by a table; counts what it is asked."""

    def __init__(self, rows: int, vocab: int = 5, seed: int = 0) -> None:
        logits = torch.randn(vocab, vocab, vocab, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.logits = logits * 1.5
        self.history = torch.zeros(rows, 0, dtype=torch.int64)
        self.num_calls = 0

    def __call__(self, tokens: Tensor) -> Tensor:
        self.num_calls += 1
        self.history = torch.cat([self.history, tokens], dim=1)
        return self.logits[self.history[:, -2], self.history[:, -1]]

    def select(self, rows: Tensor) -> None:
        self.history = self.history[rows]

    def log_probability(self, prompt: list[int], text: list[int]) -> float:
        total, history = 0.0, list(prompt)
        for token in text:
            total += float(self.logits[history[-2], history[-1]].log_softmax(0)[token])
            history.append(token)
        return total


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def run(prompts: list[list[int]], table: Table | None = None, forbidden: tuple[int, ...] = (), **settings):
    table = table or Table(len(prompts))
    generators = seeded(*range(len(prompts)))
    return decode(table, torch.tensor(prompts), Decoding(**settings), generators, END, forbidden)


PROMPTS = [[1, 2], [3, 4], [2, 2]]


def test_greedy_takes_the_likeliest_token_until_the_end():
    texts = run(PROMPTS, decoding="greedy", min_tokens=0, max_tokens=6)
    table = Table(1)
    for prompt, text in zip(PROMPTS, texts, strict=True):
        history, expected = list(prompt), []
        while len(expected) < 6:
            token = int(table.logits[history[-2], history[-1]].argmax())
            if token == END:
                break
            expected.append(token)
            history.append(token)
        assert text == expected


@pytest.mark.parametrize("method", ["greedy", "beam", "nucleus"])
def test_lengths_are_kept(method):
    ends_at_once = Table(3)
    ends_at_once.logits[..., END] = 50
    assert [len(t) for t in run(PROMPTS, ends_at_once, decoding=method, min_tokens=3, max_tokens=6)] == [3, 3, 3]
    never_ends = Table(3)
    never_ends.logits[..., END] = -50
    assert [len(t) for t in run(PROMPTS, never_ends, decoding=method, min_tokens=3, max_tokens=6)] == [6, 6, 6]


@pytest.mark.parametrize("method", ["greedy", "beam", "nucleus"])
def test_forbidden_tokens_are_never_written(method):
    texts = run(PROMPTS, forbidden=(1, 3), decoding=method, min_tokens=6, max_tokens=8)
    assert {token for text in texts for token in text} <= {2, 4}


def best_text(table: Table, prompt: list[int], settings: Decoding) -> list[int]:
    """The best of all texts: a search that leaves nothing out."""
    scored = []
    for length in range(settings.min_tokens, settings.max_tokens + 1):
        for words in itertools.product(range(1, 5), repeat=length):
            text = [*words] if length == settings.max_tokens else [*words, END]
            scored.append((table.log_probability(prompt, text) / len(text) ** settings.length_penalty, list(words)))
    return max(scored)[1]


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
def test_a_beam_wide_enough_finds_the_best_text(length_penalty):
    settings = {"min_tokens": 1, "max_tokens": 4, "length_penalty": length_penalty}
    texts = run(PROMPTS, decoding="beam", num_beams=4**4, **settings)
    assert texts == [best_text(Table(1), prompt, Decoding(**settings)) for prompt in PROMPTS]


def test_beam_of_one_without_length_penalty_is_greedy_when_texts_do_not_end():
    never_ends = Table(3)
    never_ends.logits[..., END] = -50
    greedy = run(PROMPTS, never_ends, decoding="greedy", min_tokens=0, max_tokens=5)
    never_ends.history = never_ends.history[:, :0]
    assert run(PROMPTS, never_ends, decoding="beam", num_beams=1, min_tokens=0, max_tokens=5) == greedy


def test_beam_search_stops_when_nothing_better_can_come():
    ends_at_once = Table(3)
    ends_at_once.logits[..., END] = 50
    run(PROMPTS, ends_at_once, decoding="beam", min_tokens=0, max_tokens=50)
    assert ends_at_once.num_calls == 1


@pytest.mark.parametrize("method", ["beam", "nucleus"])
def test_a_text_does_not_depend_on_the_rest_of_the_batch(method):
    prompts = [[a, b] for a in range(1, 5) for b in range(1, 4)]
    together = run(prompts, decoding=method, min_tokens=0, max_tokens=8)
    assert len({tuple(text) for text in together}) > 3
    settings = Decoding(decoding=method, min_tokens=0, max_tokens=8)
    for seed in (11, 0, 5):
        assert decode(Table(1), torch.tensor([prompts[seed]]), settings, seeded(seed), END) == [together[seed]]


def test_repetition_penalty_lowers_what_was_used():
    table = Table(1)
    table.logits[:] = torch.tensor([-9.0, 3.0, 2.0, 1.0, -1.0])
    settings = {"decoding": "greedy", "min_tokens": 3, "max_tokens": 3}
    assert run([[2, 2]], table, repetition_penalty=1.0, **settings) == [[1, 1, 1]]
    # 2 was in the prompt: 2 / 4 < 1; then 1 was used: 3 / 4 < 1, and so on
    table.history = table.history[:, :0]
    assert run([[2, 2]], table, repetition_penalty=4.0, **settings) == [[1, 3, 1]]
    negative = Table(1)
    negative.logits[:] = torch.tensor([-9.0, -1.0, -2.0, -9.0, -9.0])
    assert run([[1, 1]], negative, repetition_penalty=3.0, **settings)[0][0] == 2


def test_equals_the_processors_of_transformers():
    logits_process = pytest.importorskip("transformers.generation.logits_process")
    logits = torch.randn(6, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    for top_p in (0.1, 0.5, 0.9, 1.0):
        kept = logits_process.TopPLogitsWarper(top_p)(None, logits.clone()).isfinite()
        grid = torch.linspace(0, 1, 2001, dtype=torch.float64)[:-1]
        for row in range(6):
            drawn = sample_nucleus(logits[row].expand(2000, -1), top_p, grid)
            reachable = kept[row] & (logits[row].softmax(0) > 1 / 1000)
            assert set(drawn.tolist()) <= set(kept[row].nonzero().flatten().tolist())
            assert set(reachable.nonzero().flatten().tolist()) <= set(drawn.tolist())


def test_nucleus_frequencies_are_the_renormalised_probabilities():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).double().log()
    uniform = torch.rand(20000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    counts = sample_nucleus(logits.expand(20000, -1), 0.75, uniform).bincount(minlength=4)
    assert counts[2:].sum() == 0
    expected = 20000 * torch.tensor([0.625, 0.375])
    assert float(((counts[:2] - expected) ** 2 / expected).sum()) < 10.83  # chi squared, 1 degree, p = 0.001


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 1.0])
def test_tokens_are_those_of_a_stable_sort_with_tokens(top_p):
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([0.0, 0.01, 1.0, 5.0, 20.0]).repeat(40)[:, None]
    logits = (torch.randn(200, 9000, generator=generator) * scale).double()
    logits[100:] = logits[100:].round()  # many equal probabilities
    logits[::7, 5:] = -torch.inf
    uniform = torch.rand(200, generator=generator, dtype=torch.float64)
    probability, token = logits.softmax(dim=1).sort(dim=1, descending=True, stable=True)
    before = probability.cumsum(dim=1) - probability
    rank = sample_categorical(torch.where(before < top_p, probability, 0.0), uniform)
    assert torch.equal(sample_nucleus(logits, top_p, uniform), token.gather(1, rank[:, None]).squeeze(1))


def test_inverse_cdf_never_draws_what_has_no_weight():
    weights = torch.tensor([[0.0, 1.0, 0.0, 3.0, 0.0]], dtype=torch.float64).expand(4, -1)
    uniform = torch.tensor([0.0, 0.25 - 1e-12, 0.25, math.nextafter(1.0, 0.0)], dtype=torch.float64)
    assert sample_categorical(weights, uniform).tolist() == [1, 1, 3, 3]


def test_each_text_uses_its_own_generator_alone():
    settings = Decoding(min_tokens=0, max_tokens=8, top_p=1.0)
    prompts = torch.tensor([[1, 2]] * 3)
    first = decode(Table(3), prompts, settings, seeded(5, 6, 7), END)
    second = decode(Table(3), prompts, settings, seeded(7, 6, 5), END)
    assert first == second[::-1]
    assert first[0] != first[2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoding": "random"}, "decoding must be one of"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\], got 0.0"),
        ({"num_beams": 0}, "num_beams must be at least 1, got 0"),
        ({"min_tokens": 8, "max_tokens": 7}, "min_tokens must be in 0..7, got 8"),
        ({"max_tokens": 0, "min_tokens": 0}, "max_tokens must be at least 1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be above 0"),
        ({"length_penalty": -1.0}, "length_penalty must be at least 0"),
        ({"topp": 0.9}, "decoding has no setting 'topp', nearest: top_p"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Decoding.of(settings)
