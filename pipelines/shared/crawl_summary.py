"""What a crawl says at its end: a table of where its links went, and what to do where many were lost."""

from collections.abc import Iterator

from pipelines.shared.manifests import Counts
from pipelines.shared.reasons import FAILED, REJECTED

ADVICE_FRAC = 0.01
ADVICE = {
    "contact_missing": "set crawl.contact to a URL or mail address of yours",
    "url_refused": "plain http(s) URLs on ports 80 and 443 are taken; a row's url and error_message say what is wrong",
    "addr_refused": "only hosts with public addresses are asked; a folder of this machine is crawled by `serve`",
    "robots_denied": "leave these sites out, or ask their owners; error_message says where robots.txt was not readable",
    "optout": "their owners reserve them: leave them out",
    "no_caption": "captions are `alt`, `title` and `figcaption` of a page, or `caption_columns` of a list",
    "type_refused": "JPEG, PNG, GIF, WebP and MP4 are taken",
    "dns_error": "these names are gone, or this machine's resolver is slow or cut off",
    "connect_error": "see whether this machine reaches the web; proxies are not used",
    "http_401": "they ask for a login, which a crawl does not have",
    "http_403": "their owners keep robots out, or the links have expired",
    "http_404": "these links are dead; `vignette refresh` finds new ones",
    "http_429": "raise delay_sec of the source",
    "deadline": "raise crawl.fetch.deadline_sec if they are worth the wait",
    "host_suspended": "run it again later, or raise delay_sec of the source",
    "internal_error": "a mistake of ours: please report the line in the log",
}


def crawl_table(counts: Counts, where: str) -> str:
    """A line for what was kept and for every reason, with counts and shares, the largest first; then advice."""
    lost = _lost(counts)
    lines = [f"{where}: {counts.num_in} links", _line(counts.kept, counts, "kept", "")]
    lines += [_line(number, counts, reason, _meaning(reason)) for reason, number in lost]
    many = [reason for reason, number in lost if not counts.kept or number >= ADVICE_FRAC * counts.num_in]
    return "\n".join([*lines, *(f"  {reason}: {advice}" for reason, advice in _advice(many))])


def losses(counts: Counts, warn_frac: float) -> str:
    """What is wrong with a crawl that kept nothing, or of which more than a share was rejected; empty if it is fine."""
    rejected = sum(counts.rejected.values())
    worst = ", ".join(f"{reason} {number}" for reason, number in _lost(counts))
    if counts.num_in and not counts.kept:
        return f"none of {counts.num_in} links was kept: {worst}"
    if counts.num_in and rejected > warn_frac * counts.num_in:
        worst = ", ".join(f"{reason} {number}" for reason, number in _lost(counts) if reason in counts.rejected)
        return f"{rejected} of {counts.num_in} links were rejected, more than warn_rejected_frac = {warn_frac}: {worst}"
    return ""


def first_advice(counts: Counts) -> str:
    """What to do about the largest loss that there is advice on; empty for none."""
    advice = next(_advice([reason for reason, _ in _lost(counts)]), None)
    return f"{advice[0]}: {advice[1]}" if advice else ""


def _lost(counts: Counts) -> list[tuple[str, int]]:
    return sorted({**counts.rejected, **counts.failed}.items(), key=lambda each: (-each[1], each[0]))


def _line(number: int, counts: Counts, reason: str, meaning: str) -> str:
    share = number / counts.num_in if counts.num_in else 0.0
    return f"{number:>10}  {share:>6.1%}  {reason:<20}{meaning}".rstrip()


def _meaning(reason: str) -> str:
    kind = reason.split(":")[0]
    kind = "http" if kind.startswith("http_") else kind
    return f"rejected: {REJECTED[kind]}" if kind in REJECTED else f"failed: {FAILED[kind]}"


def _advice(reasons: list[str]) -> Iterator[tuple[str, str]]:
    kinds = dict.fromkeys(reason.split(":")[0] for reason in reasons)
    return ((kind, ADVICE[kind]) for kind in kinds if kind in ADVICE)
