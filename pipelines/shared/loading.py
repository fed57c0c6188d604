"""Loaders of models: one copy per process, whatever number of threads run in it."""

import functools
import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class LoadedOnce(Generic[T]):
    """A decorator of a function that loads a model: it runs once for equal arguments, and its answer is kept.

    `functools.cache` alone lets two threads load the same model at the same time.

    Attributes:
        cached: The function behind a `functools.cache`, without the lock.
    """

    def __init__(self, load: Callable[..., T]) -> None:
        functools.update_wrapper(self, load)
        self.cached = functools.cache(load)
        self.lock = threading.Lock()

    def __call__(self, *args: Hashable) -> T:
        """The model; threads that ask while it is loaded wait."""
        with self.lock:
            return self.cached(*args)
