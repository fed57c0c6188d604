"""Settings of the report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportEntry:
    """The section `report`.

    Attributes:
        title: Heading of the page.
        columns: Score names that the page's tables show, in this order; the files list all of them.
        pairs: Evaluations that are compared sample by sample: what is compared with (web captions), and what is
            compared (bootstrapped captions).
        orderings: Claims that values rise from one evaluation or recaption round to the next, by name; see
            `pipelines.shared.reporting.orderings`.
        licences: Licence of each source in words; a source that is not among them is shown as "not stated".
        num_caption_examples: Pictures in the section on recaptioning.
        num_sample_examples: Samples shown for each source that were kept, and for each reason that were removed.
        num_resamples: Bootstrap resamples of a paired difference.
    """

    title: str = "Vignette"
    columns: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    orderings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    licences: Mapping[str, str] = field(default_factory=dict)
    num_caption_examples: int = 24
    num_sample_examples: int = 6
    num_resamples: int = 1000

    def __post_init__(self) -> None:
        for pair in self.pairs:
            if len(pair) != 2:
                raise ValueError(f"pairs must be lists of two evaluations, got {pair!r}")
        for source, licence in self.licences.items():
            if not licence.strip() or not licence.isprintable():
                raise ValueError(f"licences.{source} must be printable text, got {licence!r}")
        for name in ("num_caption_examples", "num_sample_examples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.num_resamples < 100:
            raise ValueError(f"num_resamples must be at least 100, got {self.num_resamples}")
