"""A decoder for server-sent events: bytes in, events out.

The rules are those of the WHATWG HTML Standard, section "Server-sent events" ("Interpreting an event stream").
Lines are split on LF, CRLF and CR only, and before the text is decoded: U+2028 and U+0085 are legal inside the
data, and a character whose bytes come in two reads is never broken, because no byte of a multi-byte UTF-8
sequence is a line end.
"""

from dataclasses import dataclass

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DEFAULT_EVENT = "message"


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event as it would be dispatched: its type ("message" unless the stream names one) and its data."""

    event: str
    data: str


class LineTooLong(Exception):
    """A line, or the data of one event, is longer than the limit.

    `events` holds what was complete before it in the bytes that were fed last. The decoder is of no use afterwards.
    """

    def __init__(self, *, limit: int, events: list[ServerSentEvent]) -> None:
        super().__init__(f"A line of the event stream is longer than {limit} bytes.")
        self.events = events


class SSEDecoder:
    """Turns the bytes of one event stream into events, however the bytes are cut into reads.

    Bytes that are not UTF-8 become U+FFFD. The fields `id` and `retry` are skipped: they serve reconnection, which
    chat completions do not have. An event that the end of the stream leaves unfinished is dropped, as the standard
    demands, so there is nothing to call at the end.
    """

    def __init__(self, *, max_line_bytes: int = 1_048_576) -> None:
        self._limit = max_line_bytes
        self._events: list[ServerSentEvent] = []
        # The start of the stream, for as long as it may still turn out to be a byte order mark.
        self._head: bytes | None = b""
        # The last line end was a CR, so that a LF right after it belongs to it.
        self._after_cr = False
        # The line that has no end yet, in the pieces in which it came: joining them once keeps the cost linear.
        self._pieces: list[bytes] = []
        self._pieces_length = 0
        # The event that has no blank line yet.
        self._type = ""
        self._data: list[bytes] = []
        self._data_length = 0

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Take the next bytes and return the events that they complete. Raises LineTooLong."""
        if self._head is not None:
            data = self._without_byte_order_mark(data)
        if self._after_cr and data:
            self._after_cr = False
            if data.startswith(b"\n"):
                data = data[1:]
        if b"\r" in data:
            # A CR at the very end counts as a line end at once, or an event would wait for the next one to come.
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

        self._events = []
        if self._pieces or self._data or self._type or len(data) > self._limit or not data.endswith(b"\n\n"):
            self._feed_lines(data)
        else:
            # Almost every read is this one: whole events of one data line each.
            for block in data[:-2].split(b"\n\n"):
                if block.startswith(b"data: ") and b"\n" not in block:
                    self._events.append(ServerSentEvent(_DEFAULT_EVENT, block[6:].decode("utf-8", "replace")))
                else:
                    for line in block.split(b"\n"):
                        self._take_line(line)
                    self._take_line(b"")
        return self._events

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
