"""A fake OpenAI-compatible server, for tests, benchmarks and development without a model.

It sends real HTTP/1.1 and real server-sent events over a real socket. It uses asyncio's protocols directly, so one process
can serve hundreds of streams at a fraction of the cost of what is being measured.
"""

import asyncio
import functools
import threading
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self, cast

import orjson

from conversations.server.management.fake_answers import (
    FAULTS,
    Asked,
    End,
    Gate,
    Nothing,
    Page,
    Response,
    Script,
    Step,
    Thought,
    chunk,
    completion,
    error,
    sample,
    stamp,
    text_of,
    usage_chunk,
)

_MODELS = Page(body=orjson.dumps({"object": "list", "data": [{"id": "fake", "object": "model"}]}))
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
# Steps sent before other streams get a turn.
_STEPS_AT_ONCE = 64


@dataclass(eq=False, slots=True)
class RecordedRequest:
    """A received request and the progress of its answer. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    deltas_sent: int = 0
    thoughts_sent: int = 0
    completed: threading.Event = field(default_factory=threading.Event)
    disconnected: threading.Event = field(default_factory=threading.Event)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The messages in the request."""
        return cast(list[dict[str, str]], self.body["messages"])

    @property
    def prompt(self) -> str:
        """The last message from the user."""
        contents = [text_of(message["content"]) for message in self.messages if message["role"] == "user"]
        return contents[-1] if contents else ""


