"""Limits on what a client may send over HTTP, applied before the application sees the request.

Daphne calls the application only after it has read the whole request, so the limits must apply where the bytes arrive.
"""

from io import BytesIO
from typing import Any, cast

from daphne.http_protocol import HTTPFactory, WebRequest
from django.conf import settings
from twisted.web.http import HTTPChannel, Request

REQUEST_SECONDS = 30
"""Time to send a whole request, and to start the next one on an open connection."""
CLOSE_DELAY_SECONDS = 2
"""Time a refused client has to read the reason before the connection is closed."""
MAX_HEADERS = 100
MAX_HEADER_BYTES = 16_384
"""Size of the request line and all headers together."""
MAX_BODY_BYTES = 65_536
"""Limit for every path that is not in the table below."""
LARGE_BODY_BYTES = {
    b"/admin/": 262_144,
    b"/send/": settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
}
"""Limits by the start of the path."""


def limit(factory: HTTPFactory, *, request_seconds: float = REQUEST_SECONDS) -> None:
    """Apply the limits to every connection that this Daphne factory accepts from now on."""
    factory.protocol = LimitedChannel
    factory.timeOut = request_seconds


def max_body_bytes(path: bytes) -> int:
    """Return the largest body, in bytes, that a request to this path may have."""
    return next(
        (size for prefix, size in LARGE_BODY_BYTES.items() if path.startswith(prefix)), MAX_BODY_BYTES
    )


class LimitedRequest(WebRequest):
    """A request whose body stays in memory and is parsed only by the application."""

    def __init__(self, channel: HTTPChannel, queued: object) -> None:
        super().__init__(channel, queued, parsePOSTFormSubmission=False)

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()


class LimitedChannel(HTTPChannel):
    """A connection that is refused if it sends too much or takes too long."""

    maxHeaders = MAX_HEADERS
    totalHeadersSize = MAX_HEADER_BYTES

    _body_limit = MAX_BODY_BYTES
    _body_received = 0
    _is_refused = False
    # True from the start, because the time for the first request counts from the connection.
    _has_begun = True

    def connectionMade(self) -> None:
        # Overrides the class that Daphne's factory has just set.
        self.requestFactory = cast(type[Request], LimitedRequest)
        super().connectionMade()

    def resetTimeout(self) -> None:
        """Restart the timer only for the first bytes of a request, so a slow trickle can't extend it."""
        if not self._has_begun:
            self._has_begun = True
            super().resetTimeout()

    def dataReceived(self, data: bytes) -> None:
        if not self._is_refused:
            super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        path: Any = self._path
        self._body_limit = max_body_bytes(path)
        self._body_received = 0
        if self.length is not None and self.length > self._body_limit:
            self._refuse_body()
        else:
            super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        # A body without a length is counted as it arrives, including the framing of its chunks.
        if self.length is None and not self._is_refused:
            self._body_received += len(data)
            if self._body_received > self._body_limit:
                self._refuse_body()
        if not self._is_refused:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        self._has_begun = False
        super().allContentReceived()

    def timeoutConnection(self) -> None:
        if self.requests and not self._is_refused:
            self._refuse(b"408 Request Timeout", f"The request took longer than {self.timeOut:g} seconds.")
        else:
            super().timeoutConnection()

    def _refuse_body(self) -> None:
        self._refuse(
            b"413 Content Too Large",
            f"Request too large. You can send up to {self._body_limit:,} bytes here.",
        )

    def _refuse(self, status: bytes, sentence: str) -> None:
        """Send the reason as plain text, stop reading, and close the connection soon.

        Closing at once would reset the connection while the client is still sending, and the response would be lost.
        """
        self._is_refused = True
        self.setTimeout(None)
        transport: Any = self.transport
        transport.write(
            b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Cache-Control: no-store\r\nContent-Length: %d\r\n\r\n%b\n"
            % (status, len(sentence) + 1, sentence.encode("ascii"))
        )
        transport.pauseProducing()
        self._abortingCall = self.callLater(CLOSE_DELAY_SECONDS, self.forceAbortClient)
