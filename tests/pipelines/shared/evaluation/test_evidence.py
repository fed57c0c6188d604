"""Evidence: complete, computed once, independent of batches, refused where the model cannot give it."""

from pathlib import Path

import pytest
import torch

from metrics import clip_score, fid, reconstruction, retrieval
from pipelines.shared.evaluation import evidence as evidence_module
from pipelines.shared.evaluation.evidence import Evidence
from pipelines.shared.evaluation.settings import EvaluationEntry
from pipelines.shared.evaluation.split import HeldOut
from pipelines.shared.features import FeatureStore
from tests.pipelines.shared.evaluation.fakes import SHADES, Copier, Painter, TwoTowers, Writer, run_of, write_pack


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evidence_module, "FeatureStore", lambda: FeatureStore(tmp_path / "store"))
    split = HeldOut.load(write_pack(tmp_path / "pack"), ("human",))

    def build(model: torch.nn.Module, batch_size: int = 3, judge: torch.nn.Module | None = None) -> Evidence:
        settings = EvaluationEntry(
            model="m", pack="web", judge="j", metrics=("x",), num_generated=40, batch_size=batch_size
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
    assert set(metric.compute()) == {"fd_random-vgg_p2", "fd_random-vgg_p2_unbiased"}


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
