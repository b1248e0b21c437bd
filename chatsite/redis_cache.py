"""A cache in Redis that falls back to memory while Redis is unavailable."""

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import redis
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.redis import RedisCache
from redis.backoff import NoBackoff
from redis.retry import Retry

from .caches import JSONSerializer, LocalCache

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

TIME_LIMIT_SECONDS = 1.0
"""Time limit for connecting and for the answer to a command."""
PAUSE_SECONDS = 3.0
"""Pause after Redis did not answer. Then one operation tries again."""
MAX_KEYS_TO_DELETE = 10_000

_REDIS_OPTIONS = {
    "serializer": JSONSerializer,
    "socket_connect_timeout": TIME_LIMIT_SECONDS,
    "socket_timeout": TIME_LIMIT_SECONDS,
    # Retry at once if an idle connection was cut, but not if the server does not answer.
    "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
}


class _Shared:
    """State shared by all threads: the connections, the local values, and whether Redis is unavailable."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        self.redis = RedisCache([server], {**params, "OPTIONS": _REDIS_OPTIONS})
        self.local = LocalCache(server, params)
        self._lock = threading.Lock()
        self._is_away = False
        self._ask_at = 0.0
        self._to_delete: dict[tuple[Any, int | None], None] = {}

    def may_ask(self) -> bool:
        """Return whether this operation should use Redis. During an outage, one operation per pause does."""
        with self._lock:
            if self._is_away:
                if time.monotonic() < self._ask_at:
                    return False
                self._ask_at = time.monotonic() + PAUSE_SECONDS
            return True

    def note_loss(self, error: redis.RedisError) -> None:
        with self._lock:
            was_away, self._is_away = self._is_away, True
            self._ask_at = time.monotonic() + PAUSE_SECONDS
        if not was_away:
            logger.warning(
                "Redis is unavailable (%s). Until it is back, this process counts sign-in attempts by itself.",
                type(error).__qualname__,
            )

    def note_answer(self) -> None:
        with self._lock:
            if not self._is_away:
                return
            self._is_away = False
            keys, self._to_delete = list(self._to_delete), {}
        logger.warning("Redis is back. It counts sign-in attempts again.")
        for version in {version for _, version in keys}:
            self.redis.delete_many([key for key, of in keys if of == version], version)

    def note_key(self, key: Any, version: int | None) -> None:
        """During an outage, remember a key that Redis may still hold, so it can be deleted afterwards.

        A lock that could not be deleted from Redis would stop people from signing in until it expires.
        """
        with self._lock:
            if self._is_away and len(self._to_delete) < MAX_KEYS_TO_DELETE:
                self._to_delete[key, version] = None


_shared: dict[str, _Shared] = {}


class RedisOrLocalCache(BaseCache):
    """Store values in Redis (`LOCATION`), or in this process while Redis does not answer."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        if server not in _shared:
            _shared.setdefault(server, _Shared(server, params))
        self._both = _shared[server]

    def _ask(self, operation: Callable[[BaseCache], Result]) -> Result:
        if self._both.may_ask():
            try:
                result = operation(self._both.redis)
                self._both.note_answer()
            except redis.RedisError as error:
                self._both.note_loss(error)
            else:
                return result
        return operation(self._both.local)

    def add(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        is_added = self._ask(lambda cache: cache.add(key, value, timeout, version))
        self._both.note_key(key, version)
        return is_added

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        try:
            return self._ask(lambda cache: cache.get(key, default, version))
        except (json.JSONDecodeError, UnicodeDecodeError):
            # Something else wrote this value. It is never unpickled, and the next one replaces it.
            return default

    def set(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        self._ask(lambda cache: cache.set(key, value, timeout, version))

    def touch(self, key: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return self._ask(lambda cache: cache.touch(key, timeout, version))

    def delete(self, key: Any, version: int | None = None) -> bool:
        was_there = self._ask(lambda cache: cache.delete(key, version))
        self._both.note_key(key, version)
        return was_there

    def has_key(self, key: Any, version: int | None = None) -> bool:
        return self._ask(lambda cache: cache.has_key(key, version))

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return self._ask(lambda cache: cache.incr(key, delta, version))

    def clear(self) -> None:
        self._ask(lambda cache: cache.clear())
