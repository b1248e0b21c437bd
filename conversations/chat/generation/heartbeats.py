"""Detect heartbeats that have stopped, without comparing the clocks of two machines.

The clock that wrote a heartbeat may be wrong, and the observer's own clock may be changed. So each observer measures
with its monotonic clock how long a heartbeat has stayed the same, and ignores the time written in it.
"""

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class HeartbeatWatch(Generic[Key]):
    """Remembers one observer's last heartbeats and when each of them last changed. `lease` is in seconds."""

    def __init__(self, lease: float) -> None:
        self.lease = lease
        self._seen: dict[Key, tuple[object, float]] = {}
        self._looked_at = float("-inf")

    @property
    def interval(self) -> float:
        """The longest pause between two checks, in seconds, after which earlier observations still count."""
        return self.lease / 2

    def stale(self, beats: Mapping[Key, object], *, at: float) -> set[Key]:
        """Record the current heartbeats, and return the keys of those that haven't changed for the length of the lease.

        `at` is the observer's monotonic time in seconds. After a pause longer than `interval`, all measurements start
        again: if the database was unavailable, live processes couldn't write their heartbeats either.
        """
        if at - self._looked_at > self.interval:
            self._seen.clear()
        self._looked_at = at
        self._seen = {
            key: self._seen[key] if key in self._seen and self._seen[key][0] == beat else (beat, at)
            for key, beat in beats.items()
        }
        return {key for key, (_beat, since) in self._seen.items() if at - since >= self.lease}
