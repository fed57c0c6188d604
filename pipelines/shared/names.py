"""Addresses of names, looked up in threads of their own, bounded in time and number: a slow name delays no other.

The system's resolver cannot be interrupted: a lookup that was given up goes on in its thread, and keeps its place among
those that may be under way. A name waits for a place without its clock running, so that its answer depends on itself.
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

from pipelines.shared.reasons import LinkError

TIMEOUT_SEC = 5.0
MOST_LOOKUPS = 256
KEPT_SEC = 60.0
MOST_KEPT = 10_000

Lookup = Callable[[str], Awaitable[Sequence[str]]]


class Names:
    """Names that were looked up, kept for a minute; each is asked for once at a time."""

    def __init__(self, lookup: Lookup | None = None) -> None:
        """`lookup` gives a name's addresses; the system's resolver when None."""
        self.lookup = lookup
        self._places = asyncio.Semaphore(MOST_LOOKUPS)
        self._asked: dict[str, tuple[asyncio.Task[Sequence[str]], float]] = {}

    async def addresses(self, host: str) -> Sequence[str]:
        """A name's addresses.

        Raises:
            LinkError: `dns_error`.
        """
        known = self._asked.get(host)
        if known is None or _is_over(*known):
            if len(self._asked) >= MOST_KEPT:
                self._asked = {name: each for name, each in self._asked.items() if not _is_over(*each)}
            known = (asyncio.ensure_future(self._looked_up(host)), time.monotonic())
            self._asked[host] = known
        return await asyncio.shield(known[0])

    async def _looked_up(self, host: str) -> Sequence[str]:
        try:
            if self.lookup:
                return await asyncio.wait_for(self.lookup(host), TIMEOUT_SEC)
            return await self._in_thread(host)
        except (OSError, UnicodeError, TimeoutError) as error:
            raise LinkError("dns_error", "the name does not resolve") from error

    async def _in_thread(self, host: str) -> Sequence[str]:
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[str]] = loop.create_future()

        def finish(addresses: Sequence[str], error: Exception | None) -> None:
            self._places.release()
            if not answer.done() and error is None:
                answer.set_result(addresses)
            elif not answer.done() and error is not None:
                answer.set_exception(error)

        def work() -> None:
            try:
                found, failure = _getaddrinfo(host), None
            except Exception as error:
                found, failure = [], error
            with contextlib.suppress(RuntimeError):  # the loop may be closed by now
                loop.call_soon_threadsafe(finish, found, failure)

        threading.Thread(target=work, daemon=True, name=f"lookup of {host}").start()
        return await asyncio.wait_for(answer, TIMEOUT_SEC)


def _is_over(task: "asyncio.Task[Sequence[str]]", since: float) -> bool:
    """Whether a lookup has ended in a failure, or too long ago."""
    return task.done() and (time.monotonic() - since > KEPT_SEC or task.cancelled() or task.exception() is not None)


def _getaddrinfo(host: str) -> list[str]:
    return [str(place[0]) for *_, place in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
