"""When a request that failed before any text came is made again, and after how long.

Connection errors, 409, 429 and 5xx are tried again, and so are an answer that ended before its first text and
408, after a wait that doubles and is jittered, or after the one that the upstream asks for (`Retry-After`, RFC 9110,
section 10.2.3). What the request itself caused, or what waiting does not mend, is never tried again.
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
    """How often and after how many seconds a request is made again."""

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
    """Return the wait in seconds that a response asks for, or None if it asks for none that makes sense.

    `Retry-After` is a number of seconds or an HTTP date; OpenAI sends the exact wait as `retry-after-ms` as well.
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
    """Decides, for one call, whether a failed attempt is followed by another: the hook that stamina asks."""

    def __init__(self, *, limits: RetryLimits, breaker: CircuitBreaker) -> None:
        self._limits = limits
        self._breaker = breaker
        self._retries = 0
        self._has_dropped = False

    def __call__(self, error: Exception) -> bool | float:
        """Return False to give up, True to wait as long as the backoff says, or the wait in seconds."""
        if not isinstance(error, UpstreamError):
            return False
        wait = self._wait(error)
        if wait is not False:
            self._retries += 1
        return wait

    def _wait(self, error: UpstreamError) -> bool | float:
        if isinstance(error, ConnectionDropped) and not self._has_dropped:
            # Most likely a kept-alive connection that the upstream had closed meanwhile, so it never saw the request.
            # That says nothing about its health: try at once, even where retries are turned off.
            self._has_dropped = True
            return 0.0 if self._retries < max(self._limits.max_retries, 1) else False
        if self._retries >= self._limits.max_retries:
            return False
        if error.code not in _TRIED_AGAIN and error.status != 408:
            return False
        if self._breaker.is_open:
            # The next attempt would only be refused, and hide what was wrong.
            return False
        if error.retry_after is None:
            return True
        if error.retry_after > self._limits.retry_after_limit_seconds:
            return False
        # Those who were sent away together do not come back in the same instant.
        return error.retry_after + random.uniform(0, self._limits.retry_wait_seconds)  # noqa: S311
