"""What counts as new, changed, gone, unchanged; and what `sources.lock` says after it."""

import asyncio
import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.shared.answers import FetchError, Held
from pipelines.shared.fetch import Response
from pipelines.shared.known import RefreshNotes
from pipelines.shared.lock import LocalState
from pipelines.shared.reasons import LinkError
from pipelines.shared.records import Caption, Link
from pipelines.shared.refreshing import Comparison, Refresher, Summary, joined, noted_entry
from pipelines.shared.robots import UNREAD
from pipelines.shared.serve import ServedFiles

URL = "http://a.com/x.png"
BODY, OTHER = b"body", b"other body"
SHA, OTHER_SHA = (hashlib.sha256(body).hexdigest() for body in (BODY, OTHER))
TODAY = datetime.date(2030, 1, 2)
STATE = LocalState()
BAR = SimpleNamespace(update=lambda: None)


def link(url: str = URL, text: str = "a text", **changes: Any) -> Link:
    captions = (Caption(text=text, origin="web", place="alt"),) if text else ()
    return Link(**{"url": url, "captions": captions, "page_url": "p", **changes})


def row(key: str = "k", **changes: Any) -> dict[str, Any]:
    captions = [{"text": "a text", "origin": "web", "place": "alt", "model_sha256": "", "scores": []}]
    values = {"key": key, "url": URL, "page_url": "p", "captions": captions, "optout": "", "reason": ""}
    values |= {"error_message": "", "http_status": 200, "final_url": URL, "sha256": SHA, "etag": '"1"'}
    return {**values, "last_modified": "", **changes}


def lost(reason: str, message: str = "", http_status: int | None = None, **changes: Any) -> dict[str, Any]:
    final_url = URL if http_status else ""
    values = {"reason": reason, "error_message": message, "http_status": http_status, "final_url": final_url}
    return row(**{**values, "sha256": "", "etag": "", **changes})


class FakeFetcher:
    """Gives one answer to everything."""

    def __init__(self, answer: Response | LinkError | None) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Held]] = []

    async def get_media(self, url: str, held: Held) -> Response:
        self.asked.append((url, held))
        if isinstance(self.answer, LinkError):
            raise self.answer
        assert self.answer is not None, f"{url} should not be asked for"
        return self.answer


def answer(body: bytes = BODY, final_url: str = URL, etag: str = '"1"', **changes: Any) -> Response:
    return Response(final_url=final_url, body=body, content_type="", etag=etag, **changes)


def refusal(reason: str, status: int = 0, message: str = "") -> FetchError:
    return FetchError(reason, message, http_status=status, final_url=URL if status else "")


UNCHANGED = answer(b"", is_unchanged=True)


def compare(
    links: Sequence[tuple[str, Link]], rows: Sequence[dict], fetcher: Any, served: Any = None, **more: Any
) -> Comparison:
    return asyncio.run(Refresher(fetcher, served, more.pop("noted", {}), **more).compare(links, rows, BAR))


@pytest.mark.parametrize(
    ("before", "now", "category", "is_reached"),
    [
        (row(), UNCHANGED, "unchanged", True),
        (row(), answer(), "unchanged", True),
        (row(), answer(etag='"2"'), "unchanged", True),
        (row(), answer(OTHER), "changed", True),
        (row(), refusal("http_404", 404), "gone", True),
        (row(), refusal("http_410", 410), "gone", True),
        (row(), refusal("http_403", 403), "unchanged", False),
        (row(), refusal("http_503", 503), "unchanged", False),
        (row(), refusal("deadline"), "unchanged", False),
        (row(), LinkError("dns_error"), "unchanged", False),
        (row(), LinkError("robots_denied", "disallowed by robots.txt"), "changed", True),
        (row(), LinkError("robots_denied", UNREAD), "unchanged", False),
        (row(), refusal("optout:noai", 200), "changed", True),
        (row(), refusal("type_refused", 200), "changed", True),
        (row(reason="decode_error", error_message="bad"), answer(), "unchanged", True),
        (lost("http_404", http_status=404), refusal("http_404", 404), "unchanged", True),
        (lost("http_404", http_status=404), answer(), "changed", True),
        (lost("http_403", http_status=403), refusal("http_403", 403), "unchanged", True),
        (lost("deadline"), refusal("deadline"), "unchanged", False),
        (lost("deadline"), answer(), "changed", True),
        (lost("host_suspended"), answer(), "changed", True),
        (lost("contact_missing", "m"), LinkError("contact_missing", "m"), "unchanged", True),
        (lost("type_refused", "m", 200), refusal("type_refused", 200, "m"), "unchanged", True),
    ],
)
def test_answers(before: dict, now: Response | LinkError, category: str, is_reached: bool) -> None:
    found = compare([("k", link())], [before], FakeFetcher(now))
    assert +found.counts == ({category: 1} if is_reached else {category: 1, "not_reached": 1})
    assert [difference[:2] for difference in found.differences] == (
        [] if category == "unchanged" else [["k", category]]
    )