class FakeUpstream:
    """The server. It plays an answer queued with `answer_with`, else the requested fault, else a sample text.

    `rate` is in deltas per second (0 means no limit), `chars` in characters per delta, `length` in deltas. With `stamps`,
    each delta is the time it was sent. With `drops_reused`, each connection is closed on its second request, like servers
    that promise to keep connections alive but don't; `dropped` counts them. The last `kept` requests are recorded. Only
    `start` and `aclose` must be called in the event loop.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        rate: float = 0,
        chars: int = 5,
        length: int | None = None,
        stamps: bool = False,
        fault: str = "",
        drops_reused: bool = False,
        kept: int = 1000,
    ) -> None:
        if fault and fault not in FAULTS:
            raise ValueError(f"There is no fault {fault!r}. Choose one of: {', '.join(FAULTS)}.")
        self.host = host
        self.port = port
        self.rate = rate
        self.chars = chars
        self.length = length
        self.stamps = stamps
        self.fault = fault
        self.drops_reused = drops_reused
        self.dropped = 0
        self._requests: deque[RecordedRequest] = deque(maxlen=kept)
        self._queue: deque[Response] = deque()
        self._gates: list[Gate] = []
        self._asked: Counter[str] = Counter()
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        """The value for OPENAI_BASE_URL, such as http://127.0.0.1:9000/v1."""
        return f"http://{self.host}:{self.port}/v1"

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests for answers, oldest first."""
        return [request for request in self._requests if request.path.endswith("/chat/completions")]

    @property
    def other_requests(self) -> list[RecordedRequest]:
        """The requests for anything else, oldest first."""
        return [request for request in self._requests if not request.path.endswith("/chat/completions")]

    async def start(self) -> None:
        """Start listening. If the port is 0, set it to the free port that was chosen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port, backlog=2048)
        self.port = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        """Stop listening and close all connections."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._connections):
                connection.abort()
            await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def answer_with(
        self,
        *steps: Step,
        finish_reason: str | None = "stop",
        has_usage: bool = True,
        has_done: bool = True,
        rate: float = 0,
    ) -> None:
        """Queue an answer for the next request."""
        self._queue.append(
            Script(
                steps=steps, finish_reason=finish_reason, has_usage=has_usage, has_done=has_done, rate=rate
            )
        )

    def respond_with(self, response: Response | str) -> None:
        """Queue a response, or a fault by name, for the next request."""
        if isinstance(response, str):
            fault = FAULTS[response]
            response = fault(Asked(authorization="Bearer fake", prompt="", model="fake", count=1))
        self._queue.append(response)

    def hold(self) -> Gate:
        """Return a new gate to put between the steps of an answer."""
        gate = Gate()
        self._gates.append(gate)
        return gate

    def release(self) -> None:
        """Open all gates created with `hold`."""
        for gate in self._gates:
            gate.release()

    def response_to(self, request: RecordedRequest) -> Response:
        """Record the request and return its response."""
        self._requests.append(request)
        path = request.path.partition("?")[0]
        if path == "/v1/models":
            return _MODELS
        if path != "/v1/chat/completions" or request.method != "POST":
            return error(404, "Not found.", kind="invalid_request_error")
        if not isinstance(request.body, dict) or not request.body.get("messages"):
            return error(400, "messages is required.", kind="invalid_request_error")
        if self._queue:
            return self._queue.popleft()

        prompt, model = request.prompt, str(request.body.get("model", ""))
        fault = self.fault
        if model.startswith("fault-"):
            fault = model.removeprefix("fault-")
        for word in prompt.split():
            if word.startswith("fault:"):
                fault = word.removeprefix("fault:")
        if fault in FAULTS:
            self._asked[prompt] += 1
            authorization = request.headers.get("authorization", "")
            return FAULTS[fault](
                Asked(authorization=authorization, prompt=prompt, model=model, count=self._asked[prompt])
            )

        pieces: tuple[Step, ...] = sample(chars=self.chars, length=self.length)
        if not request.body.get("stream"):
            return completion(
                model, text="".join(cast(tuple[str, ...], pieces)), prompt_tokens=_tokens(request)
            )
        if self.stamps:
            pieces = (stamp,) * len(pieces)
        limit = request.body.get("max_completion_tokens") or request.body.get("max_tokens")
        if isinstance(limit, int) and limit < len(pieces):
            return Script(steps=pieces[:limit], finish_reason="length")
        return Script(steps=pieces)


class _Connection(asyncio.Protocol):
    """A connection that reads one request at a time and plays the response."""

    def __init__(self, server: FakeUpstream) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._input = b""
        self._request: RecordedRequest | None = None
        self._served = 0
        self._is_paused = False
        self._timer: asyncio.Handle | None = None
        # The script being played.
        self._script: Script
        self._steps: Iterator[Step] = iter(())
        self._model = ""
        self._interval = 0.0
        self._next_at = 0.0

    def abort(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._request is not None:
            self._request.disconnected.set()
            self._request = None

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._request is not None and self._timer is None:
            self._play()

    def data_received(self, data: bytes) -> None:
        self._input += data
        if self._request is None:
            self._read_request()

    def _read_request(self) -> None:
        head, separator, rest = self._input.partition(b"\r\n\r\n")
        if not separator:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._input = rest[length:]
        method, path, _ = first.split(" ", 2)
        self._served += 1
        if self._served > 1 and self._server.drops_reused:
            self._server.dropped += 1
            self.abort()
            return
        try:
            body = orjson.loads(rest[:length]) if length else None
        except orjson.JSONDecodeError:
            body = None
        self._request = RecordedRequest(method=method, path=path, headers=headers, body=body)
        self._respond(self._server.response_to(self._request))

    def _respond(self, response: Response) -> None:
        if isinstance(response, Page):
            self._send_page(response)
        elif isinstance(response, Nothing):
            if response.end is End.CUT:
                self._transport.close()
        else:
            self._script = response
            self._steps = iter(response.steps)
            self._model = str(self._current.body.get("model", ""))
            rate = self._server.rate if response.rate is None else response.rate
            self._interval = 1 / rate if rate else 0.0
            self._next_at = self._loop.time()
            self._transport.write(_STREAM_HEAD)
            self._play()

    @property
    def _current(self) -> RecordedRequest:
        assert self._request is not None
        return self._request

    def _send_page(self, page: Page) -> None:
        headers = {"Content-Type": "application/json", **page.headers, "Content-Length": str(len(page.body))}
        lines = [f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + page.body)
        self._complete()

    def _play(self) -> None:
        """Send steps until the next one has to wait."""
        self._timer = None
        request = self._request
        if request is None:
            return
        for _ in range(_STEPS_AT_ONCE):
            if self._is_paused or self._transport.is_closing():
                return
            step = next(self._steps, None)
            if step is None:
                self._send_end(request)
                return
            if isinstance(step, Gate):
                if step.must_wait(self._play):
                    return
                continue
            if isinstance(step, End):
                if step is End.CUT:
                    self._transport.close()
                return
            if isinstance(step, bytes):
                self._transport.write(_framed(step))
                continue
            if isinstance(step, Thought):
                # Framed without the cache, which is keyed by the text alone.
                self._transport.write(_framed(chunk(self._model, text=step)))
                request.thoughts_sent += 1
            else:
                self._transport.write(_framed_delta(self._model, step if isinstance(step, str) else step()))
            request.deltas_sent += 1
            if self._interval:
                self._next_at += self._interval
                self._timer = self._loop.call_at(self._next_at, self._play)
                return
        self._timer = self._loop.call_soon(self._play)

    def _send_end(self, request: RecordedRequest) -> None:
        script = self._script
        end: list[bytes] = []
        if script.finish_reason is not None:
            end.append(_framed(chunk(self._model, finish_reason=script.finish_reason)))
        if script.has_usage and (request.body.get("stream_options") or {}).get("include_usage"):
            prompt_tokens = _tokens(request)
            end.append(
                _framed(
                    usage_chunk(
                        self._model,
                        prompt_tokens=prompt_tokens,
                        completion_tokens=request.deltas_sent,
                        reasoning_tokens=request.thoughts_sent,
                    )
                )
            )
        if script.has_done:
            end.append(_framed(b"data: [DONE]\n\n"))
        self._transport.write(b"".join([*end, b"0\r\n\r\n"]))
        self._complete()

    def _complete(self) -> None:
        request, self._request = self._current, None
        request.completed.set()
        if request.headers.get("connection", "").lower() == "close":
            self._transport.close()
        elif self._input:
            self._read_request()


def _tokens(request: RecordedRequest) -> int:
    return sum(len(str(message.get("content", ""))) // 4 + 4 for message in request.messages)


def _framed(data: bytes) -> bytes:
    """Return the data as a chunk of a chunked body (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@functools.lru_cache(maxsize=8192)
def _framed_delta(model: str, text: str) -> bytes:
    return _framed(chunk(model, text=text))
