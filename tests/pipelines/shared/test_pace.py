"""Turns at a host are apart, in one process and between processes."""

import asyncio
import multiprocessing
import time
from pathlib import Path

from pipelines.shared.pace import Pace


async def turns(pace: Pace, host: str, count: int, delay_sec: float) -> list[float]:
    starts = []

    async def one() -> None:
        await pace.turn(host, delay_sec)
        starts.append(time.time())

    await asyncio.gather(*(one() for _ in range(count)))
    return sorted(starts)


def worker(folder: Path, queue: multiprocessing.Queue) -> None:
    queue.put(asyncio.run(turns(Pace(folder), "a.com", 4, 0.1)))


def test_one_process(tmp_path: Path) -> None:
    begin = time.time()
    starts = asyncio.run(turns(Pace(tmp_path), "a.com", 4, 0.08))
    assert all(start - begin >= 0.08 * place - 0.001 for place, start in enumerate(starts))
    assert starts[-1] - begin < 2.0


def test_two_processes_share_the_turns(tmp_path: Path) -> None:
    begin = time.time()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=worker, args=(tmp_path, queue)) for _ in range(2)]
    for each in workers:
        each.start()
    starts = sorted(queue.get(timeout=20) + queue.get(timeout=20))
    for each in workers:
        each.join()
    assert len(starts) == 8
    assert all(start - begin >= 0.1 * place - 0.001 for place, start in enumerate(starts)), "whoever takes them"


def test_hosts_do_not_wait_for_each_other(tmp_path: Path) -> None:
    pace = Pace(tmp_path)

    async def run() -> float:
        started = time.time()
        await asyncio.gather(*(pace.turn(f"{index}.com", 30.0) for index in range(5)))
        return time.time() - started

    assert asyncio.run(run()) < 1.0


def test_hold_stops_even_those_who_wait(tmp_path: Path) -> None:
    pace = Pace(tmp_path)

    async def run() -> list[float]:
        started = time.time()
        waiting = asyncio.create_task(turns(pace, "a.com", 2, 0.1))
        await asyncio.sleep(0.03)
        pace.hold("a.com", 0.4)
        return [start - started for start in await waiting]

    first, second = asyncio.run(run())
    assert first < 0.1, "the first turn came before the pause"
    assert second >= 0.42


def test_torn_file_means_no_memory(tmp_path: Path) -> None:
    pace = Pace(tmp_path)
    asyncio.run(pace.turn("a.com", 30.0))
    (file,) = tmp_path.iterdir()
    file.write_text("17")
    started = time.time()
    asyncio.run(pace.turn("a.com", 30.0))
    assert time.time() - started < 1.0
