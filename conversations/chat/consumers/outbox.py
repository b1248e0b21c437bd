"""Flow control for outgoing frames, which are sent in pieces and only as fast as the page reads them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

# Daphne buffers without limit for a client that doesn't read. So the page acknowledges what it has received, and gets
# nothing more while this many bytes are unacknowledged.
WINDOW_BYTES = 256 * 1024
REPLY_BYTES = 64 * 1024
"""The extra unacknowledged bytes allowed for short replies to the page's own frames."""
SLOW_READER_SECONDS = 30.0
"""How long a page may take to free space in its window."""
PIECE_CHARS = 32 * 1024
"""The length above which a frame is split. Daphne sends no message over 1 MiB, and a slow page can acknowledge each
piece."""

# The prefix of a piece says whether it is the first, a middle or the last one. A whole frame begins with "<".
_FIRST, _NEXT, _LAST = "(+)"


class TooSlow(Exception):
    """The page does not read what it is sent."""


class Outbox:
    """The outgoing side of a page's socket."""

    def __init__(self, send: Callable[[str], Awaitable[None]]) -> None:
        self._send = send
        self._sent = self._received = 0
        self._acknowledged = asyncio.Event()

    def acknowledge(self, received: int) -> None:
        """Record how many bytes the page has received since its socket opened."""
        self._received = max(self._received, min(received, self._sent))
        self._acknowledged.set()

    async def send(self, frame: str) -> None:
        """Send a frame piece by piece, each as soon as the window has space. Raises TooSlow."""
        for piece in pieces(frame):
            await self.wait_for_window()
            await self._put(piece)

    async def send_now(self, frame: str) -> None:
        """Send a short reply to one of the page's own frames without waiting. Raises TooSlow if there is no space."""
        if self._unacknowledged > WINDOW_BYTES + REPLY_BYTES:
            raise TooSlow
        await self._put(frame)

    async def wait_for_window(self) -> None:
        """Wait until the page has received enough. Raises TooSlow if that takes too long."""
        while self._unacknowledged > WINDOW_BYTES:
            self._acknowledged.clear()
            try:
                async with asyncio.timeout(SLOW_READER_SECONDS):
                    await self._acknowledged.wait()
            except TimeoutError:
                raise TooSlow from None

    @property
    def _unacknowledged(self) -> int:
        return self._sent - self._received

    async def _put(self, text: str) -> None:
        self._sent += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        await self._send(text)


def pieces(frame: str) -> Iterator[str]:
    """Yield a short frame unchanged, or a long one in prefixed pieces that the page reassembles."""
    if len(frame) <= PIECE_CHARS:
        yield frame
        return
    for start in range(0, len(frame), PIECE_CHARS):
        end = start + PIECE_CHARS
        mark = _FIRST if start == 0 else _NEXT if end < len(frame) else _LAST
        yield mark + frame[start:end]
