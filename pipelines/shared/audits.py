"""A recaption round's audit of itself, `audit.json`: the matcher on planted captions, and what was rejected.

What is planted: `pipelines.shared.auditing`. Intervals are Clopper and Pearson's, of 95%, as if each text were an
independent trial. The file stands beside the manifest and is not listed in it, because captions do not depend on it; it
holds its own digest.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipelines.shared.documents import open_sealed

AUDIT = "audit.json"
CONFIDENCE = 0.95


def read_audit(folder: Path) -> dict[str, Any] | None:
    """The audit of a round; None for one that was made without.

    Raises:
        ValueError: The file is not as it was written.
    """
    path = folder / AUDIT
    return open_sealed(path) if path.is_file() else None


def audit_summary(results: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """The audit of a round from the results of its shards.

    Args:
        results: For each shard its split and its result (`RecaptionShard`).

    Returns:
        `planted`, by split: `num_samples`, `precision`, `recall`, `false_acceptance`; and `rejected`, by origin and,
        of synthetic texts, by captioner: each share with its interval and `n`, null where there is nothing to count.
    """
    splits: dict[str, dict[str, int]] = {}
    judged: dict[str, dict[str, int]] = {"by_origin": {}, "by_captioner": {}}
    kept: dict[str, dict[str, int]] = {"by_origin": {}, "by_captioner": {}}
    for split, result in results:
        _add(splits.setdefault(split, {}), result["audit"])
        for name, counts in (("by_origin", result["texts"]), ("by_captioner", result["writers"])):
            _add(judged[name], counts["judged"])
            _add(kept[name], counts["kept"])
    rejected = {
        name: {
            key: proportion(count - kept[name].get(key, 0), count)
            for key, count in sorted(judged[name].items())
            if key != "human"
        }
        for name in judged
    }
    return {"planted": {split: _planted(counts) for split, counts in splits.items()}, "rejected": rejected}


def _planted(counts: Mapping[str, int]) -> dict[str, Any]:
    num_samples, right, wrong = counts["judged"], counts["right_accepted"], counts["wrong_accepted"]
    return {
        "num_samples": num_samples,
        "precision": proportion(right, right + wrong),
        "recall": proportion(right, num_samples),
        "false_acceptance": proportion(wrong, num_samples),
    }


def _add(target: dict[str, int], counts: Mapping[str, int]) -> None:
    for key, count in counts.items():
        target[key] = target.get(key, 0) + count


def proportion(count: int, n: int) -> dict[str, Any] | None:
    """A share with its exact 95% interval; None of nothing."""
    from scipy.stats import binomtest

    if not n:
        return None
    interval = binomtest(count, n).proportion_ci(CONFIDENCE, "exact")
    return {"value": count / n, "low": float(interval.low), "high": float(interval.high), "n": n}
