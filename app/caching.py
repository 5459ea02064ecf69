"""A cache that is bounded by what it holds, not by how many things it holds."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class ByteCache(Generic[V]):
    """Keeps what was used last, up to a number of bytes; safe for many threads."""

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
