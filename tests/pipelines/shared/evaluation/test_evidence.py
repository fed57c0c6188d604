"""Evidence: complete, computed once, independent of batches, refused where the model cannot give it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from metrics import clip_score, fid, reconstruction, retrieval
from metrics.shared.detectors import DetectorSpec
from pipelines.shared.evaluation import evidence as evidence_module
from pipelines.shared.evaluation.evidence import Evidence
from pipelines.shared.evaluation.settings import EvaluationEntry
from pipelines.shared.evaluation.split import HeldOut, split_images
from pipelines.shared.features import FeatureStore
from tests.pipelines.shared.evaluation.fakes import SHADES, Copier, Painter, TwoTowers, Writer, run_of, write_pack


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evidence_module, "FeatureStore", lambda: FeatureStore(tmp_path / "store"))
    split = HeldOut.load(write_pack(tmp_path / "data" / "pack" / "web"), ("human",))

    def build(
        model: torch.nn.Module, batch_size: int = 3, judge: torch.nn.Module | None = None, **more: Any
    ) -> Evidence:
        settings = EvaluationEntry(
            model="m", pack="web", judge="j", metrics=("x",), num_generated=40, batch_size=batch_size, **more
        )
        return Evidence(run_of(model), lambda: run_of(judge or TwoTowers(), "j"), split, settings, seed=0)

    return build


def test_a_perfect_retriever_scores_one(make) -> None:
    metric = retrieval.Metric(retrieval.Config(recall_at=(1,)))
    metric.update(**make(TwoTowers()).inputs(metric))
    found = metric.compute()
    assert found["image_to_text_recall@1"].value == 1
    assert found["text_to_image_recall@1"].value == 1
    assert found["text_to_image_recall@1"].n == len(SHADES)


def test_embeddings_are_kept_in_the_store(make) -> None:
    first, second = TwoTowers(), TwoTowers()
    one = make(first)["image_embeddings"]
    two = make(second, batch_size=7)["image_embeddings"]
    assert torch.equal(one, two)
    assert first.calls == 4
    assert second.calls == 0, "the same weights and samples are not encoded twice"


def test_what_other_code_stored_is_not_used(make, monkeypatch) -> None:
    metric = fid.Metric(fid.Config(detector="random-vgg"))
    computed = []
    batched = Evidence._batched
    monkeypatch.setattr(Evidence, "_batched", lambda *args: computed.append(now) or batched(*args))
    for now in ("one", "one again", "two"):
        monkeypatch.setattr(evidence_module, "package_digest", lambda package, code=now[:3]: code)
        evidence = make(TwoTowers())
        evidence["image_embeddings"]
        evidence._reference_features(metric.detector)
    assert computed == ["one", "one", "two", "two"]


def test_captions_are_judged_by_the_judge(make) -> None:
    metric = clip_score.Metric(clip_score.Config())
    metric.update(**make(Writer()).inputs(metric))
    found = metric.compute()
    assert found["clip_score"].value == pytest.approx(100, abs=0.1)
    assert found["clip_score_gap"].low > 0


def test_generated_pictures_do_not_depend_on_batches(make) -> None:
    one, other = make(Painter(), batch_size=1), make(Painter(), batch_size=16)
    assert torch.equal(one.generated, other.generated)
    assert one.generated.shape == (40, 3, 8, 8)
    metric = clip_score.Metric(clip_score.Config())
    metric.update(**one.inputs(metric))
    assert metric.compute()["clip_score_gap"].low > 0
    assert one["pair_owner"][:4].tolist() == [0, 0, 1, 2]


def test_distance_uses_the_metrics_own_detector(make) -> None:
    metric = fid.Metric(fid.Config(detector="random-vgg", projection=2, min_samples_per_dim=1, num_groups=5))
    metric.update(**make(Painter()).inputs(metric))
    assert {"fd_random-vgg_p2", "fd_random-vgg_p2_unbiased"} <= set(metric.compute())


def test_reconstruction(make) -> None:
    evidence = make(Copier())
    assert torch.equal(evidence["images"], evidence["reconstructions"])
    assert reconstruction.Metric.inputs == ("images", "reconstructions")


def test_a_mismatch_names_both_sides(make) -> None:
    metric = fid.Metric(fid.Config())
    with pytest.raises(
        ValueError, match=r"generated_features needs a model with generate; m \(clip\) has encode_image"
    ):
        make(TwoTowers()).inputs(metric)


def test_features_of_training_pictures(make) -> None:
    spec = DetectorSpec(name="random-vgg")
    evidence = make(Painter())
    features = evidence._train_features(spec)
    assert features.shape == (len(SHADES), spec.num_features)
    assert not torch.equal(features, evidence._reference_features(spec))
    own = spec.load()(split_images(evidence.pack_folder, "train", 8))
    assert torch.allclose(features, own, atol=1e-5)


def test_training_pictures_must_be_those_of_the_model(make) -> None:
    evidence = make(Painter())
    evidence.run.pack = "other"
    with pytest.raises(ValueError, match="m was trained on other, pack is web"):
        evidence._train_features(DetectorSpec(name="random-vgg"))


def test_texts_of_a_captioner(make) -> None:
    evidence = make(Writer())
    assert evidence["written_captions"] == [f"grey {shade}" for shade in SHADES]
    assert evidence["reference_captions"][:3] == ["grey 0", "also 0", "grey 22"]
    assert evidence["text_owner"].tolist()[:3] == [0, 0, 1]


def test_a_prefix_goes_to_the_judge(make) -> None:
    heard: list[str] = []

    class Judge(TwoTowers):
        def encode_text(self, captions: list[str]) -> torch.Tensor:
            heard.extend(captions)
            return super().encode_text(captions)

    metric = clip_score.Metric(clip_score.Config())
    metric.prefix = "A photo depicts "
    make(Writer(), judge=Judge()).inputs(metric)
    assert heard and all(text.startswith("A photo depicts grey ") for text in heard)


def test_classes(make) -> None:
    evidence = make(TwoTowers(), classes={"0": r"\b0\b", "220": r"\b220\b"}, class_prompts=("grey {}", "also {}"))
    assert evidence["image_class"].tolist() == [0, *[-1] * 9, 1]
    expected = torch.nn.functional.normalize(TwoTowers.turn(torch.tensor([0.0, 220.0])), dim=1)
    assert torch.allclose(evidence["class_embeddings"], expected, atol=1e-6)


def test_a_sample_of_two_classes_has_none(make) -> None:
    evidence = make(TwoTowers(), classes={"0": "grey", "1": "also"})
    assert evidence["image_class"][0] == -1 and evidence["image_class"][1] == 0


def test_one_class_is_no_classification(make) -> None:
    with pytest.raises(ValueError, match=r"needs at least 2 classes, got \{'a': 'b'\}"):
        make(TwoTowers(), classes={"a": "b"})["class_embeddings"]


def test_likelihoods_and_codes(make) -> None:
    one, other = make(Copier(), batch_size=1), make(Copier(), batch_size=16)
    assert torch.equal(one["log_likelihoods"], other["log_likelihoods"])
    assert one["log_likelihoods"].dtype == torch.float64
    moved = make(Copier(), likelihood={"offset": 1000.0})["log_likelihoods"] - one["log_likelihoods"]
    assert torch.allclose(moved, torch.full_like(moved, 1000), atol=1e-3)
    assert one["num_values"].tolist() == [3 * 64] * len(SHADES)
    assert one["codes"][:, 0].tolist() == list(SHADES) and one["codebook_size"].tolist() == [256]
