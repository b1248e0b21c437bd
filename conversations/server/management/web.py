"""One web process: pages and websockets on sockets that are already bound."""

import asyncio
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

# Installs the reactor, which must happen before any other Twisted import.
import daphne.server
from twisted.internet import reactor as installed

from chatsite import http_limits, websocket_limits
from chatsite.asgi import application
from conversations.chat.generation.service import ensure_started
from conversations.server.jobs import housekeeping, memory

# The stubs describe the module, not the reactor that is installed under its name.
reactor: Any = installed

SWITCH_SECONDS = 0.0005
"""How long a thread may hold the interpreter lock while others wait."""

HANDSHAKE_SECONDS = 30
"""How long a websocket may take to be accepted. Daphne's default of 5 s is too short when hundreds of pages reconnect."""


class _Server(daphne.server.Server):
    """Daphne on sockets of our own, because its endpoints can neither share a port nor say why they can't listen."""

    def __init__(self, sockets: Sequence[socket.socket], *, handles_signals: bool) -> None:
        super().__init__(
            application=application,
            # Must not be empty.
            endpoints=sockets,
            # The default closes every websocket after a day, and the page would not reconnect.
            websocket_timeout=-1,
            websocket_handshake_timeout=HANDSHAKE_SECONDS,
            application_close_timeout=10,
            verbosity=1,
            signal_handlers=handles_signals,
            server_name="",
            # Called once the factories exist.
            ready_callable=self._listen,
        )
        self.endpoints: list[str] = []
        self._sockets = sockets

    def _listen(self) -> None:
        http_limits.limit(self.http_factory)
        websocket_limits.limit(self.ws_factory)
        for bound in self._sockets:
            bound.setblocking(False)
            bound.listen()
            # The reactor works with a copy.
            reactor.adoptStreamPort(bound.fileno(), bound.family, self.http_factory)
            bound.close()


def serve(
    sockets: Sequence[socket.socket],
    *,
    when_ready: Callable[[], None],
    handles_signals: bool = True,
    supervisor: socket.socket | None = None,
) -> None:
    """Serve on these sockets until stopped. Calls `when_ready` once connections are accepted.

    With the socket of a supervisor, also stops when the supervisor's end is closed, which happens if it is killed.
    """
    # Cancelled with all other remaining tasks when the server has ended.
    background: list[asyncio.Task[None]] = []

    def start() -> None:
        ensure_started()
        memory.freeze()
        background.extend((housekeeping.start(), memory.start()))
        if supervisor is not None:
            _stop_with(supervisor)
        when_ready()

    memory.use_one_heap()
    # The event loop waits this long for the interpreter lock each time a rendering thread holds it. Python's default of
    # 5 ms adds up, because a request changes threads dozens of times.
    sys.setswitchinterval(SWITCH_SECONDS)
    server = _Server(sockets, handles_signals=handles_signals)
    # Not "when running", because background tasks need the event loop itself to run.
    reactor.callLater(0, start)
    server.run()
    _finish(daphne.server.twisted_loop)


def _stop_with(supervisor: socket.socket) -> None:
    """Stop the server when the other end of this socket is closed. Nothing is ever sent to this end."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_reader(supervisor)
        reactor.stop()

    loop.add_reader(supervisor, stop)


def _finish(loop: asyncio.AbstractEventLoop) -> None:
    """End the tasks that the server left, because CPython 3.11 can crash if it must do so on exit."""
    pending = asyncio.all_tasks(loop)
    for task in pending:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
