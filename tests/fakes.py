"""Run the fake upstream for tests: the real server in a thread with its own event loop."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from conversations.server.management.fake_answers import End, Gate, Nothing, Page, Script, Thought
from conversations.server.management.fake_upstream import FakeUpstream, RecordedRequest

__all__ = [
    "End",
    "Gate",
    "Nothing",
    "Page",
    "RecordedRequest",
    "RunningUpstream",
    "Script",
    "Thought",
    "running_upstream",
]


class RunningUpstream(FakeUpstream):
    """The fake upstream, with methods for tests that wait until something has happened to it."""

    def wait_for_requests(self, count: int = 1, *, timeout: float = 10) -> list[RecordedRequest]:
        """Block until this many requests for answers have arrived. Raises TimeoutError after `timeout` seconds."""
        _wait(lambda: len(self.requests) >= count, timeout=timeout, what=f"{count} requests")
        return self.requests

    def wait_for_disconnect(self, index: int = -1, *, timeout: float = 10) -> RecordedRequest:
        """Block until a client has disconnected before its answer was complete, and return its request.

        `index` is the request's position in `requests`. Raises TimeoutError after `timeout` seconds.
        """
        request = self.wait_for_requests(timeout=timeout)[index]
        if not request.disconnected.wait(timeout):
            raise TimeoutError("The client has not disconnected.")
        return request


def _wait(is_so: Callable[[], bool], *, timeout: float, what: str) -> None:
    end = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"Timed out waiting for {what}.")
        time.sleep(0.002)


@contextlib.contextmanager
def running_upstream(**options: Any) -> Iterator[RunningUpstream]:
    """Run a fake upstream while the block runs. The options are those of FakeUpstream."""
    upstream = RunningUpstream(**options)
    started = threading.Event()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        async with upstream:
            started.set()
            await stopping.wait()

    def run() -> None:
        with contextlib.closing(loop):
            loop.run_until_complete(serve())

    thread = threading.Thread(target=run, name="fake-upstream", daemon=True)
    thread.start()
    try:
        if not started.wait(10):
            raise TimeoutError("The fake upstream did not start.")
        yield upstream
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
