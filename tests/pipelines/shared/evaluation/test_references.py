"""References: pictures and captions of the pack itself, changed as their kind says."""

from pathlib import Path
from typing import Any

import pytest
import torch

from metrics import clip_score, fid, reconstruction, retrieval
from pipelines.shared.evaluation import evidence as evidence_module
from pipelines.shared.evaluation.references import ReferenceEvidence
from pipelines.shared.evaluation.settings import ReferenceEntry
from pipelines.shared.evaluation.split import HeldOut
from pipelines.shared.features import FeatureStore
from tests.pipelines.shared.evaluation.fakes import SHADES, TwoTowers, run_of, write_pack


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evidence_module, "FeatureStore", lambda: FeatureStore(tmp_path / "store"))
    split = HeldOut.load(write_pack(tmp_path / "data" / "pack" / "web"), ("human",))

    def build(kind: str, **more: Any) -> ReferenceEvidence:
        settings = ReferenceEntry(
            kind=kind, pack="web", judge="j", metrics=("x",), **{"num_generated": 10, "image_px": 16} | more
        )
        return ReferenceEvidence(lambda: run_of(TwoTowers(), "j"), split, settings, seed=0)

    return build


def computed(metric: Any, evidence: ReferenceEvidence) -> dict[str, Any]:
    metric.update(**evidence.inputs(metric))
    return metric.compute()


def test_real_pictures_are_training_pictures(make) -> None:
    evidence = make("real")
    assert evidence.generated.shape == (10, 3, 16, 16)
    assert evidence.generated[:, 0, 0, 0].tolist() == [shade + 1 for shade in SHADES[:10]]
    config = fid.Config(detector="random-vgg", projection=2, min_samples_per_dim=1, num_groups=5)
    assert computed(fid.Metric(config), evidence)["fd_random-vgg_p2"].n == 10


def test_real_captions_fit_and_shuffled_ones_do_not(make) -> None:
    real = computed(clip_score.Metric(clip_score.Config()), make("real"))
    mixed = computed(clip_score.Metric(clip_score.Config()), make("shuffled"))
    assert real["clip_score"].value == pytest.approx(100, abs=1e-3)
    assert mixed["clip_score"].value < real["clip_score"].value - 10
    assert make("shuffled").captions[0] == f"grey {SHADES[len(SHADES) // 2]}"


def test_shuffled_retrieval_finds_nothing(make) -> None:
    found = computed(retrieval.Metric(retrieval.Config(recall_at=(1,))), make("shuffled"))
    assert found["text_to_image_recall@1"].value == 0


@pytest.mark.parametrize("kind", ["blurred", "compressed"])
def test_changed_pictures_are_near_the_real_ones(make, kind: str) -> None:
    evidence = make(kind)
    found = computed(reconstruction.Metric(reconstruction.Config()), evidence)
    assert found["psnr"].value > 30, "a grey square stays grey"
    assert evidence.generated.shape == (10, 3, 16, 16)


def test_blur_and_compression_change_a_picture_as_they_should(make) -> None:
    noise = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    blurred = make("blurred")._changed(noise)
    assert blurred.float().std() < 0.4 * noise.float().std()
    weak, strong = (make("compressed", jpeg_quality=quality)._changed(noise).float() for quality in (95, 5))
    assert (weak - noise.float()).abs().mean() < (strong - noise.float()).abs().mean()
    assert torch.equal(make("real")._changed(noise), noise)


def test_more_pictures_than_there_are(make) -> None:
    with pytest.raises(ValueError, match="num_generated must be at most the 11 pictures of the training split, got 12"):
        _ = make("real", num_generated=12).generated


def test_what_a_reference_cannot_give(make) -> None:
    with pytest.raises(ValueError, match=r"reconstructions needs a model with reconstruct; reference real"):
        make("real")["reconstructions"]
