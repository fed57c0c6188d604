"""Which texts of a picture or clip are kept, by scores that a recaption round has stored.

Source: Li et al. 2022 (BLIP), arXiv:2201.12086, section 3.3: a text stays where the matcher's probability reaches a
threshold, 0.5 in the paper. Ranking by CLIP is as for BLIP-2 (Li et al. 2023, arXiv:2301.12597, section 3.4: of the web
caption and ten synthetic ones the two best are kept) and for LAION-COCO.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def decide(
    candidates: Sequence[Mapping[str, Any]], threshold: float, best_by_clip: int = 0, ranked: Collection[str] = ()
) -> list[bool]:
    """Which texts of one sample are kept.

    Captions of people always are. A web or synthetic text needs a match of at least the threshold; of those whose
    origin is ranked the best by CLIP are taken, the earlier of two equal ones first.

    Args:
        candidates: Each with `origin` and `scores`, which has `match` and `clip` where it was judged.
        threshold: Least match probability.
        best_by_clip: Most ranked texts; 0 for all.
        ranked: Origins that are ranked.
    """
    passed = [each["origin"] == "human" or each["scores"].get("match", -1.0) >= threshold for each in candidates]
    if best_by_clip:
        rivals = [row for row, each in enumerate(candidates) if passed[row] and each["origin"] in ranked]
        rivals.sort(key=lambda row: -candidates[row]["scores"]["clip"])
        for row in rivals[best_by_clip:]:
            passed[row] = False
    return passed
