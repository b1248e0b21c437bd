"""Requests to a chat completions API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import orjson

from conversations.llm.chat.parser import mend_surrogates


@dataclass(frozen=True, slots=True)
class TextPart:
    """A text part of a message."""

    text: str = field(repr=False)

    def to_json(self) -> dict[str, object]:
        return {"type": "text", "text": self.text}


Part = TextPart


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a request: its role and its content in typed parts."""

    role: str
    parts: Sequence[Part]

    @classmethod
    def of_text(cls, role: str, text: str) -> Self:
        """Return a message with this text as its only part."""
        return cls(role, (TextPart(text),))

    @property
    def text(self) -> str:
        """The text of all parts."""
        return "".join(part.text for part in self.parts)

    def to_json(self) -> dict[str, object]:
        """Return the message in the API's format. A single text becomes a string, as some services reject lists."""
        is_text = len(self.parts) == 1 and isinstance(self.parts[0], TextPart)
        content = self.text if is_text else [part.to_json() for part in self.parts]
        return {"role": self.role, "content": content}


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """One request for an answer.

    `model` is the upstream's name of the model, and `messages` the conversation, oldest first. `max_tokens` limits the
    answer, and is sent under the parameter name that the model expects. `parameters` are further fields of the API,
    such as the temperature, which the caller has validated.
    """

    model: str
    messages: Sequence[ChatMessage] = field(repr=False)
    max_tokens: int
    max_tokens_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    parameters: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the body of the request. It always asks for a stream that ends with the usage."""
        body: dict[str, object] = {
            **self.parameters,
            "model": self.model,
            "messages": [message.to_json() for message in self.messages],
            self.max_tokens_parameter: self.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        try:
            return orjson.dumps(body)
        except orjson.JSONEncodeError:
            # Text from a browser may hold lone surrogates, which can't be encoded as UTF-8.
            return orjson.dumps(_mended(body))


def _mended(value: object) -> object:
    """Return a JSON value with all its texts made encodable."""
    if isinstance(value, str):
        return mend_surrogates(value)
    if isinstance(value, Mapping):
        return {key: _mended(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(inner) for inner in value]
    return value
