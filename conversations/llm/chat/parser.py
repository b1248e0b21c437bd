"""Parse answers of the OpenAI chat completions API.

Two formats are supported: the stream of chunks ("chat.completion.chunk"), and the complete answer ("chat.completion"),
which some servers send even if a stream was requested.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from conversations.llm.chat.sse import LineTooLong, ServerSentEvent, SSEDecoder
from conversations.llm.errors import UpstreamError, UpstreamErrorCode, error_of_object


@dataclass(frozen=True, slots=True)
class Delta:
    """The text that arrived together, never empty, without NUL or lone surrogates."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Reasoning before the answer, as it arrived. Its text obeys the same rules as a Delta's."""

    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Why the upstream ended the text: "stop", "length", "content_filter" and so on, or "" if it gave no reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """The upstream's token counts for the whole request and the whole answer.

    `reasoning_tokens` are the answer's tokens spent on reasoning, if the upstream reports them.
    """

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int | None = None


Event = Delta | Reasoning | Finish | Usage

_DONE = "[DONE]"
_REASON = re.compile(r"[\w.-]{1,32}", re.ASCII)
# The largest integer that all supported databases can store.
_MAX_TOKENS = 2_147_483_647

# How many malformed parts of an answer are skipped. With more, the response isn't treated as an answer.
MAX_SKIPPED = 3

# A chunk takes some 250 bytes on the wire for a few bytes of text. If more than this many bytes arrive for each byte
# of text allowed, the upstream isn't sending an answer.
_OVERHEAD = 256


