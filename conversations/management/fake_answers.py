"""What the fake upstream says: scripts of answers, one for each way in which a real one has been seen to fail."""

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import cycle, repeat

import orjson


class Gate:
    """A place in a script where the stream waits until it is released. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reached = threading.Event()
        self._is_released = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = []

    def release(self) -> None:
        """Let the streams that wait here, and all that come later, go on."""
        with self._lock:
            self._is_released = True
            waiting, self._waiting = self._waiting, []
        for loop, go_on in waiting:
            loop.call_soon_threadsafe(go_on)

    def wait_until_reached(self, *, timeout: float = 10) -> None:
        """Block until a stream waits here. Raises TimeoutError after `timeout` seconds."""
        if not self._reached.wait(timeout):
            raise TimeoutError("No stream has reached the gate.")

    def must_wait(self, go_on: Callable[[], None]) -> bool:
        """Say whether the stream has to wait; if so, `go_on` is called in the running loop on release."""
        with self._lock:
            if not self._is_released:
                self._waiting.append((asyncio.get_running_loop(), go_on))
            is_waiting = not self._is_released
        self._reached.set()
        return is_waiting


class End(Enum):
    """How a script may end before its time."""

    CUT = "cut"  # The connection is closed in the middle of the response.
    SILENCE = "silence"  # Nothing more is sent, and the connection stays open.


# A text is sent as a delta, bytes are sent as they are, a callable is asked for the text when its turn comes.
Step = str | bytes | Gate | End | Callable[[], str]


@dataclass(frozen=True, kw_only=True)
class Script:
    """A streamed answer. `rate` is in steps a second, 0 for as fast as they are taken, None for the server's own."""

    steps: Iterable[Step]
    finish_reason: str | None = "stop"
    has_usage: bool = True
    has_done: bool = True
    rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """A response in one piece."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Nothing:
    """No response at all: the connection is closed, or left open in silence."""

    end: End


Response = Script | Page | Nothing

_SAMPLE = """\
## A fake answer

This text comes from the **fake upstream**: no language model wrote it. It is made of what answers are made of, so \
that the way they are shown can be looked at.

