import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.shared.loading import LoadedOnce


def test_threads_share_one_copy():
    calls = []

    @LoadedOnce
    def load(name: str) -> list[str]:
        """Takes a while."""
        calls.append(name)
        time.sleep(0.02)
        return [name]

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(load, "abababab"))
    assert sorted(calls) == ["a", "b"] and load.cached.cache_info().currsize == 2
    assert len({id(each) for each in found}) == 2
    assert load.__doc__ == "Takes a while." and load.__name__ == "load"
    load.cached.cache_clear()
    assert load.cached.cache_info().currsize == 0 and load("a") == ["a"] and len(calls) == 3


def test_what_fails_is_tried_again():
    @LoadedOnce
    def load(name: str) -> str:
        raise ValueError(name)

    for _ in range(2):
        with pytest.raises(ValueError, match="x"):
            load("x")
    assert load.cached.cache_info().currsize == 0
