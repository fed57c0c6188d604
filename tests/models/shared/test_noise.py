import torch

from models.shared.noise import batch_normal, sample_normal, seeded_by

CPU = torch.device("cpu")


def seeded(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_a_row_depends_on_its_generator_alone():
    together = sample_normal((3, 4), seeded(1, 2, 3), CPU)
    apart = torch.cat([sample_normal((3, 4), seeded(3), CPU), sample_normal((3, 4), seeded(1), CPU)])
    assert torch.equal(together[[2, 0]], apart)
    assert not torch.equal(together[0], together[1])


def test_batch_noise_is_standard_normal_and_repeats():
    noise = batch_normal((100, 1000), *seeded(0), CPU)
    assert noise.dtype == torch.float32
    assert abs(noise.mean().item()) < 0.02
    assert abs(noise.std().item() - 1) < 0.02
    assert torch.equal(noise, batch_normal((100, 1000), *seeded(0), CPU))


def test_dropout_follows_the_generator_and_leaves_the_global_state():
    dropout = torch.nn.Dropout(0.5)
    before = torch.get_rng_state()
    generator = seeded(5)[0]
    masks = []
    for _ in range(2):
        with seeded_by(generator, CPU):
            masks.append(dropout(torch.ones(1000)))
    with seeded_by(*seeded(5), CPU):
        again = dropout(torch.ones(1000))
    assert torch.equal(masks[0], again)
    assert not torch.equal(masks[0], masks[1])
    assert torch.equal(torch.get_rng_state(), before)
