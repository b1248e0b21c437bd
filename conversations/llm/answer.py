"""An answer of the OpenAI chat completions API, from its bytes to what matters in it.

Two forms are understood: the stream of chunks ("chat.completion.chunk") and the answer in one piece
("chat.completion"), which some servers send although a stream was asked for.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

import orjson

from conversations.llm.errors import UpstreamError, UpstreamErrorCode, error_of_object
from conversations.llm.sse import LineTooLong, ServerSentEvent, SSEDecoder


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of the text, never empty, without NUL and without lone surrogates."""

    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Why the upstream ended the text: "stop", "length", "content_filter" …, or "" if it ended without a reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that the upstream counted, for the whole request and the whole answer."""

    prompt_tokens: int
    completion_tokens: int


Event = Delta | Finish | Usage

_DONE = "[DONE]"
_REASON = re.compile(r"[\w.-]{1,32}", re.ASCII)
# The largest number that every database takes for an integer.
_MAX_TOKENS = 2_147_483_647

# A chunk costs some 250 bytes on the wire for a few bytes of text. Beyond this many bytes received for each byte of
# text allowed, the upstream sends anything but an answer.
_OVERHEAD = 256


def mend_surrogates(text: str) -> str:
    """Return the text with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Answer:
    """Reads one answer: feed it the bytes as they come, then say that they ended.

    The events come in the order of the text; one Finish follows it, and then, at the end, Usage if it is known.
    What goes wrong is kept in `failure` and not raised, so that the text before it is not lost.
    """

    def __init__(self, *, is_stream: bool, max_line_bytes: int, max_answer_bytes: int) -> None:
        self.failure: UpstreamError | None = None
        self.has_text = False
        # The reason has come, so that only the usage may follow.
        self.is_finished = False
        # The upstream has said that nothing follows.
        self.is_complete = False
        self._max_answer_bytes = max_answer_bytes
        self._decoder = SSEDecoder(max_line_bytes=max_line_bytes) if is_stream else None
        self._body = bytearray()
        self._events: list[Event] = []
        self._received_bytes = 0
        self._text_bytes = 0
        self._looks_foreign = False
        self._usage: Usage | None = None
        self._high_surrogate = ""

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes and return the events that they complete."""
        events = self._events = []
        if not self._received_bytes:
            # A page or a document where an event stream was announced.
            self._looks_foreign = data.lstrip().startswith((b"<", b"{", b"["))
        self._received_bytes += len(data)
        if self._decoder is None:
            self._body += data
            if len(self._body) > self._max_answer_bytes:
                self._fail(UpstreamErrorCode.TOO_LARGE, "The answer in one piece is too long.")
            return events
        if self._received_bytes > _OVERHEAD * self._max_answer_bytes:
            self._fail(UpstreamErrorCode.TOO_LARGE, "The upstream sent far more than an answer.")
            return events
        try:
            for event in self._decoder.feed(data):
                self._take_event(event)
        except LineTooLong as error:
            for event in error.events:
                self._take_event(event)
            self._fail(UpstreamErrorCode.TOO_LARGE, str(error))
        return events

    def end(self) -> list[Event]:
        """Take the end of the bytes, or of our patience, and return the last events."""
        events = self._events = []
        if self._decoder is None and self.failure is None:
            self._take_whole()
        if self.failure is None and not self.is_finished:
            if self.is_complete:
                self._finish("")
            elif self._looks_foreign:
                self._fail(UpstreamErrorCode.PROTOCOL, "The answer was not an event stream.")
            else:
                self._fail(UpstreamErrorCode.INTERRUPTED, "The answer ended without a finish reason.")
        if self._usage is not None:
            events.append(self._usage)
        return events

    def fail(self, failure: UpstreamError) -> None:
        """Take it that the connection failed: that matters only while there was something to wait for."""
        if not self.is_finished and self.failure is None:
            self.failure = failure

    def _fail(self, code: UpstreamErrorCode, detail: str) -> None:
        if self.failure is None:
            self.failure = UpstreamError(code, detail=detail)

    def _finish(self, reason: str) -> None:
        if not self.is_finished:
            self._give_up_surrogate()
            self.is_finished = True
            self._events.append(Finish(reason))

    def _take_event(self, event: ServerSentEvent) -> None:
        if self.is_complete or self.failure is not None:
            return
        if event.data.startswith(_DONE):
            self.is_complete = True
            return
        chunk = self._parse(event.data)
        if chunk is None:
            return
        if event.event == "error" or chunk.get("error"):
            self.failure = error_of_object(chunk.get("error") or chunk)
            return
        if chunk.get("usage"):
            self._take_usage(chunk["usage"])
        self._take_choice(chunk.get("choices"), key="delta")

    def _take_whole(self) -> None:
        content = self._parse(bytes(self._body))
        if content is None:
            return
        if content.get("error"):
            self.failure = error_of_object(content["error"])
            return
        if not content.get("choices"):
            self._fail(UpstreamErrorCode.PROTOCOL, "The answer in one piece has no choices.")
            return
        self._take_usage(content.get("usage"))
        self._take_choice(content["choices"], key="message")
        self.is_complete = True

    def _parse(self, data: str | bytes) -> dict[str, Any] | None:
        try:
            content = orjson.loads(data)
        except orjson.JSONDecodeError:
            if not data.strip():
                return None
            # orjson refuses lone surrogates, which some servers send when a character falls into two deltas.
            try:
                content = json.loads(data)
            except (ValueError, RecursionError):
                content = None
        if not isinstance(content, dict):
            self._fail(UpstreamErrorCode.PROTOCOL, "A part of the answer is not a JSON object.")
            return None
        return content

    def _take_choice(self, choices: Any, *, key: str) -> None:
        # The chunk with the usage has no choices, and there are chunks of other kinds, such as pings.
        if not choices:
            return
        try:
            choice = choices[0]
            if choice.get("index"):
                return
            message = choice.get(key) or {}
            text = message.get("content") or message.get("refusal")
            reason = choice.get("finish_reason")
        except (AttributeError, LookupError, TypeError):
            self._fail(UpstreamErrorCode.PROTOCOL, "A part of the answer has an unknown shape.")
            return
        if text:
            self._take_text(text if isinstance(text, str) else self._text_of_parts(text))
        if reason and isinstance(reason, str):
            # The reasons are short words. Anything else says nothing, and might not even be fit to be stored.
            self._finish(reason if _REASON.fullmatch(reason) else "")

    def _text_of_parts(self, parts: Any) -> str:
        """Return the text of content that is a list of typed parts, of which the thoughts are left out."""
        if not isinstance(parts, list):
            self._fail(UpstreamErrorCode.PROTOCOL, "The text of the answer is neither a string nor a list.")
            return ""
        texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
        return "".join(text for text in texts if isinstance(text, str))

    def _take_text(self, text: str) -> None:
        if "\0" in text:
            text = text.replace("\0", "")
        if not text:
            return
        if text.isascii() and not self._high_surrogate:
            self._append(text, size=len(text))
            return
        text, self._high_surrogate = self._high_surrogate + text, ""
        if "\ud800" <= text[-1] <= "\udbff":
            # Half a character: the other half is at the start of the next delta.
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
        self.has_text = True
        self._events.append(Delta(text))

    def _take_usage(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        # JSON's true is an int to isinstance.
        if type(prompt) is not int or type(completion) is not int:
            return
        if 0 <= prompt <= _MAX_TOKENS and 0 <= completion <= _MAX_TOKENS:
            self._usage = Usage(prompt, completion)
