"""A circuit breaker, which rejects requests at once while an upstream is down instead of letting them wait."""

import time
from collections import deque
from collections.abc import Callable


class CircuitOpen(Exception):
    """The circuit is open. `retry_after` is the time in seconds after which another request may be made."""

    def __init__(self, *, retry_after: float) -> None:
        super().__init__(f"The circuit is open for another {retry_after:.1f} seconds.")
        self.retry_after = retry_after


class CircuitBreaker:
    """Opens if at least `minimum` requests were made within `window_seconds` and a share of `threshold` or more failed.

    While it is open, no request is allowed. After `open_seconds` a single request, the probe, is allowed: if it
    succeeds, the circuit closes and its statistics are cleared; if it fails, the circuit stays open for another
    `open_seconds`. All times are in seconds of `clock`.
    """

    def __init__(
        self,
        *,
        minimum: int = 5,
        threshold: float = 0.5,
        window_seconds: float = 30,
        open_seconds: float = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._minimum = minimum
        self._threshold = threshold
        self._window_seconds = window_seconds
        self._open_seconds = open_seconds
        self._clock = clock
        self._outcomes: deque[tuple[float, bool]] = deque()
        self._open_until: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Return whether a request would be rejected now."""
        return self._open_until is not None and (self._probing or self._clock() < self._open_until)

    def acquire(self) -> bool:
        """Ask to make a request, and return whether it is the probe. Raises CircuitOpen.

        Settle every request that was allowed: a lost probe would keep the circuit open forever.
        """
        if self._open_until is None:
            return False
        if self.is_open:
            raise CircuitOpen(retry_after=max(self._open_until - self._clock(), 1.0))
        self._probing = True
        return True

    def settle(self, *, probe: bool, healthy: bool | None) -> None:
        """Record the result of a request. `healthy` is None if we gave up on it, which says nothing about the upstream."""
        now = self._clock()
        if probe:
            self._probing = False
            if healthy:
                self._open_until = None
                self._outcomes.clear()
            elif healthy is False:
                self._open_until = now + self._open_seconds
            return
        if healthy is None or self._open_until is not None:
            return
        outcomes = self._outcomes
        outcomes.append((now, healthy))
        while outcomes[0][0] < now - self._window_seconds:
            outcomes.popleft()
        failed = sum(not healthy for _, healthy in outcomes)
        if not healthy and len(outcomes) >= self._minimum and failed >= self._threshold * len(outcomes):
            self._open_until = now + self._open_seconds
