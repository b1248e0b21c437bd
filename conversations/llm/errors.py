"""What can go wrong with an upstream, in the few words that the rest of the project knows.

An error body is read to choose the code and then forgotten: it may echo the key or the prompt, so no text that the
upstream wrote ever becomes part of an exception.
"""

from enum import StrEnum
from typing import Any

import aiohttp
import httpx
import orjson

from conversations.llm.sse import LineTooLong


class UpstreamErrorCode(StrEnum):
    """Why an answer failed. The values are stored, so they never change."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    BAD_REQUEST = "bad_request"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    RATE_LIMITED = "rate_limited"
    QUOTA = "quota"
    SERVER_ERROR = "server_error"
    PROTOCOL = "protocol"
    TOO_LARGE = "too_large"
    INTERRUPTED = "interrupted"
    OVERLOADED = "overloaded"


# The same request may succeed later, without anybody having changed anything.
_RETRYABLE = frozenset(
    {
        UpstreamErrorCode.UNREACHABLE,
        UpstreamErrorCode.TIMEOUT,
        UpstreamErrorCode.RATE_LIMITED,
        UpstreamErrorCode.SERVER_ERROR,
        UpstreamErrorCode.INTERRUPTED,
        UpstreamErrorCode.OVERLOADED,
    }
)

# Codes and types of the OpenAI API and of servers that imitate it (Azure, llama.cpp, vLLM, OpenRouter, Anthropic's
# compatible endpoint). They are more exact than the HTTP status, so they are looked up first.
_BY_NAME = {
    "insufficient_quota": UpstreamErrorCode.QUOTA,
    "billing_hard_limit_reached": UpstreamErrorCode.QUOTA,
    "billing_not_active": UpstreamErrorCode.QUOTA,
    "context_length_exceeded": UpstreamErrorCode.CONTEXT_LENGTH,
    "exceed_context_size_error": UpstreamErrorCode.CONTEXT_LENGTH,
    "string_above_max_length": UpstreamErrorCode.CONTEXT_LENGTH,
    "content_filter": UpstreamErrorCode.CONTENT_FILTER,
    "content_policy_violation": UpstreamErrorCode.CONTENT_FILTER,
    "responsibleaipolicyviolation": UpstreamErrorCode.CONTENT_FILTER,
    "model_not_found": UpstreamErrorCode.NOT_FOUND,
    "deploymentnotfound": UpstreamErrorCode.NOT_FOUND,
    "not_found_error": UpstreamErrorCode.NOT_FOUND,
    "invalid_api_key": UpstreamErrorCode.UNAUTHORIZED,
    "authentication_error": UpstreamErrorCode.UNAUTHORIZED,
    "permission_error": UpstreamErrorCode.UNAUTHORIZED,
    "rate_limit_exceeded": UpstreamErrorCode.RATE_LIMITED,
    "rate_limit_error": UpstreamErrorCode.RATE_LIMITED,
}
_INVALID_REQUEST = "invalid_request_error"
_CONTEXT_PHRASES = ("context length", "context window", "context size", "too many tokens")

_BY_STATUS = {
    401: UpstreamErrorCode.UNAUTHORIZED,
    402: UpstreamErrorCode.QUOTA,
    403: UpstreamErrorCode.UNAUTHORIZED,
    404: UpstreamErrorCode.NOT_FOUND,
    408: UpstreamErrorCode.TIMEOUT,
    409: UpstreamErrorCode.SERVER_ERROR,
    413: UpstreamErrorCode.CONTEXT_LENGTH,
    429: UpstreamErrorCode.RATE_LIMITED,
}


class UpstreamError(Exception):
    """An answer failed.

    `status` is the HTTP status if there was one, `retry_after` the time in seconds after which the upstream wants to
    be asked again, and `retryable` says whether the same request may succeed later. `detail` is a sentence of ours
    for the log; nothing that the upstream, the operator or the user wrote is in it.
    """

    def __init__(
        self,
        code: UpstreamErrorCode,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        detail: str = "",
    ) -> None:
        self.code = code
        self.status = status
        self.retry_after = retry_after
        self.retryable = code in _RETRYABLE
        self.detail = detail
        super().__init__(code, status, detail)

    def __str__(self) -> str:
        status = "" if self.status is None else f" (HTTP {self.status})"
        return f"{self.code}{status}{': ' if self.detail else ''}{self.detail}"


class ConnectionDropped(UpstreamError):
    """The upstream closed the connection before it answered, as happens to kept-alive connections."""

    def __init__(self) -> None:
        super().__init__(UpstreamErrorCode.UNREACHABLE, detail="The connection was closed before the answer.")


def error_of_response(*, status: int, body: bytes, retry_after: float | None) -> UpstreamError:
    """Return the error that a response without an answer stands for."""
    if 300 <= status < 400:
        return UpstreamError(
            UpstreamErrorCode.PROTOCOL,
            status=status,
            detail="The upstream redirects; redirects are not followed.",
        )
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        content = None
    error = content.get("error", content) if isinstance(content, dict) else None
    return UpstreamError(_code(error, status=status), status=status, retry_after=retry_after)


def error_of_object(error: object) -> UpstreamError:
    """Return the error that an error object inside an answer stands for."""
    status = error.get("code") if isinstance(error, dict) else None
    if not isinstance(status, int) or not 400 <= status < 600:
        status = None
    code = _code(error, status=status)
    return UpstreamError(code, status=status, detail="The upstream reported an error inside the answer.")


def _code(error: Any, *, status: int | None) -> UpstreamErrorCode:
    names: list[str] = []
    message = ""
    if isinstance(error, dict):
        inner = error.get("innererror")
        fields = [
            error.get("code"),
            error.get("type"),
            inner.get("code") if isinstance(inner, dict) else None,
        ]
        names = [field.lower() for field in fields if isinstance(field, str)]
        message = str(error.get("message") or "")
    elif isinstance(error, str):
        message = error
    for name in names:
        if name in _BY_NAME:
            return _BY_NAME[name]
    is_refused = status in {400, 413, 422} or (status is None and _INVALID_REQUEST in names)
    if is_refused and any(phrase in message.lower() for phrase in _CONTEXT_PHRASES):
        return UpstreamErrorCode.CONTEXT_LENGTH
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if is_refused or (status is not None and 400 <= status < 500):
        return UpstreamErrorCode.BAD_REQUEST
    if status is None or status >= 500:
        return UpstreamErrorCode.SERVER_ERROR
    return UpstreamErrorCode.PROTOCOL


def error_of_exception(error: Exception) -> UpstreamError:
    """Return the error that an exception of the transport, raised before there was a response, stands for."""
    cause = error.__cause__
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return ConnectionDropped()
    if isinstance(cause, aiohttp.ClientOSError) and not isinstance(cause, aiohttp.ClientConnectorError):
        return ConnectionDropped()
    if isinstance(error, httpx.ReadError | httpx.WriteError):
        return ConnectionDropped()
    if isinstance(error, httpx.RemoteProtocolError) and "disconnected" in str(error):
        return ConnectionDropped()
    if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
        return UpstreamError(UpstreamErrorCode.TIMEOUT)
    if isinstance(error, httpx.TimeoutException | httpx.NetworkError | httpx.ProxyError | OSError):
        return UpstreamError(UpstreamErrorCode.UNREACHABLE, detail="No connection could be made.")
    return UpstreamError(UpstreamErrorCode.PROTOCOL, detail="The upstream did not answer in HTTP.")


def error_of_long_line(error: LineTooLong) -> UpstreamError:
    """Return the error that a line beyond the limit stands for."""
    return UpstreamError(UpstreamErrorCode.TOO_LARGE, detail=str(error))
