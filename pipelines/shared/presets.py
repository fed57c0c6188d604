"""Published sets of filter rules, with their thresholds: DataComp's baselines, LAION's, Data-Juicer's.

A preset stands for rules as they could stand in `params.yaml`, so that every sample keeps its first reason and a single
rule can be replaced. Where a rule reads what no annotator here writes, the column or file is a setting without a
default. CLIP scores are columns of 100 times the cosine, as the annotator `clip_score` writes them.

Sources: Gadre et al. 2023 (DataComp), arXiv:2304.14108, section 3.4 and appendix, and its `baselines/apply_filter.py`;
Schuhmann et al. 2021 (LAION-400M), arXiv:2111.02114; Schuhmann et al. 2022 (LAION-5B), arXiv:2210.08402; Chen et al.
2023 (Data-Juicer), arXiv:2309.02033, and the defaults of its `config_all.yaml`.

Differs from DataComp in three things. A sample may have several captions: text rules and scores are of each, a sample
stays while one is left, and the top 30 % is of captions. Language is what the named column says. Words are what any
white space separates, where fastText's tokens, in the image-based filter alone, end at ASCII white space.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from pipelines.shared.params import build, suggestion

Rules = dict[str, dict[str, Any]]
LAION_MIN_CHARACTERS = 5
LAION_MIN_BYTES = 5000  # "5 KB"


class Preset(Protocol):
    """A set of rules with its settings."""

    def rules(self) -> Rules:
        """The rules by key."""
        ...


def score(column: str, scope: str = "caption", **limits: float) -> dict[str, Any]:
    """A rule on a numeric column."""
    return {"module": "score_threshold", "column": column, "scope": scope, **limits}


def english(column: str) -> dict[str, Any]:
    """The rule that the first language is English."""
    return {"module": "language", "languages": ("en",), "language_column": column}


@dataclass(frozen=True, kw_only=True, slots=True)
class DataCompBasic:
    """English, more than 2 words, more than 5 characters, shorter side >= 200 px, longer over shorter side <= 3."""

    language_column: str = "caption_language"

    def rules(self) -> Rules:
        """The rules by key."""
        return {
            "language": english(self.language_column),
            "words": score("caption_words", above=2),
            "characters": score("caption_characters", above=5),
            "side": {"module": "min_side", "min_side_px": 200},
            "aspect": {"module": "max_aspect", "max_aspect": 3.0},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class DataCompClipScore:
    """The 30 % of the highest CLIP ViT-L/14 scores of the whole pool; the other published choice is B/32 >= 0.25."""

    column: str
    top_frac: float = 0.3

    def rules(self) -> Rules:
        """The rules by key."""
        return {"score": score(self.column, top_frac=self.top_frac)}


@dataclass(frozen=True, kw_only=True, slots=True)
class DataCompTextBased:
    """English, and a word whose first WordNet synset is a class of ImageNet-21K, from a file of such words."""

    file: str
    sha256: str
    language_column: str = "caption_language"

    def rules(self) -> Rules:
        """The rules by key."""
        return {
            "language": english(self.language_column),
            "entity": {"module": "known_word", "file": self.file, "sha256": self.sha256},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class DataCompImageBased:
    """English, more than 1 word, more than 5 characters; a cluster that is nearest to a picture of ImageNet-1K.

    Attributes:
        cluster_column: Number of the nearest of the pool's 100,000 centroids, per sample.
        file: Numbers of the clusters that are kept, one a line.
        sha256: Digest of the file.
        language_column: Language of each caption.
    """

    cluster_column: str
    file: str
    sha256: str
    language_column: str = "caption_language"

    def rules(self) -> Rules:
        """The rules by key."""
        return {
            "language": english(self.language_column),
            "words": score("caption_words", above=1),
            "characters": score("caption_characters", above=5),
            "cluster": {"module": "listed", "column": self.cluster_column, "file": self.file, "sha256": self.sha256},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class DataCompImageBasedClipScore:
    """The intersection of the two (DataComp-1B): the threshold of the score is still that of the whole pool."""

    cluster_column: str
    file: str
    sha256: str
    column: str
    top_frac: float = 0.3
    language_column: str = "caption_language"

    def rules(self) -> Rules:
        """The rules by key."""
        image = DataCompImageBased(
            cluster_column=self.cluster_column,
            file=self.file,
            sha256=self.sha256,
            language_column=self.language_column,
        )
        return {**image.rules(), **DataCompClipScore(column=self.column, top_frac=self.top_frac).rules()}


@dataclass(frozen=True, kw_only=True, slots=True)
class DataCompLaion2B:
    """DataComp's reproduction of LAION-2B: English by gcld3, CLIP ViT-B/32 >= 0.28."""

    column: str
    language_column: str

    def rules(self) -> Rules:
        """The rules by key."""
        return {"language": english(self.language_column), "score": score(self.column, min_value=28.0)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Laion400M:
    """Captions of 5 characters or more, pictures of 5 KB or more, CLIP ViT-B/32 >= 0.3."""

    column: str

    def rules(self) -> Rules:
        """The rules by key."""
        return {**_laion_sizes(), "score": score(self.column, min_value=30.0)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Laion5B:
    """The same sizes; English with CLIP ViT-B/32 >= 0.28, other languages with multilingual CLIP >= 0.26.

    Attributes:
        column: CLIP ViT-B/32.
        multilingual_column: Multilingual CLIP.
        language_column: Language of each caption.
    """

    column: str
    multilingual_column: str
    language_column: str = "caption_language"

    def rules(self) -> Rules:
        """The rules by key."""
        is_english = english(self.language_column)
        others = {"module": "combination", "keep": "none", "rules": {"english": is_english}}
        routes = {
            "english": {"language": is_english, "score": score(self.column, min_value=28.0)},
            "others": {"language": others, "score": score(self.multilingual_column, min_value=26.0)},
        }
        either = {name: {"module": "combination", "keep": "all", "rules": rules} for name, rules in routes.items()}
        by_language = {"module": "combination", "keep": "any", "rules": either, "reason": "low_clip_score"}
        return {**_laion_sizes(), "score": by_language}


@dataclass(frozen=True, kw_only=True, slots=True)
class LaionAesthetics:
    """What LAION's aesthetic subsets ask for: probability of being unsafe < 0.5, of a watermark < 0.8."""

    unsafe_column: str
    watermark_column: str

    def rules(self) -> Rules:
        """The rules by key."""
        return {
            "unsafe": score(self.unsafe_column, "sample", below=0.5),
            "watermark": score(self.watermark_column, "sample", below=0.8),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class DataJuicerText:
    """Data-Juicer's defaults for texts; both ends of a range are kept.

    Differs from it: its share of alphanumeric characters counts white space in the total, ours does not, so that rule
    is left out, and so is that on the perplexity, which is of its own model; words are what white space separates.

    Attributes:
        language: What captions are in.
        flagged_file: Flagged words, one a line; without it that rule is left out.
        flagged_sha256: Digest of the file.
    """

    language: str = "en"
    flagged_file: str = ""
    flagged_sha256: str = ""
    LIMITS: ClassVar[Rules] = {
        "words": score("caption_words", min_value=10, max_value=10_000),
        "characters": score("caption_characters", min_value=10, max_value=10_000),
        "special": score("caption_special_frac", min_value=0.0, max_value=0.25),
        "character-repetition": score("caption_character_repetition", min_value=0.0, max_value=0.5),
        "word-repetition": score("caption_word_repetition", min_value=0.0, max_value=0.5),
    }

    def rules(self) -> Rules:
        """The rules by key."""
        rules = {
            **self.LIMITS,
            "language": {"module": "language", "languages": (self.language,), "min_confidence": 0.8},
        }
        if self.flagged_file:
            words = {"file": self.flagged_file, "sha256": self.flagged_sha256, "reason": "flagged_words"}
            rules["flagged"] = {"module": "listed_words", **words, "max_frac": 0.0045}
        return rules


@dataclass(frozen=True, kw_only=True, slots=True)
class DataJuicerImage:
    """Data-Juicer's defaults for pictures: sides of 200 to 5,000 px, shape from 1:3 to 3:1, CLIP ViT-B/32 >= 0.1."""

    column: str

    def rules(self) -> Rules:
        """The rules by key."""
        return {
            "width": score("width", "sample", min_value=200, max_value=5000),
            "height": score("height", "sample", min_value=200, max_value=5000),
            "aspect": {"module": "max_aspect", "max_aspect": 3.0},
            "score": score(self.column, min_value=10.0),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class DataJuicerVideo:
    """Data-Juicer's defaults for clips: 1,280 to 4,096 by 480 to 1,080 px, shape from 9:21 to 21:9, 0 to 10 s, motion.

    Attributes:
        motion_column: Mean length of the optical flow, >= 0.25 is kept (Farneback, 2 frames a second).
    """

    motion_column: str

    def rules(self) -> Rules:
        """The rules by key."""
        return {
            "width": score("width", "sample", min_value=1280, max_value=4096),
            "height": score("height", "sample", min_value=480, max_value=1080),
            "aspect": {"module": "max_aspect", "max_aspect": 21 / 9},
            "duration": score("duration_sec", "sample", min_value=0.0, max_value=10.0),
            "motion": score(self.motion_column, "sample", min_value=0.25, max_value=10_000.0),
        }


PRESETS: dict[str, type[Preset]] = {
    "datacomp-basic": DataCompBasic,
    "datacomp-clip-score": DataCompClipScore,
    "datacomp-text-based": DataCompTextBased,
    "datacomp-image-based": DataCompImageBased,
    "datacomp-image-based-clip-score": DataCompImageBasedClipScore,
    "datacomp-laion-2b": DataCompLaion2B,
    "laion-400m": Laion400M,
    "laion-5b": Laion5B,
    "laion-aesthetics": LaionAesthetics,
    "data-juicer-text": DataJuicerText,
    "data-juicer-image": DataJuicerImage,
    "data-juicer-video": DataJuicerVideo,
}


def preset_rules(chosen: Mapping[str, Mapping[str, Any]], where: str) -> Rules:
    """The rules of some presets by `<preset>-<rule>`.

    Args:
        chosen: Settings of each preset by its name.
        where: Their place in `params.yaml`, for messages.

    Raises:
        ValueError: There is no such preset, or a setting is unknown or missing.
    """
    found: Rules = {}
    for name in sorted(chosen):
        if name not in PRESETS:
            known = ", ".join(PRESETS)
            raise ValueError(
                f"params.yaml: {where}.{name} does not exist{suggestion(name, PRESETS)}; there are: {known}"
            )
        preset = build(PRESETS[name], chosen[name], f"{where}.{name}")
        found |= {f"{name}-{key}": rule for key, rule in preset.rules().items()}
    return found


def _laion_sizes() -> Rules:
    return {
        "characters": score("caption_characters", min_value=LAION_MIN_CHARACTERS),
        "bytes": score("num_bytes", "sample", min_value=LAION_MIN_BYTES),
    }
