"""Caches for many threads: bounded by bytes, and without the same work being done twice at once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

V = TypeVar("V")


def shared(function: Callable[..., V]) -> Callable[..., V]:
    """For a cached function of slow, large results: callers with the same arguments wait for the first of them.

    `lru_cache` alone would let each of them make, and hold, the result.
    """
    guard = threading.Lock()
    locks: WeakValueDictionary[Hashable, _Lock] = WeakValueDictionary()

    @wraps(function)
    def wait_and_call(*key: Hashable) -> V:
        with guard:
            lock = locks.setdefault(key, _Lock())
        with lock.lock:
            return function(*key)

    return wait_and_call


class _Lock:
    def __init__(self) -> None:
        self.lock = threading.Lock()


class ByteCache(Generic[V]):
    """Keeps what was used last, up to a number of bytes (or of whatever `size` counts); safe for many threads."""

    def __init__(self, limit_bytes: int, size: Callable[[V], int]) -> None:
        """`size` tells the bytes of a value; a value larger than the limit is not kept."""
        self._limit, self._size = limit_bytes, size
        self._kept: OrderedDict[Hashable, V] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """What it holds now."""
        return self._held

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """The value of a key, made now if it is not kept. Two threads may make the same value at once."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        value = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = value
                self._held += self._size(value)
            while self._held > self._limit and self._kept:
                _, dropped = self._kept.popitem(last=False)
                self._held -= self._size(dropped)
        return value
