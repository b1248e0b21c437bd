"""Simulate many pages at once over real sockets, each behaving like the page's script, and the answers they receive."""

import asyncio
import contextlib
import json
import random
import re
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Origin

from conversations.server.management.fake_answers import Response, Step
from conversations.server.management.fake_upstream import FakeUpstream, RecordedRequest

ROOT = Path(__file__).resolve().parent.parent
ACK_BYTES = 32 * 1024
LONGEST_DELAY = 8.0
NO_REPLY_SECONDS = 15.0
"""How long the page's script waits for a reply before it asks the user to send the message again."""

_QUESTION = re.compile(
    r"(?P<name>\w+): (?P<count>\d+) words, (?P<rate>\d+) a second, (?P<padding>\d+) more each"
)
_CURSOR = re.compile(r'hx-target="#cursor[^"]*" hx-swap="\w+">(.*?)</hx-partial>', re.DOTALL)
_FIELD = re.compile(r'name="(\w+)" value="(.*?)"')
_REFUSAL = re.compile(r'hx-target="#composer-error"[^>]*><span data-client-id="(.*?)">(.+?)</span>')
_LOCATION = re.compile(r'data-url="/c/([0-9a-f-]+)/"')


def reconnect_codes() -> set[int]:
    """Return the close codes after which the page reconnects by itself, according to its template."""
    page = (ROOT / "templates" / "chat" / "chat.html").read_text(encoding="utf-8")
    [codes] = re.findall(r'"reconnectCodes": \[([\d, ]+)\]', page)
    return {int(code) for code in codes.split(",")}


def question(name: str, *, words: int = 20, rate: int = 0, padding: int = 0) -> str:
    """Return a message that makes CrowdUpstream answer with numbered words. `name` identifies the answer they belong to.

    `rate` is in words per second, or 0 for all at once. If `padding` is given, each word is a line of code with that
    many more characters.
    """
    return f"{name}: {words} words, {rate} a second, {padding} more each"


