"""Highlight code in a child process, because a slow regular expression can be stopped only by killing its process.

There is one child, started when it is first needed. Results are cached, including the fact that some code is too slow,
so that no one has to wait for it again.
"""

import asyncio
import atexit
import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import TypeVar

from .cache import Cache

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

PREFIX = "hl-"
"""The prefix of the CSS classes."""
TIME_LIMIT_SECONDS = 0.2
"""How much CPU time one piece of code may take, and how long a page waits for all of its code."""
MAX_CODE_LENGTH = 20_000
"""Longer code, in characters, isn't highlighted."""
_MAX_LANGUAGE_LENGTH = 40
_REAL_TIME_FACTOR = 5
"""The child's limit in real time, as a multiple of its CPU time, because the machine may be busy."""
_LOADING_SECONDS = 10.0
"""How long the child may take to start or to load a language. No text can influence this."""
_CACHED_CHARACTERS = 4_000_000
_CHILD = Path(__file__).with_name("highlighting_child.py")
# The child handles untrusted text, so it receives none of the site's settings.
_ENVIRONMENT = ("PATH", "PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT")


class Wait:
    """How much longer a page may wait for highlighting, and how many pieces of code it had to leave plain."""

    def __init__(self) -> None:
        self.seconds_left = TIME_LIMIT_SECONDS
        self.missed = 0


_wait: ContextVar[Wait | None] = ContextVar("highlighting_wait", default=None)


@contextlib.contextmanager
def shared_wait() -> Iterator[Wait]:
    """Limit the total wait of the block to TIME_LIMIT_SECONDS. Inside another such block, the outer limit applies."""
    outer = _wait.get()
    if outer is not None:
        yield outer
        return
    wait = Wait()
    token = _wait.set(wait)
    try:
        yield wait
    finally:
        _wait.reset(token)


def highlight(code: str, *, language: str) -> str | None:
    """Return the unsanitised HTML of the highlighted code, or None if the code is to be shown plain.

    Waits for the child, except in an event loop, where only cached results are returned.
    """
    if not language or len(language) > _MAX_LANGUAGE_LENGTH or len(code) > MAX_CODE_LENGTH:
        return None
    key = language.lower(), code
    known = _results.get(key)
    if known is not None:
        return known[0]
    with shared_wait() as wait:
        return None if _is_in_event_loop() else _ask(key, wait)


_warming: "Future[str | None] | None" = None


def warm_up(language: str = "") -> None:
    """Start the child if it isn't running, and make it load a language, without waiting for it."""
    global _warming
    key = language.lower()[:_MAX_LANGUAGE_LENGTH], ""
    # Only one at a time, so that a text with many languages delays no one.
    if (_warming is None or _warming.done()) and _results.get(key) is None:
        _warming = _submit(partial(_work, key))


def _ask(key: tuple[str, str], wait: Wait) -> str | None:
    future = _submit(partial(_work, key)) if wait.seconds_left > 0 else None
    if future is None:
        wait.missed += 1
        return None
    begun = time.monotonic()
    try:
        return future.result(wait.seconds_left)
    except TimeoutError:
        # If it has already started, it continues, and the next page can use the result.
        future.cancel()
        wait.missed += 1
        return None
    finally:
        wait.seconds_left -= time.monotonic() - begun


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Child:
    """The child process. Only one thread may use it at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False

    def start(self) -> None:
        """Start the process if it isn't running."""
        if self._process is not None and self._process.poll() is None:
            return
        self.end()
        self._is_ready = False
        self._process = subprocess.Popen(  # noqa: S603  (the command holds no outside input)
            # -P keeps the script's folder off the path, because some of its modules share names with the standard
            # library.
            [sys.executable, "-P", str(_CHILD), PREFIX],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if name in _ENVIRONMENT},
            # Ctrl+C is for the site, which then ends this process by closing its stdin.
            start_new_session=True,
        )

    def ask(self, language: str, code: str) -> str | None:
        """Return the HTML, or None if there is nothing to highlight or the process took too long and was killed."""
        self.start()
        process = self._process
        assert process is not None and process.stdin is not None
        with _killed_after(_LOADING_SECONDS, process), contextlib.suppress(OSError):
            if not self._is_ready:
                self._is_ready = self._read() is not None
            process.stdin.write(json.dumps([language, code, TIME_LIMIT_SECONDS]).encode() + b"\n")
            process.stdin.flush()
            self._read()
        if not self._is_ready:
            logger.error("The highlighting process did not start; code is shown plain.")
        with _killed_after(TIME_LIMIT_SECONDS * _REAL_TIME_FACTOR, process) as was_killed:
            answer = self._read()
        if was_killed.is_set() or answer is None:
            self.end()
            self.start()
        return answer[0] if answer is not None else None

    def _read(self) -> tuple[str | None] | None:
        """Return the next answer in a tuple, because it may be null, or None if the process has ended."""
        assert self._process is not None and self._process.stdout is not None
        line = self._process.stdout.readline()
        return (json.loads(line),) if line.endswith(b"\n") else None

    def end(self) -> None:
        """Kill the process and wait for it to end."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with contextlib.suppress(OSError):
            process.communicate()


@contextlib.contextmanager
def _killed_after(seconds: float, process: "subprocess.Popen[bytes]") -> Iterator[threading.Event]:
    """Kill the process if the block takes too long. The event says afterwards whether it was killed."""
    was_killed = threading.Event()

    def kill() -> None:
        was_killed.set()
        process.kill()

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
    try:
        yield was_killed
    finally:
        timer.cancel()
        timer.join()


_results: Cache[tuple[str, str], str | None] = Cache(_CACHED_CHARACTERS)
_child = _Child()
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="highlighting")
atexit.register(_child.end)


def _work(key: tuple[str, str]) -> str | None:
    # A request ahead in the queue may have been for the same code.
    known = _results.get(key)
    if known is not None:
        return known[0]
    try:
        html = _child.ask(*key)
    except OSError as error:
        logger.error("Code can't be highlighted: %s", type(error).__qualname__)
        return None
    _results.put(key, html, weight=len(key[1]) + len(html or ""))
    return html


def _submit(function: Callable[[], Result]) -> "Future[Result] | None":
    try:
        return _thread.submit(function)
    except RuntimeError:
        # The site is shutting down.
        return None
