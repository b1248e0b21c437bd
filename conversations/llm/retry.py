"""Decide whether a request that failed before any text arrived is retried, and after what wait.

Retried are connection errors, 408, 409, 429, 5xx, and answers that ended before their first text. The wait doubles each
time and is jittered, unless the upstream asks for a certain one (`Retry-After`, RFC 9110, section 10.2.3). Errors that
the request caused, or that time doesn't fix, are never retried.
"""

import math
import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Protocol

from conversations.llm.breaker import CircuitBreaker
from conversations.llm.errors import ConnectionDropped, UpstreamError, UpstreamErrorCode


class RetryLimits(Protocol):
    """How often and after how many seconds a request is retried."""

    @property
    def max_retries(self) -> int: ...
    @property
    def retry_wait_seconds(self) -> float: ...
    @property
    def retry_wait_limit_seconds(self) -> float: ...
    @property
    def retry_after_limit_seconds(self) -> float: ...


_TRIED_AGAIN = frozenset(
    {
        UpstreamErrorCode.UNREACHABLE,
        UpstreamErrorCode.RATE_LIMITED,
        UpstreamErrorCode.SERVER_ERROR,
        UpstreamErrorCode.INTERRUPTED,
    }
)


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Return the wait in seconds that a response asks for, or None if it doesn't give a valid one.

    `Retry-After` is a number of seconds or an HTTP date. OpenAI also sends the exact wait as `retry-after-ms`.
    """
    milliseconds = _seconds(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "")
    seconds = _seconds(value)
    if seconds is not None or not value:
        return seconds
    try:
        at = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(at - time.time(), 0.0)


def _seconds(value: str) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


class RetryPolicy:
    """Decides for one call whether to retry a failed attempt. stamina calls it as its retry hook."""

    def __init__(self, *, limits: RetryLimits, breaker: CircuitBreaker) -> None:
        self._limits = limits
        self._breaker = breaker
        self._retries = 0
        self._has_dropped = False

    def __call__(self, error: Exception) -> bool | float:
        """Return False to give up, True to wait for the standard backoff, or a wait in seconds."""
        if not isinstance(error, UpstreamError):
            return False
        wait = self._wait(error)
        if wait is not False:
            self._retries += 1
        return wait

    def _wait(self, error: UpstreamError) -> bool | float:
        if isinstance(error, ConnectionDropped) and not self._has_dropped:
            # Probably a kept-alive connection that the upstream had already closed, so it never received the request.
            # That says nothing about its health: retry at once, even if retries are turned off.
            self._has_dropped = True
            return 0.0 if self._retries < max(self._limits.max_retries, 1) else False
        if self._retries >= self._limits.max_retries:
            return False
        if error.code not in _TRIED_AGAIN and error.status != 408:
            return False
        if self._breaker.is_open:
            # Another attempt would be rejected by the circuit breaker, which would hide the real error.
            return False
        if error.retry_after is None:
            return True
        if error.retry_after > self._limits.retry_after_limit_seconds:
            return False
        # Jitter, so that clients rejected at the same time don't all return at once.
        return error.retry_after + random.uniform(0, self._limits.retry_wait_seconds)  # noqa: S311