def test_what_is_asked_for_and_what_is_learnt() -> None:
    fetcher = FakeFetcher(answer(final_url="http://b.com/", etag='"2"'))
    found = compare([("k", link())], [row(last_modified="then")], fetcher)
    assert fetcher.asked == [(URL, Held(final_url=URL, etag='"1"', last_modified="then"))]
    answers = found.answers["k"]
    assert (answers["final_url"], answers["etag"], answers["last_modified"]) == ("http://b.com/", '"2"', "")
    assert compare([("k", link())], [row()], FakeFetcher(UNCHANGED)).answers == {}
    fetcher = FakeFetcher(answer())
    compare([("k", link())], [lost("deadline", etag='"1"')], fetcher)
    assert fetcher.asked == [(URL, Held())], "without its body an answer is of no use"


def test_a_second_refresh_asks_with_what_the_first_one_saw() -> None:
    first = compare([("k", link())], [row()], FakeFetcher(answer(OTHER, etag='"2"')))
    assert first.answers["k"]["sha256"] == OTHER_SHA
    for now in (answer(b"", is_unchanged=True, etag='"2"'), answer(OTHER, etag='"2"'), refusal("deadline")):
        fetcher = FakeFetcher(now)
        second = compare([("k", link())], [row()], fetcher, noted=first.answers)
        assert fetcher.asked[0][1].etag == '"2"'
        assert (second.differences, second.answers) == (first.differences, first.answers)
    back = compare([("k", link())], [row()], FakeFetcher(answer()), noted=first.answers)
    assert back.differences == [] and back.counts["unchanged"] == 1


@pytest.mark.parametrize(
    ("found", "before", "category"),
    [
        (link(text="other"), row(), "changed"),
        (link(page_url="q"), row(), "changed"),
        (link(optout="noai"), row(), "changed"),
        (link(text=""), row(), "changed"),
        (link(text=""), lost("no_caption", captions=[]), "unchanged"),
        (link(), lost("no_caption", captions=[]), "changed"),
        (link(optout="noai"), lost("optout:noai", optout="noai"), "unchanged"),
        (link(), lost("optout:noai", optout="noai"), "changed"),
    ],
)
def test_what_was_found_beside_a_link(found: Link, before: dict, category: str) -> None:
    """Nothing is asked for where the crawl would not ask, or will fetch in any case."""
    is_asked_for = bool(found.captions) and not found.optout and bool(before["sha256"])
    fetcher = FakeFetcher(UNCHANGED if is_asked_for else None)
    assert +compare([("k", found)], [before], fetcher).counts == {category: 1}


def test_new_and_gone_links_are_not_asked_for() -> None:
    found = compare([("a", link()), ("c", link())], [row("b"), row("c")], FakeFetcher(UNCHANGED))
    assert +found.counts == {"new": 1, "gone": 1, "unchanged": 1} and found.num_links == 2
    assert [difference[:2] for difference in found.differences] == [["a", "new"], ["b", "gone"]]
    lacking = compare([("a", link())], [row("b")], FakeFetcher(None), may_lack=True)
    assert +lacking.counts == {"new": 1, "unchanged": 1, "not_reached": 1}, "its page could not be read"


def test_a_host_in_trouble_is_left_alone() -> None:
    class Slow(FakeFetcher):
        async def get_media(self, url: str, held: Held) -> Response:
            self.asked.append((url, held))
            if "bad" in url:
                raise LinkError("connect_error")
            return UNCHANGED

    fetcher = Slow(None)
    refresher = Refresher(fetcher, None, {})  # type: ignore[arg-type]

    async def one_after_another() -> list[Any]:
        hosts = ["bad.com"] * 20 + ["good.com"] * 3
        return [await refresher._seen("k", link(f"http://{host}/x"), row()) for host in hosts]

    seen = asyncio.run(one_after_another())
    assert [each.is_reached for each in seen] == [False] * 20 + [True] * 3
    assert sum("bad" in url for url, _ in fetcher.asked) == 5


