import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models import Batch
from models.shared.blip import BlipNetwork
from models.shared.blip_alignment import (
    Alignment,
    AlignmentConfig,
    Pairs,
    Queue,
    caption_ids,
    encode_pairs,
    matching_loss,
    mine_negatives,
    momentum_copy,
    same_pair,
)
from models.shared.blip_config import NetworkConfig

SIZES = {
    **{"image_px": 16, "patch_px": 8, "image_width": 16, "num_image_layers": 1, "num_image_heads": 2},
    **{"text_width": 16, "num_layers": 1, "num_heads": 2, "embed_width": 8, "dropout": 0.0},
}
CAPTIONS = ["a red circle", "two dogs", "cat", "A  cat on a sofa"]


@pytest.fixture(scope="module")
def untouched() -> BlipNetwork:
    torch.manual_seed(0)
    network = BlipNetwork(NetworkConfig(**SIZES)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return network


@pytest.fixture
def network(untouched: BlipNetwork) -> BlipNetwork:
    return copy.deepcopy(untouched)


def make(network: BlipNetwork, **settings) -> Alignment:
    torch.manual_seed(1)
    return Alignment(AlignmentConfig(**{"queue_size": 6, "alpha_warmup_steps": 0, "alpha": 0.0, **settings}), network)


def batch(captions: list[str] = CAPTIONS, groups: list[int] | None = None) -> Batch:
    image = torch.rand(len(captions), 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    return {"image": image, "caption": captions, "group": torch.tensor(groups or list(range(len(captions))))}


def losses(alignment: Alignment, network: BlipNetwork, batch: Batch, seed: int = 0) -> tuple[Tensor, Tensor]:
    return alignment.losses(network, encode_pairs(network, batch), torch.Generator().manual_seed(seed))


def embeddings(network: BlipNetwork, batch: Batch) -> tuple[Tensor, Tensor]:
    return network.encode_image(batch["image"]), network.encode_text(batch["caption"])


def test_without_soft_targets_and_queue_itc_is_clips_loss(network):
    open_clip = pytest.importorskip("open_clip")
    alignment = make(network)
    image, text = embeddings(network, batch())
    alignment.queue.image[:] = -1e4 * text.mean(dim=0)  # so unlike everything that it counts for nothing
    alignment.queue.text[:] = -1e4 * image.mean(dim=0)
    assert (image @ image.mean(dim=0)).min() > 0
    assert (text @ text.mean(dim=0)).min() > 0
    expected = open_clip.ClipLoss()(image, text, torch.tensor(1 / 0.07))
    torch.testing.assert_close(losses(alignment, network, batch())[0], expected, rtol=0, atol=1e-5)


def test_queue_holds_further_negatives(network):
    alignment = make(network)
    image, text = embeddings(network, batch())
    target = torch.arange(4)
    expected = (
        functional.cross_entropy(image @ torch.cat([text, alignment.queue.text]).T / 0.07, target)
        + functional.cross_entropy(text @ torch.cat([image, alignment.queue.image]).T / 0.07, target)
    ) / 2
    torch.testing.assert_close(losses(alignment, network, batch())[0], expected, rtol=0, atol=1e-5)


def test_with_alpha_one_the_target_is_the_momentum_models_softmax(network):
    alignment = make(network, alpha=1.0)
    image_m, text_m = embeddings(network, batch())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    image, text = embeddings(network, batch())
    total = torch.zeros(())
    for query, query_m, gallery in (
        (image, image_m, torch.cat([text_m, alignment.queue.text])),
        (text, text_m, torch.cat([image_m, alignment.queue.image])),
    ):
        target = (query_m @ gallery.T / 0.07).softmax(dim=1)
        total -= (target * (query @ gallery.T / 0.07).log_softmax(dim=1)).sum(dim=1).mean() / 2
    torch.testing.assert_close(losses(alignment, network, batch())[0], total, rtol=0, atol=1e-5)


def test_alpha_rises_linearly(network):
    alignment = make(network, alpha=0.4, alpha_warmup_steps=4)
    seen = []
    for _ in range(6):
        seen.append(float(alignment.alpha()))
        alignment.after_step(network)
    assert seen == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.4])
    assert float(make(network, alpha=0.4, alpha_warmup_steps=0).alpha()) == pytest.approx(0.4)


