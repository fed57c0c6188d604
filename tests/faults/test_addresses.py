"""No address that is not public is ever connected to: not by number, by name, by redirect, nor at a second look.

All of it happens in a network of its own in which every address answers (`open_world`), so that a connection that
should not be made would be made, and would be noted.
"""

import ipaddress
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = "8.8.8.8"
CONTROLS = [PUBLIC, "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2001:4860:4860::8888"]


def words(text: str) -> list[str]:
    return text.split()


FORBIDDEN_V4 = words("""
    0.0.0.0 0.255.255.255 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.254 127.0.0.1 127.255.255.254 168.63.129.16
    169.254.0.1 169.254.169.254 172.16.0.1 172.31.255.254 192.0.0.1 192.0.0.8 192.0.0.170 192.0.2.1 192.88.99.1
    192.168.0.1 192.168.255.254 198.18.0.1 198.19.255.254 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1
    255.255.255.255
""")
FORBIDDEN_V6 = words("""
    :: ::1 fe80::1 febf::1 fec0::1 feff::1 fc00::1 fd00:ec2::254 fdff::1 ff02::1 ff05::2 ff0e::1 100::1 2001::1
    2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 3fff::1 5f00::1 64:ff9b:1::1
    2620:4f:8000::1 4000::1 1fff::1 8000::1 ::ffff:0:127.0.0.1
""")
SPELLINGS = words("""
    127.1 127.0.1 2130706433 0x7f000001 0x7F.1 0177.0.0.1 0177.1 017700000001 127.0.0.01 127.0.0.1. 127.1. 0 0x0 00
    ①②⑦.⓪.⓪.① 127。0。0。1 127\uff0e0\uff0e0\uff0e1 ⑩.0.0.1 2852039166 0xa9fea9fe 0251.0376.0251.0376 169.254.43518
    0xa9.254.0xa9.254
    3232235521 0300.0250.0.1 10.1 0xa.1 012.0.0.1 localhost LOCALHOST localhost. LocalHost a.localhost a.localhost.
    printer.local metadata.google.internal ip6-localhost.localhost
    \uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54
""")
REFUSED_URLS = [
    *words("""
    file:///etc/passwd FILE:///etc/passwd ftp://8.8.8.8/x ftps://8.8.8.8/x data:image/png;base64,AAAA gopher://8.8.8.8/
    javascript:alert(1) ws://8.8.8.8/ s3://bucket/x dict://8.8.8.8:11211/ ldap://8.8.8.8/ jar:http://8.8.8.8!/x
    view-source:http://8.8.8.8/ blob:http://8.8.8.8/x about:blank mailto:a@b.com http://user@8.8.8.8/
    http://user:secret@8.8.8.8/ http://8.8.8.8:80@127.0.0.1/ http://8.8.8.8@127.0.0.1/ http://127.0.0.1#@8.8.8.8/..\\
    http://8.8.8.8\\@127.0.0.1/ http:\\\\127.0.0.1\\x http://8.8.8.8/\\x http://8.8.8.8:22/ http://8.8.8.8:8080/
    http://8.8.8.8:0/ http://8.8.8.8:65536/ http://8.8.8.8:99999/ http://8.8.8.8:-80/ http://[::1 http://[::1]x/
    http://[fe80::1%25lo]/ http://8.8.8.8%00.png/ http://127.0.0.1%23@8.8.8.8/ http://8%2e8.8.8/
"""),
    *("http://8.8.8.8/\n", "http://8.8.8.8\t/x", "http://8.8.8.8 /x", "http://8.8.8.8/\x00", "", "x.png", "/x"),
]
FORBIDDEN = "127.0.0.1"
NAMES = {
    "private.com": [["10.0.0.1"]],
    "alias-of-localhost.com": [["127.0.0.1", "::1"]],
    "metadata.com": [["169.254.169.254"]],
    "mapped.com": [["::ffff:192.168.0.1"]],
    "link-local.com": [["fe80::1%lo"]],
    "last-is-private.com": [[PUBLIC, "1.1.1.1", "10.0.0.1"]],
    "first-is-private.com": [["127.0.0.1", PUBLIC]],
    "two-families.com": [[PUBLIC, "::1"]],
}
SECOND_ANSWERS = [
    ["127.0.0.1"],
    ["10.0.0.1"],
    ["169.254.169.254"],
    ["0.0.0.0"],
    ["::1"],
    ["::ffff:127.0.0.1"],
    ["64:ff9b::7f00:1"],
    ["2002:7f00:1::"],
    ["fd00:ec2::254"],
    ["fe80::1%lo"],
    [PUBLIC, "127.0.0.1"],
    ["192.168.0.1", "1.1.1.1"],
]