@pytest.mark.parametrize(
    ("content", "before", "category"),
    [
        (BODY, row(), "unchanged"),
        (OTHER, row(), "changed"),
        (None, row(), "gone"),
        (BODY, row(reason="decode_error"), "unchanged"),
    ],
)
def test_the_served_site_is_compared_by_digests(
    tmp_path: Path, content: bytes | None, before: dict, category: str
) -> None:
    if content is not None:
        (tmp_path / "x.png").write_bytes(content)
    served = ServedFiles(tmp_path, {})
    url = "http://localhost/x.png"
    found = compare([("k", link(url))], [before | {"url": url}], FakeFetcher(None), served)
    assert +found.counts == {category: 1}
    assert found.differences == [] and found.answers == {}, "the folder's digest says it already"
    lost_before = lost("type_refused", "m", 200, url=url)
    asked = FakeFetcher(refusal("type_refused", 200, "m"))
    assert +compare([("k", link(url))], [lost_before], asked, served).counts == {"unchanged": 1}
    assert len(asked.asked) == 1, "a row without a digest can only be asked for"


def test_joined() -> None:
    pairs = list(joined([("a", link("1")), ("c", link("2"))], [row("b"), row("c")]))
    assert [(key, left and left.url, right and right["key"]) for key, left, right in pairs] == [
        ("a", "1", None),
        ("b", None, "b"),
        ("c", "2", "c"),
    ]


CHANGED = Comparison(differences=[["k", "gone"]], num_links=7)
SAME = Comparison(num_links=8)


def test_entries() -> None:
    before = {"local": {}, "day": "2029-01-01"}
    basis = RefreshNotes(basis="crawl")
    assert noted_entry(None, STATE, CHANGED, basis, TODAY) == ({"local": {}, "day": "2030-01-02"}, "")
    assert noted_entry(before, STATE, SAME, basis, TODAY) == (before, ""), "nothing changed: not a byte"
    entry, changes = noted_entry(before, STATE, CHANGED, basis, TODAY)
    assert entry == {"local": {}, "day": "2030-01-02", "links": 7, "changes": changes} and len(changes) == 64
    later = datetime.date(2030, 2, 3)
    assert noted_entry(entry, STATE, CHANGED, basis, later) == (entry, changes), "noted already"
    after_crawl = RefreshNotes(basis="next crawl")
    assert noted_entry(entry, STATE, SAME, after_crawl, later) == (entry, "")
    again, _ = noted_entry(entry, STATE, CHANGED, after_crawl, later)
    assert again["changes"] != entry["changes"], "the same difference to another crawl"


def test_a_change_that_was_noted_and_taken_back_is_a_change() -> None:
    before = {"local": {}, "day": "2029-01-01"}
    entry, changes = noted_entry(before, STATE, CHANGED, RefreshNotes(basis="crawl"), TODAY)
    back, none = noted_entry(entry, STATE, SAME, RefreshNotes(basis="crawl", changes=changes), TODAY)
    assert back["changes"] not in ("", changes) and back["links"] == 8 and none == ""
    assert noted_entry(back, STATE, SAME, RefreshNotes(basis="crawl"), TODAY) == (back, "")


def test_another_list_is_noted_with_the_rest_as_it_was() -> None:
    before = {"local": {"list.csv": "1"}, "day": "2029-01-01", "links": 3, "changes": "c"}
    state = LocalState(digests={"list.csv": "2"})
    assert noted_entry(before, state, SAME, RefreshNotes(basis="crawl"), TODAY) == (
        before | {"local": {"list.csv": "2"}},
        "",
    )


@pytest.mark.parametrize(
    ("summary", "text"),
    [
        (Summary(source="a", new=1, changed=2, gone=3, unchanged=4), "a: 1 new, 2 changed, 3 gone, 4 unchanged"),
        (Summary(source="a", unchanged=4, not_reached=2), "a: 0 new, 0 changed, 0 gone, 4 unchanged (2 not reached)"),
        (
            Summary(source="a", unchanged=9, losses="none of 9 links was kept: url_refused 9", keeps_none=True),
            "a: 0 new, 0 changed, 0 gone, 9 unchanged; of the last crawl none of 9 links was kept: url_refused 9",
        ),
        (Summary(source="a", is_crawled=False), "a: not crawled yet"),
        (Summary(source="a", problem="x"), "a: not compared"),
    ],
)
def test_lines(summary: Summary, text: str) -> None:
    assert str(summary) == text
