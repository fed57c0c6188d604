"""Parts of the queries."""

import json
from pathlib import Path

import numpy as np
import pytest

from metrics.shared.bootstrap import Resampling, resampled_means
from pipelines.shared.comparing import Scored
from pipelines.shared.reporting.breakdown import breakdowns
from pipelines.shared.reporting.comparable import Comparable, comparable
from tests.pipelines.shared.reporting.world import FD, RECALL, scored, write_scored

RESAMPLING = Resampling(num_resamples=200, seed=1)


def group_of(*models: Scored, metric: str = "retrieval") -> Comparable:
    return next(group for group in comparable(models) if group.metric == metric)


def test_parts_have_the_means_of_their_queries(tmp_path: Path) -> None:
    models = [scored("a", recall=0.3), scored("b", recall=0.7), scored("noise", about={"reference": "shuffled"})]
    for each in models:
        write_scored(tmp_path, each)
    (found,) = breakdowns(group_of(*models), (RECALL, FD), tmp_path / "data" / "evaluate", RESAMPLING)
    assert [(part.facet, part.name, part.n) for part in found.parts] == [
        ("caption origin", "human", 20),
        ("caption origin", "web", 20),
        ("source", "site", 32),
        ("source", "tiny", 8),
    ]
    assert [(name, is_reference) for name, is_reference, _ in found.lines] == [("a", 0), ("b", 0), ("noise", 1)]
    hits = models[0].values[f"retrieval/{RECALL}"]
    human, web, site, tiny = found.lines[0][2]
    assert human and web and site
    assert (human.value, web.value, site.value) == (hits[1::2].mean(), hits[::2].mean(), hits[:32].mean())
    assert tiny is None, "8 samples are too few"
    assert human.n == 20
    expected = np.quantile(resampled_means(hits[1::2], np.arange(20), RESAMPLING), (0.025, 0.975))
    assert (human.low, human.high) == pytest.approx(tuple(expected))


def test_captions_of_one_sample_are_resampled_together(tmp_path: Path) -> None:
    """Two captions of each sample that are always hit alike: as many samples, no more evidence."""
    each = scored("a", recall=0.5)
    hits, owner = np.repeat(each.values[f"retrieval/{RECALL}"], 2), np.repeat(np.arange(40), 2)
    values = {f"retrieval/{RECALL}": hits, "retrieval/text_to_image_owner": owner}
    write_scored(tmp_path, Scored(key="a", document=each.document, values=values))
    path = tmp_path / "data" / "evaluate" / "a" / "samples.json"
    document = json.loads(path.read_text())
    document["captions"] = [{"owner": int(row), "origin": "human"} for row in owner]
    path.write_text(json.dumps(document))
    two = Scored(key="a", document=each.document, values=values)
    (found,) = breakdowns(group_of(two), (RECALL,), tmp_path / "data" / "evaluate", RESAMPLING)
    assert [part.facet for part in found.parts] == ["source", "source"], "one origin says nothing"
    site = found.lines[0][2][0]
    assert site and site.n == 32
    once = np.quantile(resampled_means(hits[:64:2], np.arange(32), RESAMPLING), (0.025, 0.975))
    assert (site.low, site.high) == pytest.approx(tuple(once))


def test_an_empty_part_has_an_interval_with_a_width(tmp_path: Path) -> None:
    each = scored("a", recall=0.0)
    write_scored(tmp_path, each)
    (found,) = breakdowns(group_of(each), (RECALL,), tmp_path / "data" / "evaluate", RESAMPLING)
    assert found.lines[0][2][0] and found.lines[0][2][0].high > 0.1


def test_only_retrieval(tmp_path: Path) -> None:
    assert breakdowns(group_of(scored("a"), metric="distance"), (FD,), tmp_path, RESAMPLING) == []
