"""Scripted answers for the fake upstream, one for each way in which real ones have been seen to fail."""

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
    """A step in a script at which the stream waits until it is released. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reached = threading.Event()
        self._is_released = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = []

    def release(self) -> None:
        """Let all waiting and later streams continue."""
        with self._lock:
            self._is_released = True
            waiting, self._waiting = self._waiting, []
        for loop, go_on in waiting:
            loop.call_soon_threadsafe(go_on)

    def wait_until_reached(self, *, timeout: float = 10) -> None:
        """Block until a stream reaches the gate. Raises TimeoutError after `timeout` seconds."""
        if not self._reached.wait(timeout):
            raise TimeoutError("No stream has reached the gate.")

    def must_wait(self, go_on: Callable[[], None]) -> bool:
        """Return whether the stream must wait. If so, the release calls `go_on` in the running loop."""
        with self._lock:
            if not self._is_released:
                self._waiting.append((asyncio.get_running_loop(), go_on))
            is_waiting = not self._is_released
        self._reached.set()
        return is_waiting


class End(Enum):
    """Ways to end a script early."""

    CUT = "cut"  # The connection is closed in the middle of the response.
    SILENCE = "silence"  # Nothing more is sent, and the connection stays open.


class Thought(str):
    """A piece of reasoning."""

    __slots__ = ()


# Text is sent as a delta, bytes are sent unchanged, and a callable returns the text when its turn comes.
Step = str | bytes | Gate | End | Callable[[], str]


@dataclass(frozen=True, kw_only=True)
class Script:
    """A streamed answer. `rate` is in steps per second: 0 means no limit, None the rate of the server."""

    steps: Iterable[Step]
    finish_reason: str | None = "stop"
    has_usage: bool = True
    has_done: bool = True
    rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """A response that is not streamed."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Nothing:
    """No response: the connection is closed, or stays open in silence."""

    end: End


Response = Script | Page | Nothing

_SAMPLE = """\
## A fake answer

This text comes from the **fake upstream**, not from a language model. It contains what real answers contain, so you \
can see how they look.

1. A list with `code`, *emphasis* and a [link](https://example.org/).
2. Text in other scripts: 你好, Привет, 🙂.

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
    """Return a Markdown text as `length` deltas of `chars` characters, or the sample once if `length` is None."""
    chars = max(chars, 1)
    if length is None:
        text = _SAMPLE
    else:
        text = (_SAMPLE * (length * chars // len(_SAMPLE) + 1))[: length * chars]
    return tuple(text[start : start + chars] for start in range(0, len(text), chars))


def stamp() -> str:
    """Return a delta that contains the current time of the monotonic clock, in seconds."""
    return f"{time.monotonic():.4f} "


def text_of(content: object) -> str:
    """Return the text of message content, which is a string or a list of typed parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return str(content)


def event(content: object) -> bytes:
    """Return a server-sent event with the content as JSON."""
    return b"data: " + orjson.dumps(content) + b"\n\n"


def chunk(model: str, *, text: str = "", finish_reason: str | None = None) -> bytes:
    """Return the event for one chunk of a chat completion."""
    name = "reasoning_content" if isinstance(text, Thought) else "content"
    return event(_choice(model, {name: text} if text else {}, finish_reason))


def usage_chunk(
    model: str, *, prompt_tokens: int, completion_tokens: int, reasoning_tokens: int = 0
) -> bytes:
    """Return the event that follows the last chunk if the request asked for the usage."""
    usage: dict[str, object] = {**_usage(prompt_tokens, completion_tokens)}
    if reasoning_tokens:
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning_tokens}
    return event(_envelope(model) | {"choices": [], "usage": usage})


def completion(model: str, *, text: str, prompt_tokens: int) -> Page:
    """Return an answer that is not streamed."""
    message = {"role": "assistant", "content": text}
    body = _envelope(model) | {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _usage(prompt_tokens, len(text) // 4),
    }
    return Page(body=orjson.dumps(body))


def error(status: int, message: str, *, kind: str, code: str | None = None, **headers: str) -> Page:
    """Return an error in the format of the OpenAI API. Underscores in header names stand for hyphens."""
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
    """The request that a fault responds to."""

    authorization: str
    prompt: str
    model: str
    count: int  # Requests with this prompt so far, including this one.


def _begin(*steps: Step) -> Iterator[Step]:
    yield from ("This ", "answer ", "begins ", "well, ", *steps)


def _huge_line() -> Iterator[Step]:
    yield from _begin(b"data: ")
    yield from repeat(b"x" * 65_536, 64)


_BROKEN = (b"data: null\n\n", b"data: []\n\n", b'data: {"choices": [{"delta": {"cont\n\n')


def _choice(model: str, delta: dict[str, object], finish_reason: str | None = None) -> dict[str, object]:
    return _envelope(model) | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def _unfinished(asked: Asked) -> Response:
    last = event(_choice(asked.model, {"content": "and ends."}, "stop")).rstrip(b"\n")
    return Script(steps=_begin(last), finish_reason=None, has_usage=False, has_done=False)


_THOUGHTS = ("The reader wants ", "to see me think.\n\n", "So I think: ", "2 < 3 & 3 > 2.")


def _reasoning(asked: Asked) -> Response:
    return Script(steps=(*map(Thought, _THOUGHTS), "Two is ", "less than ", "three."))


def _tool_call(asked: Asked) -> Response:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    return Script(steps=(event(_choice(asked.model, {"tool_calls": [call]})),), finish_reason="tool_calls")


def _refusal(asked: Asked) -> Response:
    pieces = ("I can't ", "help with that.")
    return Script(steps=[event(_choice(asked.model, {"refusal": piece})) for piece in pieces])


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
        body=b"<!doctype html><title>Sign in</title><p>Please sign in.", headers={"Content-Type": "text/html"}
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
    "broken-chunks": lambda asked: Script(steps=_begin(*_BROKEN, "and ends.")),
    "bad-json": lambda asked: Script(steps=_begin(*_BROKEN, *_BROKEN, "never shown")),
    "unfinished": _unfinished,
    "reasoning": _reasoning,
    "tool-call": _tool_call,
    "refusal": _refusal,
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
"""Faults by name. To get one, use the model `fault-NAME` or write `fault:NAME` in the message."""
