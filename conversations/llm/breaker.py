"""A circuit breaker: when an upstream is down, say so at once instead of letting everybody wait for it."""

import time
from collections import deque
from collections.abc import Callable


class CircuitOpen(Exception):
    """No request may be made now. `retry_after` is the time in seconds after which one may be."""

    def __init__(self, *, retry_after: float) -> None:
        super().__init__(f"The circuit is open for another {retry_after:.1f} seconds.")
        self.retry_after = retry_after


class CircuitBreaker:
    """Opens when, of at least `minimum` requests in `window_seconds`, the share `threshold` or more failed.

    While it is open no request passes. After `open_seconds` one request, the probe, may pass: if it goes well the
    circuit is closed and its memory empty, if it fails the circuit is open for another `open_seconds`.
    Times are those of `clock`, in seconds.
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
        """Whether a request would be refused now."""
        return self._open_until is not None and (self._probing or self._clock() < self._open_until)

    def acquire(self) -> bool:
        """Ask to make a request; return whether it is the probe. Raises CircuitOpen.

        Every request that was allowed must be settled, or a lost probe keeps the circuit open for ever.
        """
        if self._open_until is None:
            return False
        if self.is_open:
            raise CircuitOpen(retry_after=max(self._open_until - self._clock(), 1.0))
        self._probing = True
        return True

    def settle(self, *, probe: bool, healthy: bool | None) -> None:
        """Tell how a request went; `healthy` is None when it says nothing, because it was given up on our side."""
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
