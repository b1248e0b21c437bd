"""A bounded in-memory cache that stores JSON and drops expired entries first.

Django's in-memory cache keeps only 300 entries, so attempts under other names would push out an account's failed ones.
"""

import json
import math
import threading
import time
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

FIRST_SWEEP = 1_000


class JSONSerializer:
    """Serialise values as JSON, and refuse those that JSON would change."""

    def dumps(self, value: Any) -> bytes:
        data = json.dumps(value).encode()
        if json.loads(data) != value:
            raise TypeError(f"JSON would change this value of {type(value)}: {value!r}")
        return data

    def loads(self, data: bytes) -> Any:
        return json.loads(data)


class _Store:
    """Values by key, with their expiry times. Hold the lock to read before writing."""

    def __init__(self, max_entries: int) -> None:
        self.lock = threading.RLock()
        self.entries: dict[str, tuple[bytes, float]] = {}
        self._max_entries = max_entries
        self._sweep_at = FIRST_SWEEP

    def get(self, key: str) -> bytes | None:
        data, expires_at = self.entries.get(key, (None, 0.0))
        return data if time.time() < expires_at else None

    def put(self, key: str, data: bytes, expires_at: float) -> None:
        self.entries.pop(key, None)
        if len(self.entries) >= min(self._sweep_at, self._max_entries):
            self._sweep()
        self.entries[key] = (data, expires_at)

    def _sweep(self) -> None:
        """Drop expired entries and, if that is not enough, the oldest tenth.

        The next sweep comes when there are twice as many entries, or when the store is full, so each write costs little.
        """
        now = time.time()
        for key in [key for key, (_, expires_at) in self.entries.items() if expires_at <= now]:
            del self.entries[key]
        if len(self.entries) >= self._max_entries:
            for key in list(self.entries)[: self._max_entries // 10 + 1]:
                del self.entries[key]
        self._sweep_at = max(FIRST_SWEEP, 2 * len(self.entries))


_stores: dict[str, _Store] = {}


class LocalCache(BaseCache):
    """An in-memory cache that all threads of the process share by name (`LOCATION`)."""

    _serializer = JSONSerializer()

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._store = _stores.setdefault(name, _Store(self._max_entries))

    def add(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        key, data = self.make_and_validate_key(key, version), self._serializer.dumps(value)
        with self._store.lock:
            if self._store.get(key) is not None:
                return False
            self._store.put(key, data, self._expiry(timeout))
        return True

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        with self._store.lock:
            data = self._store.get(self.make_and_validate_key(key, version))
        return default if data is None else self._serializer.loads(data)

    def set(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        key, data = self.make_and_validate_key(key, version), self._serializer.dumps(value)
        with self._store.lock:
            self._store.put(key, data, self._expiry(timeout))

    def touch(self, key: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        key = self.make_and_validate_key(key, version)
        with self._store.lock:
            data = self._store.get(key)
            if data is not None:
                self._store.put(key, data, self._expiry(timeout))
        return data is not None

    def delete(self, key: Any, version: int | None = None) -> bool:
        key = self.make_and_validate_key(key, version)
        with self._store.lock:
            was_there = self._store.get(key) is not None
            self._store.entries.pop(key, None)
        return was_there

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        made = self.make_and_validate_key(key, version)
        with self._store.lock:
            data = self._store.get(made)
            if data is None:
                raise ValueError(f"Key '{made}' not found")
            value: int = self._serializer.loads(data) + delta
            # As in Redis, incrementing keeps the expiry time.
            self._store.put(made, self._serializer.dumps(value), self._store.entries[made][1])
        return value

    def clear(self) -> None:
        with self._store.lock:
            self._store.entries.clear()

    def _expiry(self, timeout: float | None) -> float:
        expires_at = self.get_backend_timeout(timeout)
        return math.inf if expires_at is None else expires_at
