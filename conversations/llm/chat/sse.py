"""A decoder for server-sent events.

Follows "Interpreting an event stream" in the section "Server-sent events" of the WHATWG HTML Standard. Lines are split
only at LF, CRLF and CR, and before decoding. U+2028 and U+0085 are legal inside the data, and no character is broken if
its bytes arrive in two reads, because multi-byte UTF-8 sequences contain no line ends.
"""

from dataclasses import dataclass

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DEFAULT_EVENT = "message"


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event: its type ("message" unless the stream names another) and its data."""

    event: str
    data: str


class LineTooLong(Exception):
    """A line, or the data of one event, exceeds the limit.

    `events` holds the events completed before it in the last bytes fed. The decoder can't be used afterwards.
    """

    def __init__(self, *, limit: int, events: list[ServerSentEvent]) -> None:
        super().__init__(f"A line of the event stream is longer than {limit} bytes.")
        self.events = events


class SSEDecoder:
    """Decodes one event stream, however its bytes are split between reads.

    Invalid UTF-8 becomes U+FFFD. The fields `id` and `retry` are ignored, because they serve reconnection, which chat
    completions don't support. As the standard demands, an event left incomplete by the end of the stream isn't
    reported; `unfinished` returns it.
    """

    def __init__(self, *, max_line_bytes: int = 1_048_576) -> None:
        self._limit = max_line_bytes
        self._events: list[ServerSentEvent] = []
        # The first bytes of the stream, while they may still be part of a byte order mark.
        self._head: bytes | None = b""
        # The last line ended in CR, so a LF directly after it belongs to the same line end.
        self._after_cr = False
        # The pieces of the incomplete last line. Joining them once keeps the cost linear.
        self._pieces: list[bytes] = []
        self._pieces_length = 0
        # The event that is still missing its blank line.
        self._type = ""
        self._data: list[bytes] = []
        self._data_length = 0

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Decode the next bytes and return the events that they complete. Raises LineTooLong."""
        if self._head is not None:
            data = self._without_byte_order_mark(data)
        if self._after_cr and data:
            self._after_cr = False
            if data.startswith(b"\n"):
                data = data[1:]
        if b"\r" in data:
            # A CR at the very end counts as a line end at once. Otherwise, the event would be delayed until the next
            # one.
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

        self._events = []
        if self._pieces or self._data or self._type or len(data) > self._limit or not data.endswith(b"\n\n"):
            self._feed_lines(data)
        else:
            # The fast path for almost every read: complete events with one data line each.
            for block in data[:-2].split(b"\n\n"):
                if block.startswith(b"data: ") and b"\n" not in block:
                    self._events.append(ServerSentEvent(_DEFAULT_EVENT, block[6:].decode("utf-8", "replace")))
                else:
                    for line in block.split(b"\n"):
                        self._take_line(line)
                    self._take_line(b"")
        return self._events

    def unfinished(self) -> ServerSentEvent | None:
        """Return the event that lacked only its blank line when the stream ended, if any. Raises LineTooLong.

        Call it once, at the end.
        """
        self._events = []
        if self._pieces:
            line, self._pieces = b"".join(self._pieces), []
            self._take_line(line)
        self._dispatch()
        return self._events[0] if self._events else None

    def _without_byte_order_mark(self, data: bytes) -> bytes:
        data = (self._head or b"") + data
        if len(data) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(data):
            self._head = data
            return b""
        self._head = None
        return data.removeprefix(_BYTE_ORDER_MARK)

    def _feed_lines(self, data: bytes) -> None:
        first, *others = data.split(b"\n")
        self._pieces.append(first)
        self._pieces_length += len(first)
        self._check(self._pieces_length)
        if not others:
            return
        self._take_line(b"".join(self._pieces))
        for line in others[:-1]:
            self._take_line(line)
        unfinished = others[-1]
        self._pieces = [unfinished] if unfinished else []
        self._pieces_length = len(unfinished)
        self._check(self._pieces_length)

    def _take_line(self, line: bytes) -> None:
        if not line:
            self._dispatch()
            return
        self._check(len(line))
        field, _, value = line.partition(b":")
        if field == b"data":
            value = value.removeprefix(b" ")
            self._data.append(value)
            self._data_length += len(value) + 1
            self._check(self._data_length - 1)
        elif field == b"event":
            self._type = value.removeprefix(b" ").decode("utf-8", "replace")

    def _dispatch(self) -> None:
        if self._data:
            text = b"\n".join(self._data).decode("utf-8", "replace")
            self._events.append(ServerSentEvent(self._type or _DEFAULT_EVENT, text))
            self._data = []
            self._data_length = 0
        self._type = ""

    def _check(self, length: int) -> None:
        if length > self._limit:
            raise LineTooLong(limit=self._limit, events=self._events)
