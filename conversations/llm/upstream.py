"""What is asked of an upstream, and how it is reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import httpx
import orjson

from conversations.llm.answer import mend_surrogates


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """Where an API is, and how long and how much to bear from it.

    `first_byte_seconds` limits each wait until the first text, from the start of the request on; `idle_seconds` each
    wait after it; `answer_seconds` the whole call, with its retries. `max_line_bytes` limits a line of the stream,
    `max_answer_bytes` the text of an answer in UTF-8. The waits between retries begin at `retry_wait_seconds` and
    double up to `retry_wait_limit_seconds`; a `Retry-After` beyond `retry_after_limit_seconds` is not waited for.
    Raises ValueError for an address or a key that can't be right.
    """

    base_url: str
    api_key: str = field(default="", repr=False)
    organization: str = ""
    project: str = ""
    connect_seconds: float = 5
    first_byte_seconds: float = 60
    idle_seconds: float = 30
    answer_seconds: float = 300
    max_line_bytes: int = 1_048_576
    max_answer_bytes: int = 2_097_152
    max_retries: int = 2
    retry_wait_seconds: float = 0.5
    retry_wait_limit_seconds: float = 8
    retry_after_limit_seconds: float = 20

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.base_url)
        except httpx.InvalidURL:
            raise ValueError("The upstream's address is not a URL.") from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise ValueError("The upstream's address must begin with http:// or https:// and a host.")
        if url.userinfo:
            # Addresses are logged; a secret belongs into the key.
            raise ValueError("The upstream's address must not hold a user name or a password.")
        for value in (self.api_key, self.organization, self.project):
            if not value.isascii() or not value.isprintable() or " " in value:
                raise ValueError("The key, organisation and project must be printable ASCII without spaces.")


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """One request for an answer.

    `model` is the upstream's name for the model, `messages` the conversation as {"role", "content"} objects, oldest
    first, and `max_tokens` the most tokens that the answer may have, sent under the name that the model wants.
    `parameters` are further fields of the API, such as the temperature, that the caller has checked.
    """

    model: str
    messages: Sequence[Mapping[str, str]] = field(repr=False)
    max_tokens: int
    max_tokens_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    parameters: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the body of the request. The stream, and the usage at its end, are always asked for."""
        body: dict[str, object] = {
            **self.parameters,
            "model": self.model,
            "messages": [dict(message) for message in self.messages],
            self.max_tokens_parameter: self.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        try:
            return orjson.dumps(body)
        except orjson.JSONEncodeError:
            # Text from a browser may hold lone surrogates, which JSON in UTF-8 can't carry.
            body["messages"] = [
                {key: mend_surrogates(value) for key, value in message.items()} for message in self.messages
            ]
            return orjson.dumps(body)
