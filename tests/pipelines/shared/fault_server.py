"""An HTTP server on raw sockets that serves behaviours by path, and fetchers that it is any machine to."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from pipelines.shared.answers import Held
from pipelines.shared.fetch import Fetcher, Response
from pipelines.shared.fetch_settings import FetchLimits, FetchSettings
from pipelines.shared.guard import Guard
from pipelines.shared.names import Lookup
from pipelines.shared.reasons import LinkError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)
LIMITS = FetchLimits(
    deadline_sec=1.0,
    connect_sec=0.5,
    idle_sec=0.3,
    min_bytes_per_sec=1000.0,
    backoff_sec=0.01,
    max_retry_after_sec=0.3,
    max_image_bytes=10_000,
    max_clip_bytes=20_000,
    max_page_bytes=5_000,
)
Behaviour = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One request and what is sent back."""

    def __init__(self, server: "FaultServer", path: str, head: str, writer: asyncio.StreamWriter) -> None:
        self.server, self.path, self.head, self.writer = server, path, head, writer
        self.is_open = False

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: str, body: bytes = b"", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join([*lines, "", ""]).encode() + body)
        self.is_open = True

    async def drip(self, data: bytes, pause_sec: float) -> None:
        for byte in data:
            await self.send(bytes([byte]))
            await asyncio.sleep(pause_sec)

    def reset(self) -> None:
        self.writer.transport.abort()


def fixed(status: str, body: bytes = PNG, **headers: str) -> Behaviour:
    async def behave(x: Exchange) -> None:
        await x.answer(status, body, **headers)

    return behave


class FaultServer:
    """Serves behaviours by path in a thread of its own, and notes all requests."""

    def __init__(self, behaviours: dict[str, Behaviour]) -> None:
        self.behaviours = behaviours
        self.requests: list[tuple[str, str, float]] = []
        self.num_connections = 0
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.thread.start()
        assert self.ready.wait(10)

    async def _run(self) -> None:
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self.stop.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                path = head.split(" ")[1]
                self.requests.append((path, head, time.monotonic()))
                exchange = Exchange(self, path, head, writer)
                await self.behaviours.get(path, fixed("404 Not Found", b""))(exchange)
                if not exchange.is_open:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def count(self, path: str) -> int:
        return sum(each[0] == path for each in self.requests)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(5)


async def this_machine(host: str) -> list[str]:
    return ["127.0.0.1"]


def media(settings: FetchSettings, *urls: str, lookup: Lookup = this_machine) -> list[Response | LinkError]:
    """What becomes of URLs, fetched at the same time by one fetcher whose names all mean this machine."""

    async def one(fetcher: Fetcher, url: str) -> Response | LinkError:
        try:
            return await fetcher.get_media(url)
        except LinkError as error:
            return error

    async def run() -> list[Response | LinkError]:
        async with Fetcher(settings, lookup) as fetcher:
            return list(await asyncio.gather(*(one(fetcher, url) for url in urls)))

    return asyncio.run(run())


def served(server: FaultServer, **changes: object) -> FetchSettings:
    return FetchSettings(limits=LIMITS, guard=Guard(served_port=server.port), **changes)


def remote(server: FaultServer, folder: Path, **changes: object) -> FetchSettings:
    """Settings by which the server counts as any machine of the web."""
    guard = Guard(ports=frozenset({server.port}), allows=lambda address: str(address) == "127.0.0.1")
    return FetchSettings(limits=LIMITS, guard=guard, pace_folder=folder, **changes)


def get_held(settings: FetchSettings, url: str, held: Held) -> Response | LinkError:
    async def run() -> Response | LinkError:
        async with Fetcher(settings, this_machine) as fetcher:
            try:
                return await fetcher.get_media(url, held)
            except LinkError as error:
                return error

    return asyncio.run(run())
