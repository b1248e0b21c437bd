"""A deadline for awaiting, cheap enough to be set for each of a thousand reads."""

import asyncio
from types import TracebackType


class ReusableDeadline:
    """Limits how long the body of a `with` statement may wait. Can be used repeatedly.

    Works like `asyncio.timeout_at`, but keeps one timer instead of creating one per block. When the timer fires, it
    checks whether the current block is overdue; if not, it is set again for that block's deadline. A stream of a
    thousand reads needs only a few timers. Call `close` at the end.
    """

    __slots__ = ("_cancelling", "_due", "_expired", "_loop", "_task", "_timer")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._due = 0.0
        self._cancelling = 0
        self._expired = False

    def until(self, due: float) -> "ReusableDeadline":
        """Set the deadline of the next block, in seconds of the event loop's clock."""
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
        """Raise TimeoutError if the deadline has passed."""
        task, self._task = self._task, None
        # As in asyncio.timeout: if the task was also cancelled by someone else, that takes precedence.
        if (
            self._expired
            and task is not None
            and task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise TimeoutError from error

    def close(self) -> None:
        """Cancel the timer."""
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
