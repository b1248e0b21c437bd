"""Errors of upstreams, reduced to a few codes.

An error body is read only to choose the code. It may quote the key or the prompt, so text written by the upstream never
becomes part of an exception.
"""

from enum import StrEnum
from typing import Any

import aiohttp
import httpx
import orjson


class UpstreamErrorCode(StrEnum):
    """Why an answer failed. The values are stored in the database, so they must not change."""

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
    TOOL_CALL = "tool_call"


# The same request may succeed later without any change.
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

# Codes and types of the OpenAI API and of compatible servers (Azure, llama.cpp, vLLM, OpenRouter, Anthropic). They
# are more specific than the HTTP status, so they take precedence.
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

    `status` is the HTTP status, if there was one. `retry_after` is the time in seconds that the upstream asks us to
    wait. `retryable` says whether the same request may succeed later. `detail` is our own sentence for the log; it
    never holds text from the upstream, the operator or the user.
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
    """The upstream closed the connection before it answered. This is normal for kept-alive connections."""

    def __init__(self) -> None:
        super().__init__(UpstreamErrorCode.UNREACHABLE, detail="The connection was closed before a response.")


def error_of_response(*, status: int, body: bytes, retry_after: float | None) -> UpstreamError:
    """Return the error for a response with an error status."""
    if 300 <= status < 400:
        return UpstreamError(
            UpstreamErrorCode.PROTOCOL,
            status=status,
            detail="The upstream sent a redirect, which is not followed.",
        )
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        content = None
    error = content.get("error", content) if isinstance(content, dict) else None
    return UpstreamError(_code(error, status=status), status=status, retry_after=retry_after)


def error_of_object(error: object) -> UpstreamError:
    """Return the error for an error object inside an answer."""
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
    """Return the error for an exception that the transport raised before there was a response."""
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
        return UpstreamError(UpstreamErrorCode.UNREACHABLE, detail="Could not connect to the upstream.")
    return UpstreamError(UpstreamErrorCode.PROTOCOL, detail="The response was not valid HTTP.")
