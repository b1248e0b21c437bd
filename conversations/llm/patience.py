"""A limit on how long one may wait, cheap enough to be set for each of a thousand reads."""

import asyncio
from types import TracebackType


class Patience:
    """Limits the time that the block of a `with` statement may wait; may be entered again and again.

    It does what `asyncio.timeout_at` does, with one difference: the timer is not made anew for each block. It looks
    when it fires whether the block that is running now is due, and if not, it sets itself for when that one will be.
    A stream of a thousand reads needs a handful of timers this way. Call `close` at the end.
    """

    __slots__ = ("_cancelling", "_due", "_expired", "_loop", "_task", "_timer")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._due = 0.0
        self._cancelling = 0
        self._expired = False

    def until(self, due: float) -> "Patience":
        """Set the time of the event loop's clock, in seconds, at which the next block must be done."""
        self._due = due
        return self

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._expired = False
        timer = self._timer
        if timer is None:
            self._timer = self._loop.call_at(self._due, self._look)
        elif timer.when() > self._due:
            timer.cancel()
            self._timer = self._loop.call_at(self._due, self._look)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raises TimeoutError if the block took too long."""
        task, self._task = self._task, None
        # As in asyncio.timeout: somebody else may have cancelled the task too, and that goes first.
        if (
            self._expired
            and task is not None
            and task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise TimeoutError from error

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._look)
        else:
            self._expired = True
            self._task.cancel()