1. A list with `code`, *emphasis* and a [link](https://example.org/).
2. Letters of other scripts: 你好, Привет, 🙂.

```python
def greet(name: str) -> str:
    return f"Hello, {name}!"  # 1 < 2 & 3 > 2
```

| Fruit | Pieces |
|-------|-------:|
| Apple | 3      |
| Pear  | 12     |

> A quotation, and a formula: \\(a^2 + b^2 = c^2\\).

"""


@functools.lru_cache(maxsize=64)
def sample(*, chars: int, length: int | None) -> tuple[str, ...]:
    """Return a Markdown text in `length` deltas of `chars` characters; one copy of the sample if `length` is None."""
    chars = max(chars, 1)
    if length is None:
        text = _SAMPLE
    else:
        text = (_SAMPLE * (length * chars // len(_SAMPLE) + 1))[: length * chars]
    return tuple(text[start : start + chars] for start in range(0, len(text), chars))


def stamp() -> str:
    """Return a delta that holds the time at which it is sent, in seconds of the system's monotonic clock."""
    return f"{time.monotonic():.4f} "


def event(content: object) -> bytes:
    """Return a server-sent event with this content as JSON."""
    return b"data: " + orjson.dumps(content) + b"\n\n"


def chunk(model: str, *, text: str = "", finish_reason: str | None = None) -> bytes:
    """Return the event of one chunk of a chat completion."""
    delta = {"content": text} if text else {}
    return event(
        _envelope(model) | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
    )


def usage_chunk(model: str, *, prompt_tokens: int, completion_tokens: int) -> bytes:
    """Return the event that follows the last chunk when the usage was asked for."""
    return event(_envelope(model) | {"choices": [], "usage": _usage(prompt_tokens, completion_tokens)})


def completion(model: str, *, text: str, prompt_tokens: int) -> Page:
    """Return an answer in one piece."""
    message = {"role": "assistant", "content": text}
    body = _envelope(model) | {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _usage(prompt_tokens, len(text) // 4),
    }
    return Page(body=orjson.dumps(body))


def error(status: int, message: str, *, kind: str, code: str | None = None, **headers: str) -> Page:
    """Return an error as the OpenAI API words it. An underscore in a header's name stands for a hyphen."""
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Page(status=status, body=orjson.dumps(body), headers=named)


def _envelope(model: str) -> dict[str, object]:
    return {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1700000000, "model": model}


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    total = prompt_tokens + completion_tokens
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a fault may look at."""

    authorization: str
    prompt: str
    model: str
    count: int  # How often this prompt has been asked, this time included.


def _begin(*steps: Step) -> Iterator[Step]:
    yield from ("This ", "answer ", "begins ", "well, ", *steps)


def _huge_line() -> Iterator[Step]:
    yield from _begin(b"data: ")
    yield from repeat(b"x" * 65_536, 64)


def _internal_error(asked: Asked) -> Response:
    return error(500, f"We failed on {asked.prompt!r}.", kind="server_error")


def _once(asked: Asked) -> Response:
    if asked.count % 2:
        return _internal_error(asked)
    return Script(steps=("The second ", "attempt ", "went well."))


_STREAM_ERROR = {"error": {"message": "The server had an error.", "type": "server_error", "code": None}}

FAULTS: dict[str, Callable[[Asked], Response]] = {
    "unauthorized": lambda asked: error(
        401,
        f"Incorrect API key provided: {asked.authorization}. You asked {asked.prompt!r}.",
        kind="invalid_request_error",
        code="invalid_api_key",
    ),
    "rate-limit": lambda asked: error(
        429, "Too many requests.", kind="requests", code="rate_limit_exceeded", Retry_After="1"
    ),
    "rate-limit-long": lambda asked: error(
        429, "Too many requests.", kind="requests", code="rate_limit_exceeded", Retry_After="120"
    ),
    "quota": lambda asked: error(
        429, "You exceeded your quota.", kind="insufficient_quota", code="insufficient_quota"
    ),
    "500-once": _once,
    "500": _internal_error,
    "not-found": lambda asked: error(
        404,
        f"The model {asked.model!r} does not exist.",
        kind="invalid_request_error",
        code="model_not_found",
    ),
    "context-length": lambda asked: error(
        400, "Too long.", kind="invalid_request_error", code="context_length_exceeded"
    ),
    "blocked": lambda asked: error(400, "Filtered.", kind="invalid_request_error", code="content_filter"),
    "redirect": lambda asked: Page(status=307, headers={"Location": "/v1/elsewhere"}),
    "html": lambda asked: Page(
        body=b"<!doctype html><title>Log in</title><p>Please log in.", headers={"Content-Type": "text/html"}
    ),
    "json": lambda asked: completion(asked.model, text="The whole answer at once.", prompt_tokens=7),
    "drop": lambda asked: Nothing(End.CUT),
    "silence": lambda asked: Nothing(End.SILENCE),
    "stall": lambda asked: Script(steps=_begin(End.SILENCE)),
    "cut": lambda asked: Script(steps=_begin(End.CUT)),
    "no-end": lambda asked: Script(steps=_begin(), finish_reason=None, has_usage=False, has_done=False),
    "error": lambda asked: Script(
        steps=_begin(event(_STREAM_ERROR)), finish_reason=None, has_usage=False, has_done=False
    ),
    "bad-json": lambda asked: Script(steps=_begin(b'data: {"choices": [{"delta": {"cont\n\n')),
    "huge-line": lambda asked: Script(steps=_huge_line()),
    "endless": lambda asked: Script(steps=cycle(("And so on ", "and on, "))),
    "surrogates": lambda asked: Script(
        steps=(
            b'data: {"choices":[{"index":0,"delta":{"content":"A smile: \\ud83d"}}]}\n\n',
            b'data: {"choices":[{"index":0,"delta":{"content":"\\ude00 and a NUL: \\u0000."}}]}\n\n',
        )
    ),
    "u2028": lambda asked: Script(steps=("One line\u2028", "and\u0085another.")),
    "length": lambda asked: Script(steps=_begin("and then it is cut"), finish_reason="length"),
    "content-filter": lambda asked: Script(steps=_begin(), finish_reason="content_filter"),
    "no-usage": lambda asked: Script(steps=_begin("and ends."), has_usage=False),
}
"""The faults by name. Ask for one with the model `fault-NAME`, or with the words `fault:NAME` in the message."""
