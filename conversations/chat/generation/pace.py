"""The ticks at which this process reads from upstreams and sends frames to viewers."""

import asyncio
import time

# Until the bytes that had gathered have been read: one for the readers to ask, one for the event loop to receive them,
# and one for the readers to take them.
_ITERATIONS_TO_READ = 3
SENDERS_AT_ONCE = 25
"""How many viewers are woken in one iteration of the event loop. It looks after sockets between two iterations."""


class Pace:
    """One clock for all answers of a process, which reads and sends for all of them together.

    Each iteration of the event loop and each read and frame has a fixed cost, so fewer of them leave CPU time for other
    work. A tick comes every 33 ms if reading and frames take at most a tenth of that and ticks are punctual. Otherwise
    the interval grows, at first up to 100 ms. Beyond, only frames become rarer, to keep them to half a core; upstreams are
    still read every 100 ms, because text that hasn't been read is lost if this process is killed. Belongs to one event
    loop.
    """

    SHORTEST = 0.033
    """The interval in seconds while the process is at ease."""
    BUSY = 0.1
    """The interval to which the first signs of load lead, and the longest between two reads."""
    LONGEST = 1.0
    """The longest interval between two frames."""
    _SHARE_AT_EASE = 0.1
    _SHARE = 0.5
    # How much one tick changes the averages, so that a single slow frame doesn't slow down everyone.
    _WEIGHT = 0.2

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._readers: list[asyncio.Future[None]] = []
        self._senders: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._frames_due = 0.0
        self._noted = 0.0
        # Averages per tick, in seconds.
        self._cost = self._delay = 0.0

    async def reading(self) -> None:
        """Wait for the next tick, to read what an upstream has sent since the last one."""
        await self._wait(self._readers)

    async def sending(self) -> None:
        """Wait for the next tick with frames, to send a viewer the text that was read in it and since the last one."""
        await self._wait(self._senders)

    def note(self, seconds: float) -> None:
        """Record the cost of a frame."""
        self._noted += seconds

    @property
    def interval(self) -> float:
        """The current interval between two ticks with frames, in seconds."""
        return self.interval_under(cost=self._cost, delay=self._delay)

    @classmethod
    def interval_under(cls, *, cost: float, delay: float) -> float:
        """Return the interval if reading and frames cost this much per tick, and ticks come this late, in seconds."""
        at_ease = min((cost + delay) / cls._SHARE_AT_EASE, cls.BUSY)
        return min(max(cls.SHORTEST, at_ease, cost / cls._SHARE), cls.LONGEST)

    async def _wait(self, waiting: list["asyncio.Future[None]"]) -> None:
        ticked = self._loop.create_future()
        waiting.append(ticked)
        self._wind_up()
        await ticked

    def _wind_up(self) -> None:
        """Set the timer of the next tick, if someone waits for it."""
        if self._timer is not None or not (self._readers or self._senders):
            return
        now, interval = self._loop.time(), min(self.interval, self.BUSY)
        # Keep to the rhythm, unless nobody has waited for a while.
        self._due += interval
        if self._due <= now:
            self._due = now + interval
        self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._delay += self._WEIGHT * (max(self._loop.time() - self._due, 0.0) - self._delay)
        readers, self._readers = self._readers, []
        _wake(readers)
        self._loop.call_soon(self._let_read, _ITERATIONS_TO_READ, time.thread_time())

    def _let_read(self, iterations: int, begun: float) -> None:
        """Wake the senders after some iterations of the event loop, so that they get the text read in this tick."""
        if iterations:
            self._loop.call_soon(self._let_read, iterations - 1, begun)
            return
        self.note(time.thread_time() - begun)
        # Sums of floats differ in the last digits.
        if self._due > self._frames_due - 0.001:
            self._cost += self._WEIGHT * (self._noted - self._cost)
            self._noted = 0.0
            self._frames_due = self._due + self.interval
            senders, self._senders = self._senders, []
            self._send(senders)
        self._wind_up()

    def _send(self, senders: list["asyncio.Future[None]"]) -> None:
        _wake(senders[:SENDERS_AT_ONCE])
        if others := senders[SENDERS_AT_ONCE:]:
            self._loop.call_soon(self._send, others)


def _wake(waiting: list["asyncio.Future[None]"]) -> None:
    for ticked in waiting:
        if not ticked.done():
            ticked.set_result(None)
