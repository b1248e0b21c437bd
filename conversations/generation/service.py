"""What a process runs beside its requests: the runner (where it has one) and the news from other processes."""

import asyncio
import contextvars
import logging
import sys
from collections.abc import Coroutine
from functools import partial
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import connection

from conversations.llm import tokens

from . import broadcast
from .live import current_hub
from .runner import Runner

logger = logging.getLogger(__name__)


class Service:
    """The background work of one process, bound to one event loop."""

    def __init__(self, *, with_runner: bool) -> None:
        self.loop = asyncio.get_running_loop()
        self.runner = Runner(current_hub()) if with_runner else None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_drained = False
        if self.runner is not None:
            self._spawn(self.runner.run())
        self._spawn(database_sync_to_async(_keep_connection)())
        # The first count loads the vocabulary, for which nobody should have to wait.
        self.loop.run_in_executor(None, partial(tokens.count, "", model=settings.CHAT_MODEL))
        self._broadcast = (
            self._spawn(broadcast.Broadcast(current_hub()).run()) if broadcast.is_shared() else None
        )

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self.loop.create_task(coroutine, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_log_failure)
        return task

    async def drain(self) -> None:
        """End what is running with its text kept, tell the others, and return when all is written."""
        if self._is_drained:
            return
        self._is_drained = True
        if self.runner is not None:
            await self.runner.drain()
        if self._broadcast is not None:
            await asyncio.sleep(2 * broadcast.TICK_SECONDS)
            self._broadcast.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))


def _keep_connection() -> None:
    """Leave SQLite's connection open in the thread that does the database's work for sockets and runner.

    To open one and set it up takes longer than most of what is asked of it. Requests have threads that end with them, so
    that theirs are closed as the settings say; other databases are reached through a pool.
    """
    if connection.vendor == "sqlite":
        connection.settings_dict = {**connection.settings_dict, "CONN_MAX_AGE": None}


def _log_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.critical("A background task ended: %s", type(task.exception()).__qualname__)


_service: Service | None = None


def ensure_started() -> Service:
    """Start the background work of this process, once. Called when the server starts, and by the first socket."""
    global _service
    if _service is None or _service.loop is not asyncio.get_running_loop():
        _service = Service(with_runner=settings.GENERATION_RUNNER == "embedded")
        _drain_before_shutdown(_service)
    return _service


def _drain_before_shutdown(service: Service) -> None:
    """Have Daphne wait for the runner: it would otherwise leave background tasks behind when it is told to end."""
    if "twisted.internet.reactor" not in sys.modules:
        return
    # Its stubs describe the module, and not the reactor that is installed under its name.
    from twisted.internet import defer
    from twisted.internet import reactor as installed

    reactor: Any = installed

    def drain() -> Any:
        return defer.Deferred.fromFuture(asyncio.ensure_future(service.drain()))

    reactor.addSystemEventTrigger("before", "shutdown", drain)
