"""Settings of the report."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportEntry:
    """The section `report`.

    Attributes:
        title: Heading of the page.
        columns: Score names that the page's tables show, in this order; the files list all of them.
        pairs: Evaluations that are compared sample by sample: what is compared with (web captions), and what is
            compared (bootstrapped captions).
        num_caption_examples: Pictures in the section on recaptioning.
        num_resamples: Bootstrap resamples of a paired difference.
    """

    title: str = "Vignette"
    columns: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    num_caption_examples: int = 24
    num_resamples: int = 1000

    def __post_init__(self) -> None:
        for pair in self.pairs:
            if len(pair) != 2:
                raise ValueError(f"pairs must be lists of two evaluations, got {pair!r}")
        if self.num_resamples < 100:
            raise ValueError(f"num_resamples must be at least 100, got {self.num_resamples}")
