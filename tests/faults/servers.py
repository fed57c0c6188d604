"""More that servers do wrong, beside `tests/pipelines/shared/faults.py`: each with the reason that it ends with."""

import asyncio
import gzip

from tests.pipelines.shared.fault_server import PNG, Behaviour, Exchange, fixed

PROTOCOL, CUT = "protocol_error", "truncated"
START = b"HTTP/1.1 200 OK\r\n"
BOMB = gzip.compress(bytes(20 << 20))


def raw(*parts: bytes, pause_sec: float = 0.0) -> Behaviour:
    """Sends bytes and closes the connection."""

    async def behave(x: Exchange) -> None:
        for part in parts:
            await x.send(part)
            await asyncio.sleep(pause_sec)

    return behave


def sized(length: bytes, body: bytes = PNG) -> Behaviour:
    """An answer that states a length."""
    return raw(START + b"Content-Length: " + length + b"\r\n\r\n" + body)


def chunked(*chunks: bytes, more: bytes = b"") -> Behaviour:
    """An answer in chunks, as they are given."""
    return raw(START + more + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks))


def repeated(start: bytes, part: bytes, pause_sec: float = 0.001) -> Behaviour:
    """An answer that never ends."""

    async def behave(x: Exchange) -> None:
        await x.send(start)
        while True:
            await x.send(part)
            await asyncio.sleep(pause_sec)

    return behave


def silent_after(start: bytes) -> Behaviour:
    """An answer that stops without an end."""

    async def behave(x: Exchange) -> None:
        await x.send(start)
        await asyncio.sleep(30)

    return behave


def reset_after(start: bytes) -> Behaviour:
    """A connection that is reset midway."""

    async def behave(x: Exchange) -> None:
        await x.send(start)
        await asyncio.sleep(0.05)
        x.reset()

    return behave


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


