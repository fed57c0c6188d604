"""What may be reached: spellings of URLs, addresses, names and their answers."""

import asyncio
import ipaddress
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from pipelines.shared.guard import Guard, GuardedResolver, is_public
from pipelines.shared.reasons import LinkError
from pipelines.shared.urls import parse_url

REFUSED_URLS = [
    "",
    "a.jpg",
    "/a.jpg",
    "//a.com/x",
    "http:/a.com/x",
    "http:a.com",
    "http://",
    "http:///x",
    "https://?x",
    "file:///etc/passwd",
    "ftp://a.com/x",
    "data:image/png;base64,AAAA",
    "gopher://a.com/",
    "javascript:alert(1)",
    "http://user@a.com/",
    "http://user:secret@a.com/",
    "http://a.com:80@127.0.0.1/",
    "http://a.com\\@127.0.0.1/",
    "http://a.com/\\x",
    "http://a.com/\nx",
    "http://a.com/\x00",
    "http://a.com/\x7f",
    "http://a\t.com/",
    "http://a b.com/",
    "http://a%2ecom/",
    "http://[fe80::1%25eth0]/",
    "http://[::1/",
    "http://a.com:99999/",
    "http://a.com:22/",
    "http://a.com:8080/",
    "http://a.com:0/",
    "http://a.com/" + "x" * 2083,
]
REFUSED_HOSTS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "1.1.1.1.1",
    "8.8.8.08",
    "①②⑦.⓪.⓪.①",
    "127.0.0.1.",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.8",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:a00:1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:53aa:64c:0:0:80ff:fffe]",
    "[2001:db8::1]",
    "[fe80::1]",
    "[fec0::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[5f00::1]",
    "[3fff::1]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "printer.local",
    "metadata.google.internal",
]
PUBLIC_HOSTS = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "[2606:4700::1111]", "[::ffff:8.8.8.8]", "[64:ff9b::808:808]"]


def reason(guard: Guard, url: str) -> str:
    with pytest.raises(LinkError) as caught:
        guard.check(url)
    return caught.value.reason


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_refused_spellings(url: str) -> None:
    assert reason(Guard(), url) == "url_refused"


@pytest.mark.parametrize("host", REFUSED_HOSTS)
def test_refused_hosts(host: str) -> None:
    assert reason(Guard(), f"http://{host}/x.jpg") == "addr_refused"


@pytest.mark.parametrize("host", PUBLIC_HOSTS)
def test_public_literals_pass(host: str) -> None:
    assert Guard().check(f"http://{host}/x.jpg").path == "/x.jpg"


def test_stricter_than_the_standard_library() -> None:
    """The reason for the lists: the standard library takes each of these for public."""
    for text in ("224.0.0.1", "ff02::1", "2002:7f00:1::", "64:ff9b::7f00:1"):
        address = ipaddress.ip_address(text)
        assert address.is_global or text == "64:ff9b::7f00:1"
        assert not is_public(address)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("HTTP://A.Com", "http://a.com/"),
        ("http://a.com:80/x", "http://a.com/x"),
        ("https://a.com:443/x#top", "https://a.com/x"),
        ("http://a.com?q=1", "http://a.com/?q=1"),
        ("http://a.com/a/../b", "http://a.com/b"),
        ("http://a.com/%7Ea b", "http://a.com/~a%20b"),
        ("http://bücher.de/ü", "http://xn--bcher-kva.de/%C3%BC"),
        ("http://a.com/x?a=b%20c&d", "http://a.com/x?a=b%20c&d"),
    ],
)
def test_one_form(text: str, form: str) -> None:
    assert str(parse_url(text)) == form
    assert str(parse_url(form)) == form, "the form of a form is itself"


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["http://", "https://a.com/", "http://1", "http://[", ""]), st.text(max_size=40))
def test_any_text_is_a_url_in_one_form_or_refused(start: str, rest: str) -> None:
    try:
        url = Guard().check(start + rest)
    except LinkError as error:
        assert error.reason in ("url_refused", "addr_refused")
    else:
        assert url.scheme in ("http", "https") and url.port in (80, 443) and not url.user and not url.fragment
        assert parse_url(str(url)) == url and "\n" not in str(url)


def test_served_site_is_the_only_local_one() -> None:
    guard = Guard(served_port=4321)
    url = guard.check("http://localhost/a%20b.jpg?v=2")
    assert str(guard.target(url)) == "http://127.0.0.1:4321/a%20b.jpg?v=2"
    for other in ("http://127.0.0.1/", "https://localhost/", "http://localhost./", "http://a.localhost/"):
        assert reason(guard, other) == "addr_refused"
    assert reason(guard, "http://127.0.0.1:4321/") == "url_refused"
    assert guard.target(URL("http://a.com/x")) == URL("http://a.com/x")


def test_without_contact_only_the_served_site() -> None:
    guard = Guard(served_port=4321, only_served=True)
    assert guard.check("http://localhost/x").path == "/x"
    assert reason(guard, "https://a.com/x.jpg") == "contact_missing"
    assert reason(guard, "http://10.0.0.1/x.jpg") == "addr_refused"


def resolve(answers: object) -> list:
    async def lookup(host: str) -> list[str]:
        if isinstance(answers, BaseException):
            raise answers
        return answers

    async def run() -> list:
        return await GuardedResolver(Guard(), lookup).resolve("a.com", 443)

    return asyncio.run(run())


def test_connection_is_made_to_the_answers_that_were_looked_at() -> None:
    found = resolve(["8.8.8.8", "2606:4700::1111"])
    assert [(each["host"], each["family"], each["port"]) for each in found] == [
        ("8.8.8.8", socket.AF_INET, 443),
        ("2606:4700::1111", socket.AF_INET6, 443),
    ]


@pytest.mark.parametrize("answers", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["fe80::1%eth0"], ["::ffff:192.168.0.1"]])
def test_one_bad_answer_refuses_the_name(answers: list[str]) -> None:
    with pytest.raises(LinkError, match="addr_refused"):
        resolve(answers)


@pytest.mark.parametrize("error", [socket.gaierror(8, "no"), UnicodeError("label"), TimeoutError()])
def test_names_that_do_not_resolve(error: Exception) -> None:
    with pytest.raises(LinkError, match="dns_error"):
        resolve(error)


def test_system_lookup_of_a_local_name_is_refused() -> None:
    async def run() -> None:
        await GuardedResolver(Guard()).resolve("localhost", 80)

    with pytest.raises(LinkError, match="addr_refused"):
        asyncio.run(run())
