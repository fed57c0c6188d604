import logging

import pytest
import torch

from pipelines.shared.stage import StageRun
from pipelines.shared.training.columns import DecodedImages, StoredRows
from pipelines.shared.training.distributed import World
from pipelines.shared.training.prepare import Inputs, build_job, build_model
from pipelines.shared.training.settings import read_plan

CPU = torch.device("cpu")


@pytest.fixture
def inputs(project, params):
    def make(module, **settings):
        run = StageRun(stage="train", key="tested", params=params(module, **settings))
        return Inputs.read(read_plan(run.params, run.key), run.seed)

    return make


@pytest.mark.parametrize(
    ("module", "settings", "message"),
    [
        ("fake_plain", {"pack": "clips"}, "fake_plain reads images, and the pack clips has videos"),
        ("fake_video", {}, "fake_video reads videos, and the pack small has images"),
        ("fake_plain", {"captions": {}}, "reads captions: name their origins"),
        ("fake_gan", {}, "reads no captions: leave it out"),
        ("fake_frozen", {"flip": True}, "reads stored features of pixels"),
        ("fake_plain", {"batch_size": 64}, "batch_size is 64, but the pack small has 21 training samples"),
        ("fake_plain", {"captions": {"synthetic": 1}}, "has 0 training samples that fake_plain can use"),
    ],
)
def test_what_does_not_fit_is_refused(make_job, module, settings, message):
    with pytest.raises(ValueError, match=message):
        make_job(module, **settings)


def test_a_pack_that_was_not_made(inputs):
    with pytest.raises(ValueError, match="has not run"):
        inputs("fake_plain", pack="missing")


def test_batch_is_cut_evenly(inputs, tmp_path):
    with pytest.raises(ValueError, match="multiple of accumulation times processes = 6"):
        build_job(inputs("fake_plain", accumulation=2), World(CPU, 0, 3), tmp_path)


def test_no_validation_samples_is_said(make_job, caplog):
    with caplog.at_level(logging.WARNING, "vignette.train"):
        job = make_job("fake_plain", captions={"web": 1, "human": 1}, validate_every=0)
    assert job.validation is None
    assert not caplog.records


def test_validation_without_captions_is_said(make_job, caplog, project, write_pack):
    write_pack(project / "data/pack/small", {"train": 27, "val": 1}, first=0)
    write_pack(project / "data/pack/bare", {"val": 0, "train": 27})
    with caplog.at_level(logging.WARNING, "vignette.train"):
        assert make_job("fake_plain", pack="bare").validation is None
    assert "no validation samples" in caplog.text


def test_initial_weights_depend_on_seed_alone(inputs):
    def weights(**settings):
        return build_model(inputs("fake_plain", **settings), CPU).state_dict()

    first = weights()
    torch.manual_seed(99)
    assert all(torch.equal(value, first[name]) for name, value in weights(batch_size=4).items())
    assert not torch.equal(weights(seed=1)["encoder.weight"], first["encoder.weight"])


def test_identity_tells_runs_apart(inputs, project, write_pack):
    def identity(size=1, **settings):
        return inputs("fake_plain", **settings).identity(World(CPU, 0, size))

    plain = identity()
    assert plain == identity(num_workers=2, checkpoint_every_sec=0.5)
    others = [
        identity(ema=0.9),
        identity(seed=1),
        identity(captions={"web": 1}),
        identity(config={"width": 5}),
        identity(size=2),
    ]
    write_pack(project / "data/pack/small", {"train": 26, "val": 7})
    others.append(identity())
    assert all(other != plain for other in others)
    assert len({repr(other) for other in others}) == len(others)


def test_pixels_are_cached_for_models_that_read_them(make_job):
    assert isinstance(make_job("fake_plain").train.rows.columns["image"], StoredRows)
    assert isinstance(make_job("fake_plain", pixel_cache_bytes=0).train.rows.columns["image"], DecodedImages)


def test_batches_have_what_the_model_reads_and_nothing_else(make_job):
    (batch,) = list(make_job("fake_plain").train.batches(0, 1))
    assert set(batch) == {"image", "caption", "group"}
    assert batch["image"].shape == (8, 3, 8, 8)
    assert batch["image"].dtype == torch.float32
    assert -1 <= float(batch["image"].min()) < float(batch["image"].max()) <= 1
    assert batch["group"].dtype == torch.int64
    (batch,) = list(make_job("fake_video", pack="clips", batch_size=4).train.batches(0, 1))
    assert set(batch) == {"video", "frame_mask", "caption", "group"}
    assert batch["frame_mask"].any(dim=1).all()


def test_captions_are_of_the_listed_origins(make_job):
    job = make_job("fake_plain", captions={"human": 1})
    texts = {text for batch in job.train.batches(0, 4) for text in batch["caption"]}
    assert texts
    assert all(text.startswith("human") for text in texts)


def test_channels_last(make_job):
    job = make_job("fake_plain", channels_last=True)
    assert job.model.encoder.weight.is_contiguous()
