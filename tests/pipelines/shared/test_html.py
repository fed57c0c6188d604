"""What is taken from HTML, well written or not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.shared import html
from pipelines.shared.charsets import decode_html
from pipelines.shared.html import read_page, read_page_in
from pipelines.shared.reasons import LinkError
from pipelines.shared.sandbox import Sandbox

URL = "http://a.com/b/index.html"


def page(body: str, head: str = ""):
    html = f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>"
    return read_page(html.encode(), "text/html; charset=utf-8", URL, "web", "vignette")


def only(body: str) -> tuple[str, list[tuple[str, str]]]:
    (link,) = page(body).links
    return link.url, [(caption.place, caption.text) for caption in link.captions]


@pytest.mark.parametrize(
    ("body", "url", "captions"),
    [
        ('<img src="x.png" alt="a cat">', "http://a.com/b/x.png", [("alt", "a cat")]),
        ('<img src="/x.png" alt="">', "http://a.com/x.png", []),
        ('<img src="../x.png">', "http://a.com/x.png", []),
        ('<img src=" x.png " alt=" a \n cat\t">', "http://a.com/b/x.png", [("alt", "a cat")]),
        ('<img src="https://c.com/x.png" title="t">', "https://c.com/x.png", [("title", "t")]),
        (
            '<figure><img src="x.png" alt="short"><figcaption>the <b>long</b> one</figcaption></figure>',
            "http://a.com/b/x.png",
            [("figcaption", "the long one"), ("alt", "short")],
        ),
        (
            '<figure><a href="x.html"><img src="x.png" alt="same"></a><figcaption>same</figcaption></figure>',
            "http://a.com/b/x.png",
            [("figcaption", "same")],
        ),
        (
            "<figure><img src=x.png><figcaption>one<br>two<p>three</p><p>four</p></figcaption></figure>",
            "http://a.com/b/x.png",
            [("figcaption", "one two three four")],
        ),
        (
            "<figure><figcaption>out</figcaption><figure><img src=x.png><figcaption>in</figcaption></figure></figure>",
            "http://a.com/b/x.png",
            [("figcaption", "in")],
        ),
        ('<video src="v.mp4" title="runs"></video>', "http://a.com/b/v.mp4", [("title", "runs")]),
        ('<video aria-label="runs"><source src="v.mp4"></video>', "http://a.com/b/v.mp4", [("aria-label", "runs")]),
        (
            '<video title="t"><source src="v.webm" type="video/webm"><source src="v.mp4" type="video/mp4"></video>',
            "http://a.com/b/v.mp4",
            [("title", "t")],
        ),
        (
            '<picture><source srcset="x.avif"><img src="x.jpg" alt="a"></picture>',
            "http://a.com/b/x.jpg",
            [("alt", "a")],
        ),
        ('<img src=x.png alt="&lt;script&gt;alert(1)&lt;/script&gt;">', "http://a.com/b/x.png",
         [("alt", "<script>alert(1)</script>")]),
        ('<img src=x.png alt="a \u202egnp.exe">', "http://a.com/b/x.png", [("alt", "a gnp.exe")]),
        ('<img src="http://[bad/x.png" alt="a">', "http://[bad/x.png", [("alt", "a")]),
        ('<img src="file:///etc/passwd" alt="a">', "file:///etc/passwd", [("alt", "a")]),
    ],
)  # fmt: skip
def test_pictures_and_clips(body: str, url: str, captions: list[tuple[str, str]]) -> None:
    assert only(body) == (url, captions)


@pytest.mark.parametrize(
    "body",
    [
        '<img alt="nowhere">',
        '<img src="" alt="nowhere">',
        '<img src="data:image/gif;base64,R0lGOD" alt="inside">',
        '<video title="nowhere"></video>',
        "<!-- <img src=x.png alt=hidden> -->",
        '<svg><image href="x.png"/></svg>',
        '<a href="x.png">x</a>',
    ],
)
def test_no_picture(body: str) -> None:
    assert page(body).links == ()


def test_links_carry_page_and_origin() -> None:
    (link,) = read_page(b"<img src=x.png alt=a>", "text/html", URL, "human", "vignette").links
    assert (link.page_url, link.captions[0].origin, link.optout) == (URL, "human", "")


def test_follows() -> None:
    body = """<a href="two.html">2</a> <a href="/three/">3</a> <a href="two.html#top">2</a> <a href="https://c.com/">c</a>
    <a href="x.png">p</a> <a href="a.zip?x">z</a> <a rel="nofollow" href="no.html">n</a> <a href="mailto:a@b">m</a>
    <a href="javascript:x()">j</a> <a name="here">h</a> <a href="?page=2">q</a> <a href="#top">t</a>"""
    assert page(body).follows == (
        "http://a.com/b/two.html",
        "http://a.com/three/",
        "http://a.com/b/two.html",
        "https://c.com/",
        "http://a.com/b/index.html?page=2",
        "http://a.com/b/index.html",
    )


def test_base() -> None:
    found = page('<img src="x.png" alt="a"><a href="y">y</a>', '<base href="/c/">')
    assert found.links[0].url == "http://a.com/c/x.png" and found.follows == ("http://a.com/c/y",)


@pytest.mark.parametrize(
    ("head", "optout", "follows"),
    [
        ("", "", 1),
        ('<meta name="robots" content="noai">', "noai", 1),
        ('<meta name="ROBOTS" content="NoImageAI, nofollow">', "noimageai", 0),
        ('<meta name="robots" content="none">', "none", 0),
        ('<meta name="robots" content="nofollow">', "", 0),
        ('<meta name="vignette" content="noindex">', "noindex", 1),
        ('<meta name="googlebot" content="noindex, nofollow">', "", 1),
        ('<meta name="tdm-reservation" content="1">', "tdm-reservation", 1),
        ('<meta name="tdm-reservation" content="0">', "", 1),
    ],
)
def test_opt_outs_of_a_page(head: str, optout: str, follows: int) -> None:
    found = page("<img src=x.png alt=a><a href=y>y</a>", head)
    assert found.links[0].optout == optout and len(found.follows) == follows


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("Grüße ✓".encode(), "text/html; charset=utf-8"),
        ("Grüße ✓".encode(), "text/html"),
        ("Grüße ✓".encode("utf-16"), "text/html; charset=UTF-16"),
        (b'<meta charset="windows-1251">' + "Привет".encode("cp1251"), "text/html"),
        ("Привет".encode("koi8-r"), "text/html; charset=koi8-r"),
        ("日本".encode("shift_jis"), 'text/html; charset="Shift_JIS"'),
        (b"\xef\xbb\xbf" + "Grüße".encode(), "text/html; charset=iso-8859-1"),
    ],
)
def test_charsets(body: bytes, content_type: str) -> None:
    assert any(word in decode_html(body, content_type) for word in ("Grüße", "Привет", "日本"))


@pytest.mark.parametrize("charset", ["zip", "rot13", "idna", "unicode_escape", "no-such", "utf-7", "gb99999"])
def test_odd_charsets_are_utf8(charset: str) -> None:
    assert decode_html("ü".encode(), f"text/html; charset={charset}") == "ü"


@pytest.mark.parametrize(
    ("head", "base"),
    [
        ('<base href="">', "http://a.com/b/"),
        ('<base href=" ">', "http://a.com/b/"),
        ('<base href="#top">', "http://a.com/b/"),
        ('<base href="?q">', "http://a.com/b/"),
        ('<base href="about:blank">', "http://a.com/b/"),
        ('<base href="data:text/html,x">', "http://a.com/b/"),
        ('<base href="JavaScript:void(0)">', "http://a.com/b/"),
        ('<base href="mailto:a@b.com">', "http://a.com/b/"),
        ('<base href="http://[bad/">', "http://a.com/b/"),
        ('<base href="http://">', "http://a.com/b/"),
        ('<base href="http:///c/">', "http://a.com/b/"),
        ('<base href="https://c.com:99999/">', "http://a.com/b/"),
        ('<base href="c:\\\\site">', "http://a.com/b/"),
        ('<base target="_blank">', "http://a.com/b/"),
        ('<base target="_blank"><base href="/c/">', "http://a.com/c/"),
        ('<base href=""><base href="/c/">', "http://a.com/b/"),
        ('<base href="/c/"><base href="/d/">', "http://a.com/c/"),
        ('<base href=" /c/\n">', "http://a.com/c/"),
        ('<base href="d/x.html?y">', "http://a.com/b/d/"),
        ('<base href="//c.com">', "http://c.com/"),
        ('<base href="https://c.com/d/e">', "https://c.com/d/"),
        ("<p>text</p><div><base href='/c/'></div>", "http://a.com/c/"),
        ("<svg><base href='/c/'></base></svg><base href='/d/'>", "http://a.com/d/"),
        ("<template><base href='/c/'></template>", "http://a.com/b/"),
    ],
)
def test_bases_that_are_one_and_that_are_none(head: str, base: str) -> None:
    found = page(f'{head}<img src="x.png" alt="a"><a href="y.html">y</a>')
    assert (found.links[0].url, found.follows) == (f"{base}x.png", (f"{base}y.html",))


def texts(body: str) -> dict[str, list[str]]:
    return {link.url.rpartition("/")[2]: [caption.text for caption in link.captions] for link in page(body).links}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (
            "<figure><figure><img src=1><figcaption>red</figcaption></figure>"
            "<figure><img src=2 alt=boat></figure></figure>",
            {"1": ["red"], "2": ["boat"]},
        ),
        (
            "<figure><img src=1><figure><img src=2></figure><figcaption>out</figcaption></figure>",
            {"1": ["out"], "2": []},
        ),
        ("<figure><div><img src=1></div><div><figcaption>in</figcaption></div></figure>", {"1": ["in"]}),
        ("<figure><img src=1><video src=2></video><figcaption>all</figcaption></figure>", {"1": ["all"], "2": ["all"]}),
        (
            "<figure><img src=1><figcaption>a</figcaption><img src=2><figcaption>b</figcaption></figure>",
            {"1": ["a"], "2": ["b"]},
        ),
        ("<figure><img src=1><figcaption>a</figcaption><figcaption>b</figcaption></figure>", {"1": []}),
        ("<figure><img src=1><figcaption><img src=i>words</figcaption></figure>", {"1": ["words"], "i": []}),
        ("<figure><figcaption><img src=i>words</figcaption></figure>", {"i": ["words"]}),
        ("<figure><img src=1><figcaption>a<script>b</script><style>c</style></figcaption></figure>", {"1": ["a"]}),
        ("<img src=1><figcaption>nobody's</figcaption>", {"1": []}),
    ],
)
def test_a_figcaption_belongs_to_its_nearest_figure(body: str, found: dict) -> None:
    assert texts(body) == found


def test_addresses_that_are_not_in_src() -> None:
    found = page(
        "<img src=blank.gif data-src=kite.jpg alt=kite><noscript><img src=kite.jpg alt=kite></noscript>"
        "<picture><source type=image/avif srcset=b.avif><source srcset='b.webp 9w'><img alt=boat></picture>"
        "<img alt=none>"
    )
    assert [(link.url, link.captions[0].text) for link in found.links] == [
        ("http://a.com/b/kite.jpg", "kite"),
        ("http://a.com/b/kite.jpg", "kite"),
        ("http://a.com/b/b.webp", "boat"),
    ]
    assert found.left_out == {"no_address": 1, "stand_in": 1}


def test_addresses_are_as_given() -> None:
    (link,) = page('<img src="x.png?s=a%2Bb%3D&amp;u=http%3A//c.com/&amp;e=" alt=a>').links
    assert link.url == "http://a.com/b/x.png?s=a%2Bb%3D&u=http%3A//c.com/&e="


def test_a_page_has_so_many_links_and_so_much_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "MOST_LINKS", 3)
    found = page("".join(f"<img src={n}.png alt=a><a href={n}.html>x</a>" for n in range(5)))
    assert (len(found.links), len(found.follows)) == (3, 3)
    assert found.left_out == {"over_max_links": 2, "over_max_follows": 2}
    monkeypatch.setattr(html, "MOST_TEXT_CHARS", 60)
    found = page("<img src=1 alt=equal><img src=2 alt=equal><img src=3 alt='another text'><img src=4 alt=equal>")
    assert [link.url[-1] for link in found.links] == ["1", "2", "4"] and found.left_out == {"over_max_text": 1}


def test_many_pictures_in_a_figure() -> None:
    wide = "<figure>" + "<img src=x.png>" * 5_000 + "<figcaption>" + "<p>a</p>" * 5_000 + "</figcaption></figure>"
    assert len(page(wide).links) == 5_000


def test_sandbox_gives_the_same_page() -> None:
    settings = {"content_type": "text/html", "url": URL, "origin": "web", "robot": "vignette"}
    body = b"<figure><img src=x.png alt=a><figcaption>b</figcaption></figure><a href=y>y</a>"
    body += b"<img data-src=z.png src='data:,' title=b><img src=w.png><img>"
    with Sandbox() as sandbox:
        assert read_page_in(sandbox, body, **settings) == read_page(body, **settings)


def test_hostile_trees_end_with_their_process() -> None:
    """Deep nesting takes the parser quadratic time, misnested formatting quadratic memory."""
    settings = {"content_type": "text/html", "url": URL, "origin": "web", "robot": "vignette"}
    deep = b"<div>" * 400_000
    wide = b"<p>" + b"".join(b"<b id=%d>" % number for number in range(2000)) + b"</p>" + b"<p>x</p>" * 400_000
    with Sandbox(timeout_sec=1.0, memory_mib=400) as sandbox:
        for body in (deep, wide):
            with pytest.raises(LinkError, match=r"decode_(timeout|crash|error)"):
                read_page_in(sandbox, body, **settings)
        assert len(read_page_in(sandbox, b"<img src=x.png>", **settings).links) == 1


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.text(max_size=30))
def test_any_bytes_are_a_page(body: bytes, content_type: str) -> None:
    for link in read_page(b"<img src='" + body, content_type, URL, "web", "vignette").links:
        for caption in link.captions:
            caption.text.encode()
