"""A network of its own in which every address of the world is this machine, and a fetcher that is let loose in it.

Run by `unshare -n`: the new network has no way out, and both default routes lead to its loopback device, so a listener
on `0.0.0.0` and `[::]` is reached by whatever address is connected to. What it accepts, it notes by that address.
Standard input has JSON `{"urls": [...], "redirects": [...], "names": {...}}`; standard output gets JSON `{"results":
{url: reason}, "accepted": [address], "asked": [name]}`.
"""

import asyncio
import itertools
import json
import socket
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from pipelines.shared import names as looked_up
from pipelines.shared.fetch import Fetcher
from pipelines.shared.fetch_settings import FetchLimits, FetchSettings
from pipelines.shared.reasons import LinkError

PLAIN_PORT = 80
PORTS = (PLAIN_PORT, 443, 22, 8080)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)
LIMITS = FetchLimits(deadline_sec=20.0, connect_sec=5.0, idle_sec=10.0, retries=0)
SEVERAL_AT_A_TIME = 16


def open_the_world() -> None:
    """Every IPv4 and IPv6 address becomes one of this machine."""
    for words in (
        "link set lo up",
        "route add local 0.0.0.0/0 dev lo",
        "route add local ::/0 dev lo",
    ):
        subprocess.run(["ip", *(["-6"] if "::" in words else []), *words.split()], check=True)


class Sentinel:
    """Listens at every address; the path of a request chooses the answer."""

    def __init__(self, redirects: list[str]) -> None:
        self.redirects = redirects
        self.accepted: list[str] = []

    async def listen(self) -> None:
        for family, port in itertools.product((socket.AF_INET, socket.AF_INET6), PORTS):
            handle = socket.socket(family)
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            handle.bind(("", port))
            await asyncio.start_server(self.serve, sock=handle)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address, port, *_ = writer.get_extra_info("sockname")
        self.accepted.append(address.removeprefix("::ffff:") if "." in address else address)
        try:
            if port != PLAIN_PORT:
                return  # that somebody came is all that there is to know
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ")[1].decode()
                if path == "/robots.txt":
                    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
                elif path.startswith("/to/"):
                    status, index = path.split("/")[2:]
                    target = self.redirects[int(index)].encode("utf-8", "surrogateescape")
                    answer = b"HTTP/1.1 %s Moved\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n" % (
                        status.encode(),
                        target,
                    )
                else:
                    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(PNG), PNG)
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def run(urls: list[str], redirects: list[str], names: dict[str, list[list[str]]]) -> dict:
    """Fetch all URLs, and a redirect to each of `redirects`; names answer one list of addresses after another."""
    sentinel, asked, turns = Sentinel(redirects), [], defaultdict(int)
    await sentinel.listen()

    async def lookup(host: str) -> list[str]:
        asked.append(host)
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        answers, turns[host] = names[host], turns[host] + 1
        return answers[min(turns[host], len(answers)) - 1]

    with tempfile.TemporaryDirectory() as folder:
        settings = FetchSettings(
            limits=LIMITS, contact="https://me.example", delay_sec=0.0, pace_folder=Path(folder), requests_per_host=64
        )
        turn = asyncio.Semaphore(SEVERAL_AT_A_TIME)

        async with Fetcher(settings, lookup) as fetcher:

            async def one(url: str) -> str:
                async with turn:
                    try:
                        await fetcher.get_media(url)
                    except LinkError as error:
                        return error.reason
                    return ""

            results = dict(zip(urls, await asyncio.gather(*map(one, urls)), strict=True))
    return {"results": results, "accepted": sentinel.accepted, "asked": asked}


if __name__ == "__main__":
    open_the_world()
    looked_up.KEPT_SEC = -1.0  # so that a name is asked for whenever it might be
    print(json.dumps(asyncio.run(run(**json.load(sys.stdin)))))
