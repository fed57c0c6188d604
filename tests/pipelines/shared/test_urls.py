"""The one form of a URL: what is kept, what is changed, what is refused; and references as browsers resolve them."""

import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.shared.reasons import LinkError
from pipelines.shared.urls import MAX_URL_CHARS, authority_of, canonical_url, parse_url, resolved

AS_GIVEN = [
    "http://a.com/x.png?response-content-type=image%2Fpng&signature=a%2Bb%3D",
    "http://a.com/a%2Fb%3Ac%27d%2Be%26f%3Dg%3fh%23i",
    "http://a.com/%2f%2F%e2%82%ac",
    "http://a.com/a+b%20c?d+e%20f",
    "http://a.com/x?b=2&a=1&b=1&&=",
    "http://a.com/x?",
    "http://a.com/?",
    "http://a.com/x?a?b/c:d@e",
    "http://a.com/%2541%252F",
    "http://a.com/100%.png?50%&%zz",
    "http://a.com/%%34%2",
    "http://a.com//x//y/",
    "http://a.com/x;p=1,2!$&'()*:@~",
    "http://a.com/x?'[]|{}^`\\"[:-1],
    "http://a.com/x|y[1]",
    "http://a.com/%00%0a%7F",
    "http://[2606:4700::1111]/x",
    "http://a_b.com./x",
    "http://xn--i-7iq.ws/x",
    "http://a.com:8080/x",
]


@pytest.mark.parametrize("url", AS_GIVEN)
def test_what_a_signature_may_cover_is_sent_as_given(url: str) -> None:
    parsed = parse_url(url)
    assert str(parsed) == url
    assert parsed.raw_path_qs == url.split("/", 3)[3].join(("/", "")), "aiohttp sends this"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("http://a.com/%41%7a%30%2D%2e%5f%7E", "http://a.com/Az0-._~"),
        ("http://a.com/x?%41=%7E", "http://a.com/x?A=~"),
        ('http://a.com/ü x"<>?ü x"<>', "http://a.com/%C3%BC%20x%22%3C%3E?%C3%BC%20x%22%3C%3E"),
        ("http://a.com/{`^}", "http://a.com/%7B%60%5E%7D"),
        ("http://a.com/😀", "http://a.com/%F0%9F%98%80"),
        ("http://a.com/a/./b/%2e%2E/../c/..", "http://a.com/"),
        ("http://a.com/../../x", "http://a.com/x"),
        ("http://a.com/a/b/.", "http://a.com/a/b/"),
        ("HTTPS://A.COM:443/X#y?z", "https://a.com/X"),
        ("http://a.com:/", "http://a.com/"),
        ("http://a.com:080", "http://a.com/"),
        ("http://a.com:443/", "http://a.com:443/"),
        ("http://BÜCHER.de", "http://xn--bcher-kva.de/"),
        ("http://[2606:4700:0:0:0:0:0:1111]", "http://[2606:4700::1111]/"),
        ("http://[::FFFF:8.8.8.8]/", "http://[::ffff:808:808]/"),
    ],
)
def test_one_form(text: str, form: str) -> None:
    assert str(parse_url(text)) == form == str(parse_url(form))