MORE_FAULTS: dict[str, tuple[Behaviour, str]] = {
    "/length/plus": (sized(b"+208"), PROTOCOL),
    "/length/hex": (sized(b"0xd0"), PROTOCOL),
    "/length/float": (sized(b"208.0"), PROTOCOL),
    "/length/exponent": (sized(b"2e2"), PROTOCOL),
    "/length/two-words": (sized(b"20 8"), PROTOCOL),
    "/length/list": (sized(b"208, 209"), PROTOCOL),
    "/length/underscore": (sized(b"2_08"), PROTOCOL),
    "/length/letters": (sized(b"many"), PROTOCOL),
    "/length/none": (sized(b""), PROTOCOL),
    "/length/arabic": (sized("٢٠٨".encode()), PROTOCOL),
    "/length/huge": (sized(b"9" * 30), PROTOCOL),
    "/length/one-more": (sized(b"209"), CUT),
    "/length/nothing-comes": (sized(b"208", b""), CUT),
    "/length/and-chunks": (chunked(chunk(PNG), b"0\r\n\r\n", more=b"Content-Length: 5\r\n"), PROTOCOL),
    "/chunk/negative": (chunked(b"-5\r\n" + PNG), PROTOCOL),
    "/chunk/overflow": (chunked(b"fffffffffffffffff\r\n" + PNG), PROTOCOL),
    "/chunk/prefix": (chunked(b"0xd0\r\n" + PNG + b"\r\n0\r\n\r\n"), PROTOCOL),
    "/chunk/blank": (chunked(b"\r\n" + PNG), PROTOCOL),
    "/chunk/too-long": (chunked(b"5\r\n" + PNG + b"\r\n0\r\n\r\n"), PROTOCOL),
    "/chunk/no-end": (chunked(chunk(PNG)), CUT),
    "/chunk/half-an-end": (chunked(chunk(PNG), b"0\r\n"), CUT),
    "/chunk/reset": (reset_after(START + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(PNG)), CUT),
    "/coding/twice": (raw(START + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + chunk(PNG)), CUT),
    "/body/reset": (reset_after(START + b"Content-Length: 5000\r\n\r\n" + PNG), CUT),
    "/body/two-bytes": (sized(b"2", b"\x89P"), "type_refused"),
    "/body/endless-zeros": (repeated(START + b"\r\n", bytes(1000)), "type_refused"),
    "/body/endless-magic": (repeated(START + b"\r\n" + PNG, b"\x89PNG\r\n\x1a\n" * 100), "body_limit"),
    "/body/drip": (repeated(START + b"\r\n" + PNG, b"x", 0.02), "too_slow"),
    "/body/drip-in-chunks": (
        repeated(START + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(PNG), chunk(b"x"), 0.02),
        "too_slow",
    ),
    "/body/silent-before-it": (silent_after(START + b"Content-Length: 208\r\n\r\n"), "too_slow"),
    "/head/silent-in-it": (silent_after(START + b"Content-"), "too_slow"),
    "/head/status-line-drip": (repeated(b"HTTP/1.1 200 O", b"K", 0.05), "deadline"),
    "/head/one-long-line": (raw(START + b"X-A: " + b"a" * 70_000 + b"\r\n\r\n"), PROTOCOL),
    "/head/many-lines": (raw(START + b"X-A: a\r\n" * 20_000 + b"\r\n" + PNG), PROTOCOL),
    "/head/no-colon": (raw(START + b"Content-Length 208\r\n\r\n" + PNG), PROTOCOL),
    "/head/no-name": (raw(START + b": 5\r\n\r\n" + PNG), PROTOCOL),
    "/head/zero-byte": (raw(START + b"X-A: a\x00b\r\nContent-Length: 208\r\n\r\n" + PNG), PROTOCOL),
    "/head/continues-for-ever": (repeated(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01), "deadline"),
    "/head/location-of-64-kib": (
        raw(b"HTTP/1.1 302 Found\r\nLocation: http://b.com/" + b"x" * 65_536 + b"\r\n\r\n"),
        PROTOCOL,
    ),
    "/status/none": (raw(b"HTTP/1.1\r\n\r\n"), PROTOCOL),
    "/status/letters": (raw(b"HTTP/1.1 OK 200\r\n\r\n" + PNG), PROTOCOL),
    "/status/two-digits": (raw(b"HTTP/1.1 20 OK\r\n\r\n" + PNG), PROTOCOL),
    "/status/four-digits": (raw(b"HTTP/1.1 2000 OK\r\n\r\n" + PNG), PROTOCOL),
    "/status/negative": (raw(b"HTTP/1.1 -20 OK\r\n\r\n" + PNG), PROTOCOL),
    "/status/http-2": (raw(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + PNG), PROTOCOL),
    "/status/http-9": (raw(b"HTTP/9.9.9 200 OK\r\n\r\n" + PNG), PROTOCOL),
    "/status/tls": (raw(b"\x16\x03\x03\x00\x7a\x02" + PNG), PROTOCOL),
    "/status/ssh": (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), PROTOCOL),
    "/status/only-a-body": (raw(PNG), PROTOCOL),
    "/status/999": (fixed("999 Request denied"), "http_999"),
    "/status/402": (fixed("402 Payment Required"), "http_402"),
    "/status/451": (fixed("451 Unavailable For Legal Reasons"), "http_451"),
    "/status/304": (fixed("304 Not Modified", b""), "http_304"),
    "/status/300": (fixed("300 Multiple Choices", b"", Location="/good"), "http_300"),
    "/status/305": (fixed("305 Use Proxy", b"", Location="http://10.0.0.1/"), "http_305"),
    "/status/502": (fixed("502 Bad Gateway"), "http_502"),
    "/status/504": (fixed("504 Gateway Timeout"), "http_504"),
    "/encoding/bomb": (fixed("200 OK", BOMB, Content_Encoding="gzip"), "content_encoding"),
    "/encoding/undeclared": (fixed("200 OK", BOMB[:5000]), "type_refused"),
    "/encoding/zstd": (fixed("200 OK", b"\x28\xb5\x2f\xfd" + bytes(60), Content_Encoding="zstd"), "content_encoding"),
    "/encoding/deflate": (fixed("200 OK", Content_Encoding="DEFLATE"), "content_encoding"),
    "/encoding/unknown": (fixed("200 OK", Content_Encoding="x-mine"), "content_encoding"),
    "/encoding/identity-and": (fixed("200 OK", Content_Encoding="identity, gzip"), "content_encoding"),
    "/type/json": (fixed("200 OK", b'{"error": "slow down"}', Content_Type="image/jpeg"), "type_refused"),
    "/type/pdf": (fixed("200 OK", b"%PDF-1.7\n" + bytes(50), Content_Type="image/png"), "type_refused"),
    "/type/script": (fixed("200 OK", b"/*GIF89a*/=1;alert(1)", Content_Type="image/gif"), "type_refused"),
}
MORE_GOOD: dict[str, Behaviour] = {
    "/unknown-coding": raw(START + b"Transfer-Encoding: rot13\r\n\r\n" + PNG),
    "/space-before-colon": raw(START + b"Content-Length : 208\r\n\r\n" + PNG),
    "/until-it-closes": raw(b"HTTP/1.0 200 OK\r\n\r\n" + PNG),
    "/wrong-type": fixed("200 OK", PNG, Content_Type="text/html"),
    "/without-a-type": fixed("200 OK", PNG),
    "/trailers": chunked(chunk(PNG), b"0\r\nX-Later: noai\r\n\r\n"),
    "/chunk-extension": chunked(b"d0;name=value\r\n" + PNG + b"\r\n0\r\n\r\n"),
    "/one-continue": raw(b"HTTP/1.1 100 Continue\r\n\r\n" + START + b"Content-Length: 208\r\n\r\n" + PNG),
}
