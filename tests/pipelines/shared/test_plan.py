"""From links to shards."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from pipelines.shared.guard import parse_url
from pipelines.shared.plan import MAX_CAPTIONS, Plan, canonical_url, read_chunk, read_plan, write_links, write_plan
from pipelines.shared.reasons import LinkError
from pipelines.shared.records import Caption, Link, sample_key


def link(number: int, *texts: str, page: str = "p", optout: str = "") -> Link:
    captions = tuple(Caption(text=text, origin="web", place="alt") for text in texts)
    return Link(url=f"http://a.com/{number}", captions=captions, page_url=page, optout=optout)


def plan(folder: Path, links: Sequence[Link], size: int = 10) -> Plan:
    async def stream() -> AsyncIterator[Link]:
        for each in links:
            yield each

    asyncio.run(write_links(stream(), "s", folder))
    return write_plan(folder, size, {"found": len(links)})


def everything(folder: Path, made: Plan) -> list[tuple[str, Link]]:
    return [pair for name in made.chunks for pair in read_chunk(folder, name)]


def test_chunks_are_ranges_of_keys(tmp_path: Path) -> None:
    made = plan(tmp_path, [link(number, f"t{number}") for number in range(57)])
    assert made.chunks == ("00000", "20000", "40000", "60000", "80000", "a0000", "c0000", "c8000", "d0000", "e0000")
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(f"{name}.jsonl" for name in made.chunks), "plan.json"]
    for name in made.chunks:
        keys = [key for key, _ in read_chunk(tmp_path, name)]
        assert 0 < len(keys) <= 10 and min(keys) >= name
    pairs = everything(tmp_path, made)
    keys = [key for key, _ in pairs]
    assert keys == sorted(keys) and len(set(keys)) == 57
    assert all(key == sample_key("s", each.url) for key, each in pairs)
    assert sorted(each.captions[0].text for _, each in pairs) == sorted(f"t{number}" for number in range(57))
    assert read_plan(tmp_path) == made


def test_chunks_do_not_depend_on_the_order_of_distinct_links(tmp_path: Path) -> None:
    links = [link(number, "t") for number in range(40)]
    plan(tmp_path / "a", links)
    random.Random(1).shuffle(links)
    plan(tmp_path / "b", links)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_equal_urls_become_one_link(tmp_path: Path) -> None:
    links = [link(1, "a", page="first"), link(2), link(1, "b", "a", page="second"), link(1, optout="noai")]
    links.append(Link(url="HTTP://A.com:80/1#top", captions=(Caption(text="c", origin="web"),)))
    made = plan(tmp_path, links)
    assert made.num_links == 2
    (one,) = [each for _, each in everything(tmp_path, made) if each.url.endswith("1")]
    assert [caption.text for caption in one.captions] == ["a", "b", "c"]
    assert (one.page_url, one.optout) == ("first", "noai")


def test_captions_are_bounded(tmp_path: Path) -> None:
    made = plan(tmp_path, [link(1, f"t{number}") for number in range(100)])
    ((_, one),) = everything(tmp_path, made)
    assert [caption.text for caption in one.captions] == [f"t{number}" for number in range(MAX_CAPTIONS)]


@pytest.mark.parametrize("text", ["a\u2028b", 'quote " and \\', "ünï", "\x7f"])
def test_captions_come_back_as_they_were(tmp_path: Path, text: str) -> None:
    made = plan(tmp_path, [link(1, text)])
    ((_, one),) = everything(tmp_path, made)
    assert one.captions[0].text == text


def test_refused_urls_stay_and_are_cut(tmp_path: Path) -> None:
    assert canonical_url("file:///etc/passwd") == "file:///etc/passwd"
    assert len(canonical_url("http://a.com/" + "x" * 9000)) == 2084, "one more than allowed: it will be refused"
    assert canonical_url("HTTP://a.com") == "http://a.com/"
    assert canonical_url("http://a.com/\ud800") == "http://a.com/\\ud800", (
        "a half of a pair: refused, and can be stored"
    )
    made = plan(tmp_path, [Link(url="data:,x"), Link(url="")])
    assert sorted(each.url for _, each in everything(tmp_path, made)) == ["", "data:,x"]


@pytest.mark.parametrize("bad", ["\ud800", "\udc00\ud800", "caf\udce9", "\U0001f600\ud83d"])
def test_half_a_surrogate_pair_goes_through_a_plan(tmp_path: Path, bad: str) -> None:
    """In an address, where it costs the link, on a page, and in a caption of a source that does not clean its texts."""
    text = bad.encode(errors="backslashreplace").decode()
    captions = (Caption(text=bad, origin="web"),)
    ((_, found),) = everything(
        tmp_path, plan(tmp_path, [Link(url=f"http://a.com/{bad}", captions=captions, page_url=bad)])
    )
    assert (found.url, found.page_url, found.captions[0].text) == (f"http://a.com/{text}", text, text)
    with pytest.raises(LinkError, match="url_refused"):
        parse_url(found.url)


def test_unfinished_plan_is_none(tmp_path: Path) -> None:
    assert read_plan(tmp_path) is None
    plan(tmp_path, [link(1)])
    (tmp_path / "plan.json").unlink()
    assert read_plan(tmp_path) is None
    assert plan(tmp_path, [link(2)]).num_links == 1, "a second try starts from nothing"


def test_one_link_more_changes_one_chunk(tmp_path: Path) -> None:
    links = [link(number, "t") for number in range(60)]
    plan(tmp_path / "a", links)
    plan(tmp_path / "b", [*links, link(60, "t")])
    changed = [
        name
        for name in {path.name for folder in ("a", "b") for path in (tmp_path / folder).glob("*.jsonl")}
        if not all((tmp_path / folder / name).exists() for folder in ("a", "b"))
        or (tmp_path / "a" / name).read_bytes() != (tmp_path / "b" / name).read_bytes()
    ]
    assert len(changed) == 1


def test_pages_that_may_come_back() -> None:
    assert not Plan((), 0, {"pages": {"fetched": 3, "http_404": 1, "robots_denied": 1}}).lacks_pages
    assert Plan((), 0, {"pages": {"fetched": 3, "http_503": 1}}).lacks_pages
    assert not Plan((), 0, {}).lacks_pages


def test_no_links(tmp_path: Path) -> None:
    assert plan(tmp_path, []) == Plan((), 0, {"found": 0})
