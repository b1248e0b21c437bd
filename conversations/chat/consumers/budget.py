"""Rate limits for frames, per page and per user."""

from weakref import WeakValueDictionary

BURST_FRAMES = 200
"""The number of frames a page may send at once."""
FRAMES_PER_SECOND = 20.0
"""The number of frames a page may send per second after a burst."""
FRAME_BYTES = 4_096
"""The number of bytes that cost as much as one more frame."""
USER_FACTOR = 3
"""All pages of a user in this process may together send this many times as much as one page."""


class FrameBudget:
    """A token bucket. All times are in seconds on one monotonic clock."""

    def __init__(self, *, factor: int = 1, at: float) -> None:
        self._capacity = float(BURST_FRAMES * factor)
        self._rate = FRAMES_PER_SECOND * factor
        self._left = self._capacity
        self._at = at

    def spend(self, size: int, *, at: float) -> bool:
        """Charge for a frame of `size` bytes, and return whether the budget covered it."""
        self._left = min(self._capacity, self._left + (at - self._at) * self._rate)
        self._at = at
        self._left -= 1 + size // FRAME_BYTES
        return self._left >= 0


_of_users: WeakValueDictionary[int, FrameBudget] = WeakValueDictionary()


def budget_of_user(user_id: int, *, at: float) -> FrameBudget:
    """Return the budget that all pages of this user share in this process, as long as one of them holds it."""
    return _of_users.setdefault(user_id, FrameBudget(factor=USER_FACTOR, at=at))
