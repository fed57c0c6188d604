import pytest
import torch
from torch import Tensor

from models.shared.blip_checkpoint import copy_text_tower
from models.shared.med import MED, MedConfig, select_rows
from models.shared.packaged import text_tower
from models.shared.vit import VisionTransformer

SIZES = {
    "vocab_size": 40,
    "width": 16,
    "num_layers": 2,
    "num_heads": 2,
    "mlp_width": 32,
    "image_width": 12,
    "max_positions": 10,
}
BERT_BASE = {
    "vocab_size": 30524,
    "width": 768,
    "num_layers": 12,
    "num_heads": 12,
    "mlp_width": 3072,
    "image_width": 768,
}


def tiny_med(**settings) -> MED:
    torch.manual_seed(0)
    med = MED(MedConfig(**{**SIZES, "dropout": 0.0, **settings}))
    with torch.no_grad():
        for parameter in med.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return med.eval()


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 40, (3, 6), generator=generator)
    mask = torch.arange(6) < torch.tensor([6, 4, 2])[:, None]
    return tokens, mask, torch.randn(3, 5, 12, generator=generator)


def reached(med: MED, states: Tensor) -> set[int]:
    """Parameters that a use of the network reaches, by where their data is."""
    gradients = torch.autograd.grad(states.square().sum(), list(med.parameters()), allow_unused=True)
    return {p.data_ptr() for p, g in zip(med.parameters(), gradients, strict=True) if g is not None}


def uses(med: MED) -> tuple[set[int], set[int]]:
    """What the image-grounded encoder and what the decoder (with its head) use."""
    tokens, mask, image = inputs()
    encoder = reached(med, med.encode_pair(tokens, mask, med.memories(image)[0]))
    return encoder, reached(med, med.logits(med.decode(tokens, med.memories(image)[1])))


@pytest.mark.parametrize(
    ("sharing", "millions", "total"),
    [
        ("all", 224, 224_075_070),
        ("all-but-self-attention", 252, 252_441_918),
        ("all-but-cross-attention", 252, 252_441_918),
        ("none", 361, 361_333_566),
    ],
)
def test_num_parameters_are_those_of_table_3(sharing, millions, total):
    with torch.device("meta"):
        med = MED(MedConfig(**BERT_BASE, sharing=sharing))
        vit = VisionTransformer(image_px=224, patch_px=16, width=768, num_layers=12, num_heads=12)
    heads = 2 * (768 * 256 + 256) + (2 * 768 + 2)
    count = sum(p.numel() for module in (med, vit) for p in module.parameters()) + heads
    assert count == total
    assert round(count / 1e6) == millions


def test_decoder_has_its_own_self_attention_and_shares_all_else():
    med = tiny_med()
    encoder, decoder = uses(med)
    own = {p.data_ptr() for layer in med.layers for p in layer.self_attention.of(decoder=True).parameters()}
    head = {p.data_ptr() for p in med.head.parameters()}
    assert decoder - encoder == own | head
    assert encoder - decoder == {
        p.data_ptr() for layer in med.layers for p in layer.self_attention.of(decoder=False).parameters()
    }
    assert med.embeddings.of(decoder=True).word.weight.data_ptr() in encoder & decoder


def test_sharing_decides_what_encoder_and_decoder_have_in_common():
    def common(sharing: str) -> set[str]:
        med = tiny_med(sharing=sharing)
        encoder, decoder = uses(med)
        names = {p.data_ptr(): name for name, p in med.named_parameters()}
        return {names[pointer].split(".")[2 if "layers" in names[pointer] else 0] for pointer in encoder & decoder}

    assert common("all") == {"embeddings", "self_attention", "cross_attention", "feed_forward"}
    assert common("all-but-self-attention") == {"embeddings", "cross_attention", "feed_forward"}
    assert common("all-but-cross-attention") == {"embeddings", "self_attention", "feed_forward"}
    assert common("none") == set()


def test_state_has_no_tensor_twice():
    pointers = [value.data_ptr() for value in tiny_med().state_dict().values()]
    assert len(pointers) == len(set(pointers))


def test_gradient_of_what_is_shared_is_the_sum_of_both_uses():
    med = tiny_med()
    tokens, mask, image = inputs()
    shared = med.layers[1].feed_forward.encoder.inner.weight

    def losses() -> tuple[Tensor, Tensor]:
        memory, decoder_memory = med.memories(image)
        encoded = med.encode_pair(tokens, mask, memory).square().mean()
        return encoded, med.logits(med.decode(tokens, decoder_memory)).square().mean()

    parts = [torch.autograd.grad(loss, shared, retain_graph=True)[0] for loss in losses()]
    (total,) = torch.autograd.grad(sum(losses()), shared)
    torch.testing.assert_close(total, parts[0] + parts[1])


