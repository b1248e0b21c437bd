"""The address and limits of an upstream."""

from dataclasses import dataclass, field

import httpx


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """An API's address and credentials, and the limits for using it.

    `first_byte_seconds` limits each wait from the start of the request to the first text, `idle_seconds` each wait
    after that, and `answer_seconds` the whole call, including retries. `max_line_bytes` limits a line of the stream,
    and `max_answer_bytes` an answer's text in UTF-8. The waits between retries start at `retry_wait_seconds` and double
    up to `retry_wait_limit_seconds`. If a `Retry-After` exceeds `retry_after_limit_seconds`, there is no retry. Raises
    ValueError if the address or the key is invalid.
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
            raise ValueError(
                "The upstream's address must start with http:// or https://, followed by a host."
            )
        if url.userinfo:
            # Addresses are logged, so they must not hold secrets.
            raise ValueError("The upstream's address must not contain a user name or a password.")
        for value in (self.api_key, self.organization, self.project):
            if not value.isascii() or not value.isprintable() or " " in value:
                raise ValueError("The key, organisation and project must be printable ASCII without spaces.")