def test_target_is_spread_over_texts_of_the_image_and_equal_texts(network):
    alignment = make(network)
    pairs = batch(["cat", "dog", "Cat ", "bird"], groups=[5, 6, 7, 6])
    alignment.queue.identity[3] = torch.tensor([7, 123])
    image, text = embeddings(network, pairs)
    target = torch.zeros(4, 10)
    for row, columns in enumerate([(0, 2), (1, 3), (0, 2, 4 + 3), (1, 3)]):
        target[row, list(columns)] = 1 / len(columns)
    expected = torch.zeros(())
    for query, gallery in ((image, [text, alignment.queue.text]), (text, [image, alignment.queue.image])):
        expected -= (target * (query @ torch.cat(gallery).T / 0.07).log_softmax(dim=1)).sum(dim=1).mean() / 2
    torch.testing.assert_close(losses(alignment, network, pairs)[0], expected, rtol=0, atol=1e-5)


def test_momentum_encoders_follow_as_a_geometric_mean_of_the_past(network):
    alignment = make(network, momentum=0.9)
    network.med.embeddings.encoder.word.requires_grad_(False)
    name = "med.layers.0.feed_forward.encoder.inner.weight"
    start = network.get_parameter(name).detach().clone()
    for step in range(1, 6):
        with torch.no_grad():
            network.get_parameter(name).copy_(start + step)
        alignment.after_step(network)
    weights = [0.1 * 0.9 ** (5 - step) for step in range(1, 6)]
    expected = start + sum(step * weight for step, weight in zip(range(1, 6), weights, strict=True))
    torch.testing.assert_close(alignment.momentum.get_parameter(name), expected, rtol=0, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in alignment.momentum.parameters())
    word = "med.embeddings.encoder.word.weight"
    assert torch.equal(alignment.momentum.get_parameter(word), network.get_parameter(word))


def test_momentum_copy_has_no_cross_attention_and_no_decoder(network):
    names = dict(momentum_copy(network).named_parameters())
    assert not [name for name in names if "cross_attention" in name or "decoder" in name or "head" in name]
    assert names.keys() < dict(network.named_parameters()).keys()


def test_temperature_stays_within_its_limits(network):
    alignment = make(network)
    for given, kept in ((-1.0, 0.001), (3.0, 0.5), (0.2, 0.2)):
        nn.init.constant_(alignment.temperature, given)
        alignment.after_step(network)
        assert alignment.temperature.item() == pytest.approx(kept)


def test_queue_is_first_in_first_out():
    queue = Queue(5, 2)
    torch.testing.assert_close(queue.image.norm(dim=1), torch.ones(5))
    assert queue.identity.eq(-1).all()
    for start in (0, 3, 6):
        rows = torch.arange(start, start + 3).float()[:, None].expand(-1, 2)
        queue.push(rows, 10 * rows, rows.long())
    # 0..8 were pushed; the last five remain, each at its number modulo five
    assert queue.image[:, 0].tolist() == [5, 6, 7, 8, 4]
    assert queue.text[:, 1].tolist() == [50, 60, 70, 80, 40]
    assert queue.identity[:, 0].tolist() == [5, 6, 7, 8, 4]


def test_batch_larger_than_the_queue_is_refused():
    with pytest.raises(ValueError, match="queue_size must be at least the batch over all processes, 3, got 2"):
        Queue(2, 4).push(torch.ones(3, 4), torch.ones(3, 4), torch.ones(3, 2, dtype=torch.int64))


def test_a_batch_enters_the_queue_after_the_step_and_never_without_gradients(network):
    alignment = make(network)
    before = alignment.queue.image.clone()
    with torch.no_grad():
        losses(alignment, network, batch())
    alignment.after_step(network)
    assert torch.equal(alignment.queue.image, before)
    first = losses(alignment, network, batch())
    assert torch.equal(losses(alignment, network, batch())[0], first[0])
    alignment.after_step(network)
    image, _ = embeddings(network, batch())
    torch.testing.assert_close(alignment.queue.image[:2], image[2:])  # two calls, 8 pairs, 6 places
    assert alignment.queue.identity[:2, 0].tolist() == [2, 3]


