"""A cache limited by the total size of its values, because one may be a word and another two megabytes."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """Values by key. The least recently used are removed once their total weight exceeds `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._weight = 0
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        # Pages are rendered in several threads.
        self._lock = threading.Lock()

    def get(self, key: Key) -> tuple[Value] | None:
        """Return the value in a tuple, because it may be None, or None if the key isn't cached."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            self._entries.move_to_end(key)
            return (found[0],)

    def put(self, key: Key, value: Value, *, weight: int) -> None:
        """Store a value, unless it weighs more than the whole cache may."""
        with self._lock:
            if key in self._entries:
                self._weight -= self._entries.pop(key)[1]
            if weight > self._limit:
                return
            self._entries[key] = value, weight
            self._weight += weight
            while self._weight > self._limit:
                self._weight -= self._entries.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Remove everything."""
        with self._lock:
            self._entries.clear()
            self._weight = 0