def embedded(address: str) -> list[str]:
    """The IPv6 addresses by which an IPv4 one is reached: mapped, compatible, NAT64, 6to4."""
    number = int(ipaddress.IPv4Address(address))
    places = (0xFFFF << 32 | number, number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80 | 1)
    return [str(ipaddress.IPv6Address(place)) for place in places]


LITERALS = [*FORBIDDEN_V4, *FORBIDDEN_V6, *(each for address in FORBIDDEN_V4 for each in embedded(address))]


def link(host: str) -> str:
    return f"http://[{host}]/x.png" if ":" in host else f"http://{host}/x.png"


@pytest.fixture(scope="module")
def network() -> list[str]:
    """The words before a command that give it a network of its own."""
    if shutil.which("ip") is None or not Path("/proc/net/if_inet6").exists():
        pytest.skip("no `ip`, or no IPv6, on this machine")
    for words in (["unshare", "-n"], ["unshare", "-rn"]):
        if shutil.which("unshare") and subprocess.run([*words, "ip", "link"], capture_output=True).returncode == 0:
            return words
    pytest.skip("no right to make a network namespace (`unshare -n`)")


def let_loose(network: list[str], **what: Any) -> dict[str, Any]:
    done = subprocess.run(
        [*network, sys.executable, "-m", "tests.faults.open_world"],
        input=json.dumps({"urls": [], "redirects": [], "names": {}, **what}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_the_tables_are_as_large_as_promised() -> None:
    assert len(LITERALS) >= 100 and len(SPELLINGS) >= 25 and len(REFUSED_URLS) >= 25 and len(SECOND_ANSWERS) >= 10


def test_addresses_and_spellings(network: list[str]) -> None:
    public = [link(host) for host in CONTROLS]
    refused = [link(host) for host in (*LITERALS, *SPELLINGS)]
    found = let_loose(network, urls=[*refused, *REFUSED_URLS, *public])
    assert set(found["accepted"]) == set(CONTROLS), "the controls were reached, and nobody else"
    assert found["asked"] == [], "no name was looked up"
    results = found["results"]
    assert {url: results[url] for url in public} == dict.fromkeys(public, "")
    assert {url: results[url] for url in refused} == dict.fromkeys(refused, "addr_refused")
    assert {url: results[url] for url in REFUSED_URLS} == dict.fromkeys(REFUSED_URLS, "url_refused")


def test_redirects(network: list[str]) -> None:
    """Five statuses, each to every spelling and some addresses; the last target shows that they are followed."""
    schemes = [url for url in REFUSED_URLS if ":" in url.split("/")[0] and url.isprintable() and " " not in url]
    hosts = [link(host) for host in (*FORBIDDEN_V4[::3], *FORBIDDEN_V6[::3], *SPELLINGS)]
    targets = [*schemes, *hosts, f"//{FORBIDDEN}/x.png", "http://1.1.1.1/allowed.png"]
    urls = [
        f"http://{PUBLIC}/to/{status}/{index}" for status in (301, 302, 303, 307, 308) for index in range(len(targets))
    ]
    found = let_loose(network, urls=urls, redirects=targets)
    assert len(urls) >= 310 and set(found["accepted"]) == {PUBLIC, "1.1.1.1"} and found["asked"] == []
    reasons = {(targets[int(url.rpartition("/")[2])], reason) for url, reason in found["results"].items()}
    assert {each for each in reasons if each[1] not in ("url_refused", "addr_refused")} == {(targets[-1], "")}


def test_names_are_judged_by_every_answer(network: list[str]) -> None:
    urls = [f"http://{name}/x.png" for name in NAMES]
    unknown = "http://no-such-name.com/x.png"
    found = let_loose(network, urls=[*urls, unknown], names=NAMES)
    assert found["accepted"] == []
    assert found["results"] == dict.fromkeys(urls, "addr_refused") | {unknown: "dns_error"}


def test_a_second_look_at_a_name_is_judged_again(network: list[str]) -> None:
    """Rebinding: public at the first one to four looks; the redirect to another port is a reason to look again."""
    names = {
        f"rebinds-{index}-{looks}.com": [[PUBLIC]] * looks + [answer]
        for index, answer in enumerate(SECOND_ANSWERS)
        for looks in range(1, 5)
    }
    found = let_loose(
        network,
        urls=[f"http://{name}/to/302/{index}" for index, name in enumerate(names)],
        redirects=[f"https://{name}/x.png" for name in names],
        names=names,
    )
    assert set(found["accepted"]) == {PUBLIC}
    assert all(found["asked"].count(name) >= len(answers) for name, answers in names.items()), "the last was given"
    assert set(found["results"].values()) == {"addr_refused"}
