"""The ticks at which this process reads from upstreams and sends frames to viewers."""

import asyncio
import time


class Pace:
    """One clock for all answers of a process, so that a loop iteration reads and sends for all of them at once.

    Each iteration of the event loop and each read and frame has a fixed cost, so fewer of them leave CPU time for other
    work. The interval between two ticks grows with the load, which is the time that reading and frames took since the
    last tick, and how late this tick came. At ease, they may take a fifth of a core before ticks become rarer, and half
    a core in any case. Belongs to one event loop.
    """

    SHORTEST = 0.033
    """The interval in seconds while the process is at ease."""
    BUSY = 0.1
    """The interval to which the first sign of load leads."""
    LONGEST = 1.0
    _SHARE_AT_EASE = 0.2
    _SHARE = 0.5
    # How much one tick changes the average, so that a single slow frame doesn't slow down everyone.
    _WEIGHT = 0.2

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._readers: list[asyncio.Future[None]] = []
        self._senders: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._noted = 0.0
        self._load = 0.0

    async def reading(self) -> None:
        """Wait for the next tick, to read what an upstream has sent since the last one."""
        await self._wait(self._readers)

    async def sending(self) -> None:
        """Wait for the next tick, to send a viewer the text that was read in it and since the last one."""
        await self._wait(self._senders)

    def note(self, seconds: float) -> None:
        """Record the cost of a frame."""
        self._noted += seconds

    @property
    def interval(self) -> float:
        """The current interval between two ticks, in seconds."""
        return self.interval_under(self._load)

    @classmethod
    def interval_under(cls, load: float) -> float:
        """Return the interval for a load, in seconds per tick."""
        at_ease = min(load / cls._SHARE_AT_EASE, cls.BUSY)
        return min(max(cls.SHORTEST, at_ease, load / cls._SHARE), cls.LONGEST)

    async def _wait(self, waiting: list["asyncio.Future[None]"]) -> None:
        if self._timer is None:
            now = self._loop.time()
            # Keep to the rhythm, unless nobody has waited for a while.
            self._due += self.interval
            if self._due <= now:
                self._due = now + self.interval
            self._timer = self._loop.call_at(self._due, self._tick)
        ticked = self._loop.create_future()
        waiting.append(ticked)
        await ticked

    def _tick(self) -> None:
        self._timer = None
        lateness = max(self._loop.time() - self._due, 0.0)
        self._load += self._WEIGHT * (self._noted + lateness - self._load)
        self._noted = 0.0
        # Waiters run in the order they are woken, so viewers get the text that is read in this tick.
        begun = time.perf_counter()
        _wake(self._readers)
        self._loop.call_soon(self._note_since, begun)
        _wake(self._senders)

    def _note_since(self, begun: float) -> None:
        self.note(time.perf_counter() - begun)


def _wake(waiting: list["asyncio.Future[None]"]) -> None:
    for ticked in waiting:
        if not ticked.done():
            ticked.set_result(None)
    waiting.clear()