def mend_surrogates(text: str) -> str:
    """Return the text with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class CompletionParser:
    """Parses one answer. Feed it the bytes as they arrive, then call `end`.

    Events come in the order of the text, followed by one Finish and, if known, Usage. Text that arrives together is one
    event. Errors are stored in `failure` instead of being raised, so that the text before them isn't lost.
    """

    def __init__(self, *, is_stream: bool, max_line_bytes: int, max_answer_bytes: int) -> None:
        self.failure: UpstreamError | None = None
        self.has_text = False
        # Something that may have been shown has arrived: text, reasoning, or the finish reason.
        self.has_begun = False
        # The finish reason has arrived, so only the usage may follow.
        self.is_finished = False
        # The upstream has said that nothing follows.
        self.is_complete = False
        # How many malformed parts were skipped.
        self.skipped = 0
        self._max_answer_bytes = max_answer_bytes
        self._decoder = SSEDecoder(max_line_bytes=max_line_bytes) if is_stream else None
        self._body = bytearray()
        self._events: list[Event] = []
        self._received_bytes = 0
        self._text_bytes = 0
        self._looks_foreign = False
        self._usage: Usage | None = None
        self._high_surrogate = ""
        self._kind: type[Delta] | type[Reasoning] = Delta
        # The texts of this kind since the last event.
        self._texts: list[str] = []
        self._calls_tools = False

    def feed(self, data: bytes) -> list[Event]:
        """Parse the next bytes and return the events that they complete."""
        self._events = []
        self._feed(data)
        self._join_texts()
        return self._events

    def _feed(self, data: bytes) -> None:
        if not self._received_bytes:
            # A web page or a JSON document, although an event stream was announced.
            self._looks_foreign = data.lstrip().startswith((b"<", b"{", b"["))
        self._received_bytes += len(data)
        if self._decoder is None:
            self._body += data
            if len(self._body) > self._max_answer_bytes:
                self._fail(UpstreamErrorCode.TOO_LARGE, "The unstreamed answer is too long.")
            return
        if self._received_bytes > _OVERHEAD * self._max_answer_bytes:
            self._fail(UpstreamErrorCode.TOO_LARGE, "The response is far too large for an answer.")
            return
        try:
            for event in self._decoder.feed(data):
                self._take_event(event)
        except LineTooLong as error:
            for event in error.events:
                self._take_event(event)
            self._fail(UpstreamErrorCode.TOO_LARGE, str(error))

    def end(self) -> list[Event]:
        """Handle the end of the response, or of our wait for it, and return the last events."""
        self._events = []
        if self.failure is None:
            self._take_rest()
        if self.failure is None and not self.is_finished:
            if self.skipped and not self.has_begun:
                self._fail(UpstreamErrorCode.PROTOCOL, "The stream contained no valid chunks.")
            elif self.is_complete:
                self._finish("")
            elif self._looks_foreign:
                self._fail(UpstreamErrorCode.PROTOCOL, "The answer was not an event stream.")
            else:
                self._fail(UpstreamErrorCode.INTERRUPTED, "The answer ended without a finish reason.")
        if self.failure is None and self._calls_tools and not self.has_text:
            self._fail(UpstreamErrorCode.TOOL_CALL, "The model requested a tool call and wrote no text.")
        self._join_texts()
        if self._usage is not None:
            self._events.append(self._usage)
        return self._events

    def fail(self, failure: UpstreamError) -> None:
        """Record that the connection failed. Has no effect if the answer was already complete."""
        if not self.is_finished and self.failure is None:
            self.failure = failure

    def _fail(self, code: UpstreamErrorCode, detail: str) -> None:
        if self.failure is None:
            self.failure = UpstreamError(code, detail=detail)

    def _finish(self, reason: str) -> None:
        if not self.is_finished:
            self._give_up_surrogate()
            self.is_finished = self.has_begun = True
            self._join_texts()
            self._events.append(Finish(reason))

    def _take_event(self, event: ServerSentEvent) -> None:
        if self.is_complete or self.failure is not None:
            return
        if event.data.startswith(_DONE):
            self.is_complete = True
            return
        chunk = self._parse(event.data)
        if chunk is None:
            if event.data.strip():
                self._skip("A part of the answer is not a JSON object.")
            return
        if event.event == "error" or chunk.get("error"):
            self.failure = error_of_object(chunk.get("error") or chunk)
            return
        if chunk.get("usage"):
            self._take_usage(chunk["usage"])
        self._take_choice(chunk.get("choices"), key="delta")

    def _take_rest(self) -> None:
        """Parse what is complete only because the response has ended."""
        if self._decoder is None:
            self._take_whole()
        elif not self.is_complete:
            # Data cut off at the end counts neither as a malformed chunk nor as a line that is too long.
            skipped = self.skipped
            with suppress(LineTooLong):
                if (event := self._decoder.unfinished()) is not None:
                    self._take_event(event)
            self.skipped = skipped

    def _take_whole(self) -> None:
        content = self._parse(bytes(self._body))
        if content is None:
            self._fail(UpstreamErrorCode.PROTOCOL, "The unstreamed answer is not a JSON object.")
            return
        if content.get("error"):
            self.failure = error_of_object(content["error"])
            return
        if not content.get("choices"):
            self._fail(UpstreamErrorCode.PROTOCOL, "The unstreamed answer has no choices.")
            return
        self._take_usage(content.get("usage"))
        self._take_choice(content["choices"], key="message")
        self.is_complete = True

    def _parse(self, data: str | bytes) -> dict[str, Any] | None:
        try:
            content = orjson.loads(data)
        except orjson.JSONDecodeError:
            # orjson rejects lone surrogates. Some servers send them if a character is split between two deltas.
            try:
                content = json.loads(data)
            except (ValueError, RecursionError):
                content = None
        return content if isinstance(content, dict) else None

    def _skip(self, detail: str) -> None:
        """Skip a malformed part, because a missing piece is better than a missing answer."""
        self.skipped += 1
        if self.skipped > MAX_SKIPPED:
            self._fail(UpstreamErrorCode.PROTOCOL, detail)

    def _take_choice(self, choices: Any, *, key: str) -> None:
        # The chunk with the usage has no choices, nor have other kinds of chunks such as pings.
        if not choices:
            return
        try:
            choice = choices[0]
            if choice.get("index"):
                return
            message = choice.get(key) or {}
            text = message.get("content") or message.get("refusal")
            reasoning = message.get("reasoning_content") or message.get("reasoning")
            calls_tools = bool(message.get("tool_calls") or message.get("function_call"))
            reason = choice.get("finish_reason")
        except (AttributeError, LookupError, TypeError):
            self._skip("A part of the answer has an unknown shape.")
            return
        self._calls_tools = self._calls_tools or calls_tools
        # Some servers send reasoning in two fields, others in a list of typed parts. It precedes the text of the same
        # chunk.
        if isinstance(reasoning, str):
            self._take_text(reasoning, kind=Reasoning)
        if isinstance(text, str):
            self._take_text(text, kind=Delta)
        elif text:
            self._take_parts(text)
        if reason and isinstance(reason, str):
            # Finish reasons are short words. Anything else is meaningless and may not be safe to store.
            self._finish(reason if _REASON.fullmatch(reason) else "")

    def _take_parts(self, parts: Any) -> None:
        """Parse content given as a list of typed parts."""
        if not isinstance(parts, list):
            self._skip("The text of the answer is neither a string nor a list.")
            return
        for part in parts:
            name = part.get("type") if isinstance(part, dict) else None
            if name not in {"text", "refusal", "thinking"}:
                continue
            kind = Reasoning if name == "thinking" else Delta
            # The reasoning may itself be a list of parts.
            inner = part.get(name)
            for text in [inner] if isinstance(inner, str) else _texts(inner):
                self._take_text(text, kind=kind)

    def _take_text(self, text: str, *, kind: type[Delta] | type[Reasoning]) -> None:
        if kind is not self._kind:
            self._give_up_surrogate()
            self._join_texts()
            self._kind = kind
        if "\0" in text:
            text = text.replace("\0", "")
        if not text:
            return
        if text.isascii() and not self._high_surrogate:
            self._append(text, size=len(text))
            return
        text, self._high_surrogate = self._high_surrogate + text, ""
        if "\ud800" <= text[-1] <= "\udbff":
            # Half a character. The next delta starts with the other half.
            text, self._high_surrogate = text[:-1], text[-1]
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            text = mend_surrogates(text)
            size = len(text.encode())
        if text:
            self._append(text, size=size)

    def _give_up_surrogate(self) -> None:
        if self._high_surrogate:
            self._high_surrogate = ""
            self._append("\N{REPLACEMENT CHARACTER}", size=3)

    def _append(self, text: str, *, size: int) -> None:
        self._text_bytes += size
        if self._text_bytes > self._max_answer_bytes:
            self._fail(UpstreamErrorCode.TOO_LARGE, "The text of the answer is too long.")
            return
        self.has_begun = True
        self.has_text = self.has_text or self._kind is Delta
        self._texts.append(text)

    def _join_texts(self) -> None:
        """Make one event of the texts since the last one."""
        if self._texts:
            self._events.append(self._kind("".join(self._texts)))
            self._texts = []

    def _take_usage(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        # isinstance would accept JSON's true as an int.
        if type(prompt) is not int or type(completion) is not int:
            return
        if 0 <= prompt <= _MAX_TOKENS and 0 <= completion <= _MAX_TOKENS:
            details = usage.get("completion_tokens_details")
            reasoning = details.get("reasoning_tokens") if isinstance(details, dict) else None
            is_known = type(reasoning) is int and 0 <= reasoning <= completion
            self._usage = Usage(prompt, completion, reasoning if is_known else None)


def _texts(parts: object) -> list[str]:
    """Return the texts of a list of typed parts."""
    if not isinstance(parts, list):
        return []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return [text for text in texts if isinstance(text, str)]