def test_decoder_sees_no_later_token_and_encoder_sees_all():
    med = tiny_med()
    tokens, _, image = inputs()
    edited = tokens.clone()
    edited[:, 3] = (edited[:, 3] + 1) % 40
    mask = torch.ones_like(tokens, dtype=torch.bool)
    memory, decoder_memory = med.memories(image)
    with torch.no_grad():
        before, after = med.decode(tokens, decoder_memory), med.decode(edited, decoder_memory)
        assert torch.equal(before[:, :3], after[:, :3])
        assert ((before[:, 3:] - after[:, 3:]).abs().amax(dim=2) > 0).all()
        change = med.encode_pair(tokens, mask, memory) - med.encode_pair(edited, mask, memory)
    assert (change.abs().amax(dim=2) > 0).all()


def test_padding_changes_nothing():
    med = tiny_med()
    tokens, mask, image = inputs()
    memory, _ = med.memories(image)
    with torch.no_grad():
        text, pair = med.encode_text(tokens, mask), med.encode_pair(tokens, mask, memory)
        row = select_rows(memory, torch.tensor([2]))
        short, its_mask = tokens[2:, :2], mask[2:, :2]
        torch.testing.assert_close(med.encode_text(short, its_mask), text[2:, :2], rtol=0, atol=2e-6)
        torch.testing.assert_close(med.encode_pair(short, its_mask, row), pair[2:, :2], rtol=0, atol=2e-6)


def test_text_encoder_does_without_cross_attention():
    med = tiny_med()
    unimodal = tiny_med(unimodal=True)
    unimodal.load_state_dict({name: med.state_dict()[name] for name in unimodal.state_dict()})
    tokens, mask, _ = inputs()
    with torch.no_grad():
        assert torch.equal(unimodal.encode_text(tokens, mask), med.encode_text(tokens, mask))


@pytest.mark.parametrize("sharing", ["all-but-self-attention", "none"])
def test_cached_decoding_gives_the_states_of_one_pass(sharing):
    med = tiny_med(sharing=sharing)
    tokens, _, image = inputs()
    _, memory = med.memories(image)
    cache = []
    with torch.no_grad():
        whole = med.decode(tokens, memory)
        first = med.decode(tokens[:, :3], memory, cache)
        rest = [med.decode(tokens[:, i : i + 1], memory, cache) for i in (3, 4, 5)]
    torch.testing.assert_close(torch.cat([first, *rest], dim=1), whole, rtol=0, atol=3e-6)


def test_word_embedding_is_the_last_matrix_of_the_head():
    med = tiny_med()
    states = torch.randn(2, 16)
    before = med.logits(states)
    with torch.no_grad():
        med.embeddings.encoder.word.weight[7] += 1
    changed = (med.logits(states) - before).abs().amax(dim=0) > 0
    assert changed.nonzero().flatten().tolist() == [7]


def test_freezing_leaves_what_the_other_role_uses():
    med = tiny_med()
    encoder, decoder = uses(med)
    med.freeze_own(decoder=True)
    assert {p.data_ptr() for p in med.parameters() if p.requires_grad} == encoder
    med = tiny_med()
    encoder, decoder = uses(med)
    med.freeze_own(decoder=False)
    assert {p.data_ptr() for p in med.parameters() if p.requires_grad} == decoder


def test_starts_from_the_first_layers_of_the_packaged_encoder():
    tower = text_tower()
    med = MED(
        MedConfig(vocab_size=30524, width=384, num_layers=6, num_heads=12, mlp_width=1536, image_width=8, dropout=0.1)
    ).eval()
    copy_text_tower(tower, med)
    captions = ["a dog on the beach", "red"]
    tokens, mask = tower.token_ids(captions)
    with torch.no_grad():
        states = tower.token_states(*tower.token_ids(captions))
        torch.testing.assert_close(med.encode_text(tokens, mask)[mask], states[mask], rtol=0, atol=2e-5)
    for layer in med.layers:
        ours, its_own = (layer.self_attention.of(decoder=decoder).query.weight for decoder in (False, True))
        assert torch.equal(ours, its_own)
        assert ours.data_ptr() != its_own.data_ptr()


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="num_heads must be a divisor of width = 16, got 3"):
        tiny_med(num_heads=3)
    with pytest.raises(ValueError, match="sharing must be one of"):
        tiny_med(sharing="most")
