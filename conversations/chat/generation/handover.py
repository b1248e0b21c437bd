"""Hand new generations straight to the runner of this process.

A generation from the queue costs a transaction to claim it. If this process has a runner with a free place, whoever
inserts a generation inserts it as running and owned by that runner, which gets it after the commit.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import transaction

from .journal import Job


class Places:
    """The places of a runner: how many generations it writes at once. Thread-safe.

    `begin` is called with each job that is handed over, in the event loop that creates this object.
    """

    def __init__(self, *, runner: str, begin: Callable[[Job], None]) -> None:
        self.runner = runner
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._taken = 0
        self._is_closed = False

    def take(self, wanted: int) -> int:
        """Take up to this number of places, and return how many were free."""
        with self._lock:
            is_open = not (self._is_closed or self._loop.is_closed())
            free = settings.GENERATION_CONCURRENCY - self._taken if is_open else 0
            taken = max(0, min(wanted, free))
            self._taken += taken
            return taken

    def give_back(self, places: int = 1) -> None:
        """Make places free again that `take` returned."""
        with self._lock:
            self._taken -= places

    def deliver(self, job: Job) -> None:
        """Give a job to the runner, whose place is taken already."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._begin, job)

    def close(self) -> None:
        """Let nobody take a place from now on."""
        with self._lock:
            self._is_closed = True


class Place:
    """A place that was taken for a generation about to be inserted."""

    def __init__(self, places: Places) -> None:
        self.runner = places.runner
        self.is_filled = False
        self._places = places

    def fill_after_commit(self, job: Job) -> None:
        """Give the job to the runner once the current transaction is committed."""

        def fill() -> None:
            self.is_filled = True
            self._places.deliver(job)

        transaction.on_commit(fill)


_of_process: Places | None = None


def offer(places: Places | None) -> None:
    """Let generations be handed to this runner from now on, or to none."""
    global _of_process
    _of_process = places


@contextmanager
def free_place() -> Iterator[Place | None]:
    """Yield a place at this process's runner, or None if there is none. It is free again unless it gets a job.

    Commit inside the `with` block.
    """
    places = _of_process
    if places is None or not places.take(1):
        yield None
        return
    place = Place(places)
    try:
        yield place
    finally:
        if not place.is_filled:
            places.give_back()