@pytest.mark.parametrize(
    "text",
    [
        "http://a.com:+80/",
        "http://a.com:-80/",
        "http://a.com: 80/",
        "http://a.com:\uff18\uff10/",
        "http://a.com:8_0/",
        "http://a.com:80:80/",
        "http://a.com:65536/",
        "http://a.com:" + "9" * 2000,
        "http://xn--a.com/x.png",
        "http://xn--/",
        "http://a..com/",
        "http://.a.com/",
        "http://a.com../",
        "http://" + "a" * 64 + ".com/",
        "http://" + "a." * 130 + "com/",
        "http://[1:2:3]/",
        "http://[2:1]/x",
        "http://[]/",
        "http://[v1.a]/",
        "http://[::1%25eth0]/",
        "http://[::1]x/",
        "http://1:2:3/",
        "http://a.com/\ud800",
        "http://\udfff.com/",
        "http://a.com/?\ud83d",
        "http\u017f://a.com/",
        "http://a.com/\x85",
        "http://a|b.com/",
        "http://\u200b/",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(LinkError) as caught:
        parse_url(text)
    assert caught.value.reason == "url_refused"
    canonical_url(text).encode()
    with pytest.raises(LinkError):
        parse_url(canonical_url(text))


ANYTHING = st.text(st.characters(exclude_categories=()), max_size=40)
TRICKY = st.text(alphabet="%0123456789abcdefABCDEF./?#:@é+&= []\ud800", max_size=40)
STARTS = st.sampled_from(["http://a.com/", "http://a.com/?", "http://a.com", "http://", "http://[", "http://xn--", ""])


@settings(max_examples=600, deadline=None)
@given(STARTS, st.one_of(ANYTHING, TRICKY))
def test_any_text_has_one_form_that_every_file_can_hold(start: str, rest: str) -> None:
    form = canonical_url(start + rest)
    assert canonical_url(form) == form
    assert len(form.encode()) <= 4 * (MAX_URL_CHARS + 1)
    try:
        url = parse_url(start + rest)
    except LinkError as error:
        assert error.reason == "url_refused"
    else:
        assert str(url) == form and form.isascii() and parse_url(form) == url
        assert url.host and url.port and url.raw_path_qs.startswith("/"), "what aiohttp asks of it raises nothing"


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="abc019-._~%2fF3aA41!$&'()*+,;=:@/?", max_size=40))
def test_nothing_reserved_changes(rest: str) -> None:
    """Decoded or not, a reserved character keeps its place and its spelling; unquoting once gives the same bytes."""
    form = canonical_url(f"http://a.com/x{rest}").removeprefix("http://a.com/")
    if "/." not in rest and "%2e" not in rest.lower():
        for mark in "!$&'()*+,;=:@/?":
            assert form.count(mark) == rest.count(mark)
        for code in ("%2f", "%2F", "%3a", "%3A"):
            assert form.count(code) == rest.count(code)
        assert urllib.parse.unquote_to_bytes(form) == urllib.parse.unquote_to_bytes(f"x{rest}")


BASE = "http://a.com/b/c/d;p?q"


@pytest.mark.parametrize(
    "reference",
    [  # RFC 3986, 5.4
        *("g:h", "g", "./g", "g/", "/g", "//g", "?y", "g?y", "#s", "g#s", "g?y#s", ";x", "g;x", "g;x?y#s", "", "."),
        *(
            "./",
            "..",
            "../",
            "../g",
            "../..",
            "../../",
            "../../g",
            "../../../g",
            "/./g",
            "/../g",
            "g.",
            ".g",
            "g..",
            "..g",
        ),
        *("./../g", "./g/.", "g/./h", "g/../h", "g;x=1/./y", "g;x=1/../y", "g?y/./x", "g?y/../x", "g#s/../x"),
    ],
)
def test_references_are_resolved_as_the_standard_library_does(reference: str) -> None:
    expected = urllib.parse.urljoin(BASE, reference)
    assert canonical_url(resolved(BASE, reference)) == canonical_url(expected)


@pytest.mark.parametrize(
    ("reference", "address"),
    [
        (" \n x.png\t", "http://a.com/b/x.png"),
        ("x\n.p\tng", "http://a.com/b/x.png"),
        ("x?", "http://a.com/b/x?"),
        ("?", "http://a.com/b/i?"),
        ("//c.com?z", "http://c.com?z"),
        ("x:y", "x:y"),
        ("1:y", "http://a.com/b/1:y"),
        ("http://[bad/x", "http://[bad/x"),
    ],
)
def test_references_as_pages_have_them(reference: str, address: str) -> None:
    assert resolved("http://a.com/b/i?q", reference) == address


def test_a_base_without_a_path_and_none() -> None:
    assert resolved("http://a.com", "x") == "http://a.com/x"
    assert resolved("", "x") == "x"


@settings(max_examples=200, deadline=None)
@given(ANYTHING, ANYTHING)
def test_resolving_never_raises(base: str, reference: str) -> None:
    canonical_url(resolved(base, reference)).encode()
    authority_of(base)


def test_authorities() -> None:
    assert authority_of("http://a.com:81/x?y") == "a.com:81" and authority_of("https://a.com") == "a.com"
    assert authority_of("data:,x") == authority_of("") == authority_of("x") == ""
