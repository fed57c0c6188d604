"""A client of an OpenAI-compatible server: bounded, with retries, and with a cache of answers by content.

Only `POST <base URL>/chat/completions` is used, as OpenAI documents it and vLLM, llama.cpp and others speak it. An
answer that is late, too long, of another form or of a passing status (408, 409, 429, 5xx) is asked for again, after a
pause that doubles and is never shorter than the server's `Retry-After`, up to a limit. What stays without an answer has
a reason: `timeout`, `connect_error`, `malformed`, `too_long` or `http_<status>`. 401, 403 and 404 are a user's mistake
and end the work, because no other request would fare better.

The cache has a file per request, by the sha256 of the request's body: what was asked, of which model, with which
pictures. The key goes into one header of the requests: it is in no file, no message and no digest. Redirects are not
followed, and over plain HTTP it is sent to this machine only.
"""

import asyncio
import ipaddress
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from pipelines.shared.files import digest_json, write_json

PASSING = frozenset({408, 409, 429})
MISTAKES = {401: "the key is missing or wrong", 403: "the key may not do this", 404: "no such model or base URL"}
CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server and how it is asked.

    Attributes:
        url: Base URL, such as `http://127.0.0.1:8000/v1`.
        key: Sent as a bearer token; empty for none. Never shown.
        concurrency: Most requests at a time.
        timeout_sec: For one try, from the connection to the last byte.
        tries: Most tries of one request.
        backoff_sec: Pause before the second try; it doubles.
        most_wait_sec: Longest pause.
        max_answer_bytes: Longest answer.
    """

    url: str
    key: str = field(default="", repr=False)
    concurrency: int = 4
    timeout_sec: float = 60.0
    tries: int = 5
    backoff_sec: float = 1.0
    most_wait_sec: float = 60.0
    max_answer_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError("the base URL must be http(s)://host[:port][/path], without a user and a query")
        if self.key and parts.scheme == "http" and not _is_here(parts.hostname):
            raise ValueError(f"a key goes over https, or to this machine; the base URL is http on {parts.hostname}")
        if any(not "!" <= character <= "~" for character in self.key):
            raise ValueError("the key must be printable ASCII without spaces")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request: a text, which may be empty, or the reason why there is none."""

    text: str = ""
    reason: str = ""


class _TryError(Exception):
    """A try that failed.

    Attributes:
        reason: Why.
        may_pass: Whether another try may end otherwise.
        wait_sec: What the server asks to wait.
    """

    def __init__(self, reason: str, *, may_pass: bool = True, wait_sec: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.may_pass, self.wait_sec = reason, may_pass, wait_sec


def ask(server: Server, bodies: Sequence[Mapping[str, Any]], cache: Path | None) -> list[Answer]:
    """Send requests, several at a time; answers come in the order of the requests.

    Args:
        server: The server.
        bodies: JSON bodies of chat completions. Equal ones are sent once.
        cache: Folder of earlier answers; None for none.

    Raises:
        ValueError: The server says that the key, the model or the base URL is wrong.
    """
    return asyncio.run(_ask(server, bodies, cache))


async def _ask(server: Server, bodies: Sequence[Mapping[str, Any]], cache: Path | None) -> list[Answer]:
    turns = asyncio.Semaphore(server.concurrency)
    digests = [digest_json(body) for body in bodies]
    timeout = aiohttp.ClientTimeout(total=server.timeout_sec)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(digest: str, body: Mapping[str, Any]) -> Answer:
            path = cache / digest[:2] / f"{digest}.json" if cache else None
            if path and (known := _cached(path)) is not None:
                return Answer(known)
            async with turns:
                answer = await _answer(session, server, body)
            if path and not answer.reason:
                write_json(path, {"text": answer.text})
            return answer

        requests = dict(zip(digests, bodies, strict=True))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {digest: group.create_task(one(digest, body)) for digest, body in requests.items()}
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
    return [tasks[digest].result() for digest in digests]


def _cached(path: Path) -> str | None:
    """An answer that is kept, used now; None where there is none, or a damaged one."""
    try:
        text = json.loads(path.read_bytes())["text"]
        os.utime(path)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return text.encode(errors="ignore").decode() if isinstance(text, str) else None


async def _answer(session: aiohttp.ClientSession, server: Server, body: Mapping[str, Any]) -> Answer:
    """Try until there is an answer, or no try is left."""
    pause_sec, reason = server.backoff_sec, ""
    for number in range(server.tries):
        try:
            return Answer(await _try(session, server, body))
        except _TryError as error:
            reason = error.reason
            if not error.may_pass:
                break
            if number < server.tries - 1:
                await asyncio.sleep(min(max(pause_sec, error.wait_sec), server.most_wait_sec))
            pause_sec *= 2
    return Answer(reason=reason)


async def _try(session: aiohttp.ClientSession, server: Server, body: Mapping[str, Any]) -> str:
    """The text of one answer.

    Raises:
        _TryError: There is none.
        ValueError: The server says that the request can never be answered.
    """
    headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
    url = server.url.rstrip("/") + "/chat/completions"
    try:
        async with session.post(url, json=body, headers=headers, allow_redirects=False) as response:
            if response.status in MISTAKES:
                raise ValueError(f"the model server answers {response.status}: {MISTAKES[response.status]}")
            if response.status != 200:
                passing = response.status in PASSING or response.status >= 500
                wait_sec = _seconds(response.headers.get("Retry-After", ""))
                raise _TryError(f"http_{response.status}", may_pass=passing, wait_sec=wait_sec)
            content = b""
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                content += chunk
                if len(content) > server.max_answer_bytes:
                    raise _TryError("too_long")
    except TimeoutError:
        raise _TryError("timeout") from None
    except aiohttp.ClientError:
        raise _TryError("connect_error") from None
    return _text(content)


def _text(content: bytes) -> str:
    """The text of a chat completion; a refusal, or what a content filter took away, is an empty one.

    JSON can name halves of surrogate pairs, which no file can hold: they are left out.
    """
    try:
        (choice, *_) = json.loads(content)["choices"]
        message = choice["message"]
        text = message["content"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _TryError("malformed") from None
    if text is None and (message.get("refusal") or choice.get("finish_reason") == "content_filter"):
        return ""
    if not isinstance(text, str):
        raise _TryError("malformed")
    return text.encode(errors="ignore").decode()


def _seconds(text: str) -> float:
    """A `Retry-After` in seconds; 0 for a date or none."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0


def _is_here(host: str) -> bool:
    """Whether a host is this machine, by its name alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
