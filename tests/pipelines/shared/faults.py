"""What servers do wrong, by path, with the reason and the most seconds that the fetcher may take; and what is right."""

import asyncio

from tests.pipelines.shared.fault_server import PNG, Behaviour, Exchange, fixed


async def endless(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)
    while True:
        await x.send(bytes(1000))
        await asyncio.sleep(0.001)


async def endless_html(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await x.send(b"<p>" * 400)
        await asyncio.sleep(0.001)


async def endless_chunks(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(PNG), PNG))
    while True:
        await x.send(b"3e8\r\n" + bytes(1000) + b"\r\n")
        await asyncio.sleep(0.001)


async def slow(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + PNG[:64])
    await x.drip(bytes(9000), 0.02)


async def silent(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + PNG)
    await asyncio.sleep(30)


async def never(x: Exchange) -> None:
    await asyncio.sleep(30)


async def slow_head(x: Exchange) -> None:
    await x.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Header: a\r\n" * 1000, 0.05)


async def huge_head(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * (1 << 20) + b"\r\n\r\n")


async def endless_head(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        await x.send(b"X-%d: a\r\n" % number)


async def short(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + PNG)


async def short_chunk(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + PNG)


async def bad_chunk(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n" + PNG + b"\r\n0\r\n\r\n")


async def bad_chunk_later(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(PNG), PNG))
    await asyncio.sleep(0.1)
    await x.send(b"zzz\r\n" + PNG)


async def reset(x: Exchange) -> None:
    x.reset()


async def closed(x: Exchange) -> None:
    pass


async def two_lengths(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nContent-Length: 208\r\nContent-Length: 9\r\n\r\n" + PNG)


async def negative_length(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + PNG)


async def not_http(x: Exchange) -> None:
    await x.send(b"220 mail.example ESMTP\r\n" + PNG)


async def big(x: Exchange) -> None:
    await x.answer("200 OK", PNG + bytes(10_000))


async def lies_big(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n" + PNG)
    await asyncio.sleep(30)


async def loop_self(x: Exchange) -> None:
    await x.answer("302 Found", b"", Location=x.path)


async def hop(x: Exchange) -> None:
    number = int(x.path.rpartition("/")[2])
    await x.answer("301 Moved", b"", Location=f"/hop/{number - 1}" if number else "/good")


async def flaky(x: Exchange) -> None:
    if x.server.count(x.path) < 3:
        await x.answer("503 Busy")
    else:
        await x.answer("200 OK", PNG)


async def told_to_wait(x: Exchange) -> None:
    if x.server.count(x.path) < 2:
        await x.answer("429 Too Many Requests", b"", Retry_After="1")
    else:
        await x.answer("200 OK", PNG)


async def two_codings(x: Exchange) -> None:
    await x.send(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    )


async def two_reservations(x: Exchange) -> None:
    head = b"HTTP/1.1 200 OK\r\ntdm-reservation: 0\r\ntdm-reservation: 1\r\nContent-Length: %d\r\n\r\n" % len(PNG)
    await x.send(head + PNG)


async def chunks(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for start in range(0, len(PNG), 50):
        part = PNG[start : start + 50]
        await x.send(b"%x\r\n%s\r\n" % (len(part), part))
    await x.send(b"0\r\n\r\n")


FAULTS: dict[str, tuple[Behaviour, str, float]] = {
    "/endless": (endless, "body_limit", 0.5),
    "/endless-html": (endless_html, "type_refused", 0.5),
    "/endless-chunks": (endless_chunks, "body_limit", 0.5),
    "/big": (big, "body_limit", 0.5),
    "/lies-big": (lies_big, "body_limit", 0.5),
    "/slow": (slow, "too_slow", 0.7),
    "/silent": (silent, "too_slow", 0.7),
    "/never": (never, "too_slow", 0.7),
    "/slow-head": (slow_head, "deadline", 1.5),
    "/huge-head": (huge_head, "protocol_error", 0.5),
    "/endless-head": (endless_head, "protocol_error", 1.0),
    "/short": (short, "truncated", 0.5),
    "/short-chunk": (short_chunk, "truncated", 0.5),
    "/bad-chunk": (bad_chunk, "protocol_error", 0.5),
    "/bad-chunk-later": (bad_chunk_later, "deadline", 1.5),  # aiohttp waits for more
    "/reset": (reset, "connect_error", 0.5),
    "/closed": (closed, "connect_error", 0.5),
    "/two-lengths": (two_lengths, "protocol_error", 0.5),
    "/negative-length": (negative_length, "protocol_error", 0.5),
    "/not-http": (not_http, "protocol_error", 0.5),
    "/404": (fixed("404 Not Found"), "http_404", 0.5),
    "/410": (fixed("410 Gone"), "http_410", 0.5),
    "/403": (fixed("403 Forbidden"), "http_403", 0.5),
    "/500": (fixed("500 Oops"), "http_500", 0.5),
    "/503": (fixed("503 Busy", Retry_After="0"), "http_503", 0.5),
    "/429": (fixed("429 Slow down", Retry_After="99999"), "http_429", 1.5),
    "/408": (fixed("408 Timeout", Retry_After="soon"), "http_408", 0.5),
    "/204": (fixed("204 Empty", b""), "http_204", 0.5),
    "/206": (fixed("206 Part"), "http_206", 0.5),
    "/empty": (fixed("200 OK", b""), "empty", 0.5),
    "/html": (fixed("200 OK", b"<html>429 slow down</html>", Content_Type="image/png"), "type_refused", 0.5),
    "/svg": (fixed("200 OK", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "type_refused", 0.5),
    "/eps": (fixed("200 OK", b"%!PS-Adobe-3.0 EPSF-3.0\n" + bytes(50)), "type_refused", 0.5),
    "/playlist": (fixed("200 OK", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"), "type_refused", 0.5),
    "/tiff": (fixed("200 OK", b"II*\x00" + bytes(50)), "type_refused", 0.5),
    "/zip": (fixed("200 OK", b"PK\x03\x04" + bytes(50)), "type_refused", 0.5),
    "/avif": (fixed("200 OK", b"\x00\x00\x00\x1cftypavif" + bytes(50)), "type_refused", 0.5),
    "/gzip": (fixed("200 OK", Content_Encoding="gzip"), "content_encoding", 0.5),
    "/br": (fixed("200 OK", Content_Encoding="br"), "content_encoding", 0.5),
    "/chain": (fixed("200 OK", Content_Encoding=", ".join(["gzip"] * 20)), "content_encoding", 0.5),
    "/hidden-gzip": (fixed("200 OK", b"\x1f\x8b\x08" + bytes(50)), "type_refused", 0.5),
    "/json": (fixed("200 OK", b'{"error": "slow down"}', Content_Type="image/jpeg"), "type_refused", 0.5),
    "/two-codings": (two_codings, "content_encoding", 0.5),
    "/two-reservations": (two_reservations, "optout:tdm-reservation", 0.5),
    "/to-punycode": (fixed("302 Found", b"", Location="http://xn--a.com/x.png"), "url_refused", 0.5),
    "/to-short-v6": (fixed("302 Found", b"", Location="http://[1:2:3]/"), "url_refused", 0.5),
    "/to-odd-port": (fixed("302 Found", b"", Location="http://a.com:+80/"), "url_refused", 0.5),
    "/to-nul": (fixed("302 Found", b"", Location="/\x01x"), "url_refused", 0.5),
    "/noai": (fixed("200 OK", X_Robots_Tag="max-snippet:-1, noai"), "optout:noai", 0.5),
    "/noimageai": (fixed("200 OK", X_Robots_Tag="noimageai"), "optout:noimageai", 0.5),
    "/tdm": (fixed("200 OK", tdm_reservation="1"), "optout:tdm-reservation", 0.5),
    "/usage": (fixed("200 OK", Content_Usage="train-ai=n"), "optout:content-usage", 0.5),
    "/loop": (loop_self, "redirect_limit", 0.5),
    "/hop/6": (hop, "redirect_limit", 0.5),
    "/no-target": (fixed("302 Found", b""), "redirect_limit", 0.5),
    "/to-loopback": (fixed("302 Found", b"", Location="http://127.0.0.1/x.png"), "addr_refused", 0.5),
    "/to-metadata": (fixed("302 Found", b"", Location="http://169.254.169.254/latest"), "addr_refused", 0.5),
    "/to-private": (fixed("307 Moved", b"", Location="//10.0.0.1/x.png"), "addr_refused", 0.5),
    "/to-file": (fixed("302 Found", b"", Location="file:///etc/passwd"), "url_refused", 0.5),
    "/to-port": (fixed("302 Found", b"", Location="http://a.com:22/"), "url_refused", 0.5),
    "/to-junk": (fixed("302 Found", b"", Location="http://[::1"), "url_refused", 0.5),
    "/to-long": (fixed("302 Found", b"", Location="/" + "x" * 4000), "url_refused", 0.5),
    "/to-disallowed": (fixed("302 Found", b"", Location="/private/x.png"), "robots_denied", 0.5),
    "/private/x.png": (fixed("200 OK"), "robots_denied", 0.5),
}
GOOD: dict[str, Behaviour] = {
    "/good": fixed("200 OK"),
    "/chunks": chunks,
    "/hop/4": hop,
    "/hop/3": hop,
    "/hop/2": hop,
    "/hop/1": hop,
    "/hop/0": hop,
    "/hop/5": hop,
    "/flaky": flaky,
    "/wait": told_to_wait,
    "/page": fixed("200 OK", b"<html>hello</html>", Content_Type="text/html; charset=utf-8"),
    "/text": fixed("200 OK", b"hello", Content_Type="text/plain"),
    "/robots.txt": fixed("200 OK", b"User-agent: *\nDisallow: /private/\n"),
    "/identity": fixed("200 OK", Content_Encoding="identity"),
    "/other-robot": fixed("200 OK", X_Robots_Tag="otherbot: noai"),
}
