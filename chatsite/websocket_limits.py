"""Limits on what a client may do over a websocket, applied where its bytes arrive, and a short way for bytes to leave.

Daphne reads as fast as a client sends and queues what the application has not handled. With these limits, it reads in small
steps, no faster than the application handles the frames, and answers pings only as often as is useful.
"""

import time

# From the server, which installs it. Twisted would install another.
from daphne.server import reactor
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol

READ_BYTES = 4_096
"""Bytes read at once. They can contain hundreds of frames, all parsed before other work gets a turn."""
MAX_WAITING_FRAMES = 32
"""Reading pauses while more frames than this wait for the application."""
RESUME_SECONDS = 0.02
"""Interval for checking whether the application has caught up."""
PONG_SECONDS = 1.0
"""Shortest interval between two answers to pings."""


def limit(factory: WebSocketFactory) -> None:
    """Apply the limits to every websocket that this Daphne factory opens from now on."""
    factory.protocol = LimitedWebSocket


class LimitedWebSocket(WebSocketProtocol):
    """A websocket that is read only as fast as the application handles it."""

    _is_paused = False
    _ponged_at = 0.0

    def serverAccept(self, subprotocol: str | None = None) -> None:  # noqa: N802
        """Accept the socket, unless its handshake has been abandoned.

        autobahn would treat it as open again, fail when the connection is lost, and never tell the application.
        """
        if self.state == self.STATE_CONNECTING:
            super().serverAccept(subprotocol)

    def onOpen(self) -> None:  # noqa: N802  (autobahn's name)
        self.transport.bufferSize = READ_BYTES
        super().onOpen()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        super().onMessage(payload, isBinary)
        if not self._is_paused and self.application_queue.qsize() > MAX_WAITING_FRAMES:
            self._is_paused = True
            self.transport.pauseProducing()
            reactor.callLater(RESUME_SECONDS, self._resume)

    def _resume(self) -> None:
        if self.application_queue.empty():
            self._is_paused = False
            self.transport.resumeProducing()
        elif self.transport.connected:
            reactor.callLater(RESUME_SECONDS, self._resume)

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:  # noqa: N802
        """Send bytes at once if the client keeps up, instead of when the event loop has found the socket writable.

        This takes four system calls and a loop iteration less per frame. It also skips autobahn's log lines, whose
        formatting takes longer than the frame even if nobody reads them.
        """
        transport = self.transport
        if sync or chopsize:
            super().sendData(data, sync, chopsize)
            return
        if not transport.connected or transport.disconnecting:
            transport.write(data)
            return
        sent = 0
        if not transport.dataBuffer:
            result = transport.writeSomeData(data)
            # If the connection is lost, the reactor finds out in the same way and closes it.
            sent = result if isinstance(result, int) else 0
        if sent < len(data):
            transport.write(data[sent:])
            # From here on `dataBuffer` holds what is left, and the reactor writes it in order.
            transport.doWrite()

    def onPing(self, payload: bytes) -> None:  # noqa: N802
        now = time.monotonic()
        if now - self._ponged_at >= PONG_SECONDS:
            self._ponged_at = now
            super().onPing(payload)