def test_captions_are_the_same_but_for_case_and_white_space():
    ids = caption_ids(["A  cat", "a cat\n", "a cats", ""])
    assert ids.dtype == torch.int64
    assert ids[0] == ids[1]
    assert len(set(ids.tolist())) == 3
    a, b = torch.tensor([[1, 10], [2, 20]]), torch.tensor([[1, 99], [3, 20], [10, 1]])
    assert same_pair(a, b).tolist() == [[True, False, False], [False, True, False]]


def test_negatives_never_belong_together():
    same = torch.eye(4, dtype=torch.bool)
    same[0, 2] = same[2, 0] = True
    weights = torch.eye(4) + 1e-6  # by far the likeliest is what must not be drawn
    generator = torch.Generator().manual_seed(0)
    for _ in range(500):
        texts, images = mine_negatives(weights, weights, same, generator)
        assert not same[torch.arange(4), texts].any()
        assert not same[torch.arange(4), images].any()


def test_negatives_are_drawn_in_proportion_to_the_weights():
    text_weights = torch.tensor([[0.9, 0.6, 0.3, 0.1]]).expand(4, -1)
    same = torch.eye(4, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    draws = [mine_negatives(text_weights, text_weights.T, same, generator) for _ in range(2000)]
    texts = torch.stack([text for text, _ in draws])[:, 0].bincount(minlength=4)
    images = torch.stack([image for _, image in draws])[:, 3].bincount(minlength=4)
    for counts, weights in ((texts[1:], torch.tensor([0.6, 0.3, 0.1])), (images[:3], torch.ones(3))):
        expected = 2000 * (weights + 1e-4) / (weights + 1e-4).sum()
        assert float(((counts - expected) ** 2 / expected).sum()) < 13.82  # chi squared, 2 degrees, p = 0.001


def test_a_batch_without_negatives_has_positives_alone(network):
    texts, images = mine_negatives(
        torch.ones(2, 2), torch.ones(2, 2), torch.ones(2, 2, dtype=torch.bool), torch.Generator()
    )
    assert texts.tolist() == images.tolist() == [-1, -1]
    pairs = encode_pairs(network, batch(["cat", "cat"], groups=[0, 1]))
    logits = network.match_logits(pairs.tokens, pairs.mask, pairs.memory)
    expected = functional.cross_entropy(logits, torch.ones(2, dtype=torch.int64))
    torch.testing.assert_close(matching_loss(network, pairs, texts, images), expected)


def test_matching_loss_is_that_of_three_passes(network):
    pairs: Pairs = encode_pairs(network, batch())
    texts, images = torch.tensor([1, 0, 3, -1]), torch.tensor([2, 3, -1, 0])
    given, captions = batch()["image"], batch()["caption"]

    def log_probabilities(rows: list[tuple[int, int]], label: int) -> Tensor:
        probability = network.match(given[[image for image, _ in rows]], [captions[text] for _, text in rows])
        return torch.log(probability if label else 1 - probability)

    positive = log_probabilities([(i, i) for i in range(4)], 1)
    wrong_image = log_probabilities([(2, 0), (3, 1), (0, 3)], 0)
    wrong_text = log_probabilities([(0, 1), (1, 0), (2, 3)], 0)
    expected = -torch.cat([positive, wrong_image, wrong_text]).mean()
    torch.testing.assert_close(matching_loss(network, pairs, texts, images), expected, rtol=0, atol=1e-5)


def test_loss_at_the_start_is_near_that_of_chance(network):
    itc, itm = losses(make(network, temperature=0.5), network, batch())
    assert itc.item() == pytest.approx(math.log(10), abs=1.0)
    assert itm.item() == pytest.approx(math.log(2), abs=0.4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"momentum": 1.1}, r"momentum must be in \[0, 1\], got 1.1"),
        ({"queue_size": 0}, "queue_size must be at least 1"),
        ({"alpha": -0.1}, "alpha must be in"),
        ({"alpha_warmup_steps": -1}, "alpha_warmup_steps must be at least 0"),
        ({"temperature": 0.6}, r"temperature must be in \[0.001, 0.5\], got 0.6"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AlignmentConfig(**settings)
