"""The background work of a process: its runner, if it has one, and the exchange of updates with other processes."""

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

from . import broadcast, handover
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
            handover.offer(self.runner.places)
        self._spawn(database_sync_to_async(_keep_connection)())
        # Load the vocabulary now, so that no user has to wait for the first count.
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
        """Interrupt all running generations, tell the other processes, and return when everything is saved."""
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
    """Keep SQLite's connection open in the thread that does database work for sockets and the runner.

    Opening and preparing a connection takes longer than most queries. Requests have threads of their own, whose
    connections close with them, as configured; other databases use a connection pool.
    """
    if connection.vendor == "sqlite":
        connection.settings_dict = {**connection.settings_dict, "CONN_MAX_AGE": None}


def _log_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.critical("A background task failed: %s", type(task.exception()).__qualname__)


_service: Service | None = None


def ensure_started() -> Service:
    """Start this process's background work, unless it has started. Called by the server, and by the first socket."""
    global _service
    if _service is None or _service.loop is not asyncio.get_running_loop():
        _service = Service(with_runner=settings.GENERATION_RUNNER == "embedded")
        _drain_before_shutdown(_service)
    return _service


def _drain_before_shutdown(service: Service) -> None:
    """Make Daphne wait for the runner on shutdown. By default it abandons background tasks."""
    if "twisted.internet.reactor" not in sys.modules:
        return
    # The type stubs describe the module, not the reactor object installed under its name.
    from twisted.internet import defer
    from twisted.internet import reactor as installed

    reactor: Any = installed

    def drain() -> Any:
        return defer.Deferred.fromFuture(asyncio.ensure_future(service.drain()))

    reactor.addSystemEventTrigger("before", "shutdown", drain)
