"""Run several web processes as one site: start them, replace those that end, and stop all of them together."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from typing import Final

from django.conf import settings

logger = logging.getLogger(__name__)

MANAGE: Final = (sys.executable, str(settings.BASE_DIR / "manage.py"))
READY: Final = b"ready\n"
"""What a process sends to the supervisor when it accepts connections."""

STOP_SECONDS = 20.0
"""How long processes may take to stop; then they are killed."""
FIRST_PAUSE_SECONDS = 0.5
"""How long to wait before a process that ended is replaced. Doubles each time it ends soon after its start."""
MAX_PAUSE_SECONDS = 30.0
STABLE_SECONDS = 60.0
"""After this time, the pause is back to the first one."""


class Supervisor:
    """Keeps a number of web processes running until it is told to stop by SIGTERM or SIGINT.

    Each process starts as a new interpreter, and inherits its sockets and the output. Its standard input is a socket: it
    says there when it accepts connections, and stops when the other end is closed, even if the supervisor was killed.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environments: Sequence[dict[str, str]],
        bind: Callable[[], list[socket.socket]],
        when_ready: Callable[[], None],
    ) -> None:
        """Set up a process for each of these additions to the environment.

        The command gets the numbers of its sockets as its last arguments. `bind` returns new sockets for a process, bound
        to the addresses that all processes share. `when_ready` is called once, when all processes accept connections.
        """
        self._command = command
        self._environments = environments
        self._bind = bind
        self._when_ready = when_ready
        self._processes: dict[int, Process] = {}
        self._waited_for = set(range(len(environments)))
        self._stopping = asyncio.Event()
        self._has_failed = False

    async def run(self) -> bool:
        """Run until stopped. Return False if a process ended before all of them were ready for the first time."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        keeping = [asyncio.create_task(self._keep(slot)) for slot in range(len(self._environments))]
        stopping = asyncio.create_task(self._stopping.wait())
        # A task that has ended before the others has failed.
        await asyncio.wait({stopping, *keeping}, return_when=asyncio.FIRST_COMPLETED)
        self._stopping.set()
        self._signal_all(signal.SIGTERM)
        _, still_running = await asyncio.wait(keeping, timeout=STOP_SECONDS)
        if still_running:
            logger.error("%d web processes did not stop, and were killed.", len(still_running))
            self._signal_all(signal.SIGKILL)
        await asyncio.gather(*keeping)
        return not self._has_failed

    def _signal_all(self, number: int) -> None:
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep(self, slot: int) -> None:
        """Run the process of one slot, and replace it when it ends, until the site stops."""
        pause = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._run(slot)
            if self._stopping.is_set():
                return
            if self._waited_for:
                # Starting it again would not help, because it has never worked.
                self._has_failed = True
                return
            if time.monotonic() - began >= STABLE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            logger.error(
                "A web process ended with exit code %d. Another one starts in %g seconds.", code, pause
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)

    async def _run(self, slot: int) -> int:
        """Run one process from its start to its end, and return its exit code."""
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as opened:
            sockets = [opened.enter_context(bound) for bound in self._bind()]
            opened.enter_context(theirs)
            numbers = [bound.fileno() for bound in sockets]
            process = await asyncio.create_subprocess_exec(
                *self._command,
                *map(str, numbers),
                stdin=theirs.fileno(),
                pass_fds=numbers,
                env={**os.environ, **self._environments[slot]},
                # Ctrl+C in the terminal is for the supervisor, which then stops the others.
                start_new_session=True,
            )
        self._processes[slot] = process
        if self._stopping.is_set():
            process.terminate()
        reader, writer = await asyncio.open_connection(sock=ours)
        if await reader.readline() == READY and slot in self._waited_for:
            self._waited_for.remove(slot)
            if not self._waited_for:
                self._when_ready()
        code = await process.wait()
        del self._processes[slot]
        writer.close()
        return code