class CrowdUpstream(FakeUpstream):
    """Answers the messages that `question` returns, for any number of pages and in any order.

    `before` maps the name of a question to pieces of text that precede the words of its answer.
    """

    def __init__(self, *, before: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__()
        self._before = before or {}

    def response_to(self, request: RecordedRequest) -> Response:
        """Return the answer that the message asks for."""
        if request.path.endswith("/chat/completions") and (asked := _QUESTION.search(request.prompt)):
            before = self._before.get(asked["name"], ())
            self.answer_with(*before, *_answer(asked), rate=float(asked["rate"]))
        return super().response_to(request)


def _answer(asked: re.Match[str]) -> Iterator[Step]:
    name, count, padding = asked["name"], int(asked["count"]), int(asked["padding"])
    if not padding:
        yield from (f"{name}w{n}" + ("\n\n" if n % 20 == 19 else " ") for n in range(count))
        return
    yield "```\n"
    yield from (f"{name}w{n} {'x' * padding}\n" for n in range(count))
    yield "```\n"


class Refused(Exception):
    """The site refused a message and gave a reason."""


class ClosedForGood(Exception):
    """The socket was closed with a code after which the page doesn't reconnect, so the user would have to reload it."""


class Page:
    """An open page: it stays connected, reports its position, and acknowledges what it has read."""

    def __init__(self, address: str, cookie: str, *, first_delay: float = 0.5) -> None:
        self._address = address
        self._cookie = cookie
        self._first_delay = first_delay
        self._codes = reconnect_codes()
        self.conversation = ""
        self._cursor: dict[str, str] = {}
        self._received = self._acknowledged = 0
        self._pieces = ""
        self._socket: ClientConnection | None = None
        self.connections = 0
        self.codes: list[int] = []
        self.closed_for_good: int | None = None
        self.reads = asyncio.Event()
        """Clear it to make the page stop reading."""
        self.reads.set()
        self._news = asyncio.Event()
        self._name = self._sent_id = self._refusal = ""
        self._words: set[int] = set()
        self._missing = 0
        self._is_accepted = False
        self._task = asyncio.create_task(self._stay_connected())

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def connected(self, *, times: int = 1, seconds: float = 180) -> Self:
        """Wait until the page has been connected this many times. Raises TimeoutError or ClosedForGood."""
        async with asyncio.timeout(seconds):
            while self.connections < times:
                await self._next_news()
        return self

    def cut(self) -> None:
        """Drop the connection without closing it properly, as a network failure does."""
        if self._socket is not None:
            self._socket.transport.abort()
            self._socket = None

    async def ask(self, text: str, *, seconds: float = 180) -> None:
        """Send a message and read its answer to the last word, reconnecting as often as necessary.

        If there is no reply, the message is sent again after the time at which the page would ask the user to. Raises
        Refused, ClosedForGood, or TimeoutError if the answer isn't complete in time.
        """
        self.expect(text)
        self._sent_id = str(uuid.uuid4())
        frame = {"action": "send", "client_id": self._sent_id, "text": text}
        end = time.monotonic() + seconds
        connections, send_at = -1, 0.0
        while not self.is_whole:
            if self._refusal:
                raise Refused(self._refusal)
            if time.monotonic() > end:
                raise TimeoutError(f"{len(self._words)} words of {text!r} after codes {self.codes}")
            is_new = connections != self.connections
            if self._socket is not None and not self._is_accepted and (is_new or time.monotonic() > send_at):
                connections, send_at = self.connections, time.monotonic() + NO_REPLY_SECONDS
                await self._send(conversation=self.conversation, **frame)
            await self._next_news(0.5)

    async def ask_until_served(self, text: str, *, seconds: float = 180) -> int:
        """Ask, again after each refusal, until the answer is complete. Returns the number of refusals."""
        end, refusals = time.monotonic() + seconds, 0
        while True:
            try:
                await self.ask(text, seconds=max(0.1, end - time.monotonic()))
                return refusals
            except Refused:
                if time.monotonic() > end:
                    raise
                refusals += 1
                await asyncio.sleep(1)

    async def read_whole(self, *, seconds: float = 180) -> None:
        """Wait until everything that `expect` named has been read."""
        async with asyncio.timeout(seconds):
            while not self.is_whole:
                await self._next_news()

    def expect(self, text: str) -> None:
        """Expect the words of the answer to this message."""
        asked = _QUESTION.fullmatch(text)
        assert asked is not None
        self._name, self._missing = asked["name"], int(asked["count"])
        self._words, self._refusal, self._is_accepted = set(), "", False

    async def attach(self, conversation: str) -> None:
        """Show a conversation from its start, like a page that was loaded without any of its messages."""
        self.conversation, self._cursor = conversation, {}
        await self.connected()
        await self._attach()

    @property
    def is_connected(self) -> bool:
        return self._socket is not None

    @property
    def is_whole(self) -> bool:
        return len(self._words) == self._missing

    @property
    def highest(self) -> int:
        """The highest number of a word that has been read, or -1 if there is none."""
        return max(self._words, default=-1)

    async def _next_news(self, seconds: float = 10) -> None:
        if self.closed_for_good is not None:
            raise ClosedForGood(self.closed_for_good)
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)

    async def _stay_connected(self) -> None:
        delay = self._first_delay
        while True:
            code = 1006
            try:
                async with self._connect() as self._socket:
                    delay = self._first_delay
                    await self._read()
            except ConnectionClosed as error:
                code = error.rcvd.code if error.rcvd else 1006
            except (OSError, InvalidHandshake, EOFError):
                # The code a page sees if the server is unavailable or too busy to answer.
                code = 1006
            finally:
                self._socket = None
            self.codes.append(code)
            if code not in self._codes:
                self.closed_for_good = code
                self._news.set()
                return
            await asyncio.sleep(delay * random.uniform(0.7, 1.3))
            delay = min(max(2 * delay, 0.5), LONGEST_DELAY)

    def _connect(self) -> connect:
        return connect(
            self._address.replace("http", "ws", 1) + "/ws/chat/",
            origin=Origin(self._address),
            additional_headers={"Cookie": self._cookie},
            compression=None,
            max_size=None,
            ping_interval=None,
            open_timeout=60,
            close_timeout=1,
        )

    async def _attach(self) -> None:
        await self._send(action="attach", conversation=self.conversation, **self._cursor)

    async def _send(self, **frame: Any) -> None:
        # The reading task notices if the connection is lost at this point.
        with contextlib.suppress(ConnectionClosed):
            if self._socket is not None:
                await self._socket.send(json.dumps(frame))

    async def _read(self) -> None:
        socket = self._socket
        assert socket is not None
        self._received = self._acknowledged = 0
        await self._attach()
        self.connections += 1
        self._news.set()
        while True:
            await self.reads.wait()
            data = await socket.recv(decode=False)
            self._received += len(data)
            self._take_piece(data.decode())
            if self._received - self._acknowledged > ACK_BYTES:
                self._acknowledged = self._received
                await self._send(action="ack", received=str(self._received))

    def _take_piece(self, piece: str) -> None:
        """Assemble a long frame as the page does: its pieces start with "(", then "+", and the last with ")"."""
        if piece[:1] not in {"(", "+", ")"}:
            self._take(piece)
            return
        self._pieces = ("" if piece[0] == "(" else self._pieces) + piece[1:]
        if piece[0] == ")":
            self._take(self._pieces)

    def _take(self, frame: str) -> None:
        if found := _LOCATION.search(frame):
            self.conversation = found[1]
        for fields in _CURSOR.findall(frame):
            self._cursor.update(_FIELD.findall(fields))
        if self._name and self._name in frame:
            self._words.update(int(number) for number in re.findall(rf"\b{self._name}w(\d+)\b", frame))
            self._is_accepted |= bool(self._words) or f"{self._name}: " in frame
        for client_id, reason in _REFUSAL.findall(frame):
            if client_id in {"", self._sent_id}:
                self._refusal = unescape(reason)
        self._news.set()


@contextlib.asynccontextmanager
async def pages(address: str, cookies: list[str], *, first_delay: float = 0.5) -> AsyncIterator[list[Page]]:
    """Open one page for each cookie, and close all of them at the end."""
    opened = [Page(address, cookie, first_delay=first_delay) for cookie in cookies]
    try:
        await asyncio.gather(*(page.connected() for page in opened))
        yield opened
    finally:
        await asyncio.gather(*(page.close() for page in opened))


class Flood(threading.Thread):
    """Sends the same frame repeatedly on a socket it never reads, until the server closes it or `stop` is called.

    `rate` is in frames per second, or 0 for as fast as the server accepts them. The caller opens the socket.
    """

    def __init__(self, connection: Any, frame: bytes, *, rate: int = 0) -> None:
        super().__init__(daemon=True)
        assert len(frame) < 126
        # RFC 6455, section 5.2: a final text frame, masked with zeros.
        self._frames = (bytes([0x81, 0x80 | len(frame), 0, 0, 0, 0]) + frame) * 100
        self._pause = 100 / rate if rate else 0.0
        self._connection = connection
        self._stopped = threading.Event()
        self.sent = 0

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while not self._stopped.wait(self._pause):
                self._connection.socket.sendall(self._frames)
                self.sent += 100

    def stop(self) -> None:
        self._stopped.set()
        self.join(10)
