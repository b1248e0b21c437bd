"""The connection of one answer: made, read within the limits, and closed whatever happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import httpx

from conversations.llm.answer import Answer, Delta, Event
from conversations.llm.breaker import CircuitBreaker, CircuitOpen
from conversations.llm.errors import (
    ConnectionDropped,
    UpstreamError,
    UpstreamErrorCode,
    error_of_exception,
    error_of_response,
)
from conversations.llm.patience import Patience
from conversations.llm.retry import retry_after_of
from conversations.llm.upstream import Upstream

_MAX_ERROR_BYTES = 65_536
# After the finish reason only the usage and the end are missing, and nobody should wait long for those.
_AFTER_FINISH_SECONDS = 5.0
# After [DONE] the end of the response follows at once. To have read it lets the connection be used again.
_AFTER_DONE_SECONDS = 0.1

# These say that the upstream is ill, and count for the circuit breaker. The others are about the request.
_UNHEALTHY = frozenset(
    {
        UpstreamErrorCode.UNREACHABLE,
        UpstreamErrorCode.TIMEOUT,
        UpstreamErrorCode.SERVER_ERROR,
        UpstreamErrorCode.PROTOCOL,
        UpstreamErrorCode.INTERRUPTED,
    }
)

# What a transport may raise. httpx-aiohttp lets some exceptions of aiohttp through as they are.
_TRANSPORT_ERRORS = (httpx.HTTPError, aiohttp.ClientError, OSError)
# While reading, aiohttp says by a RuntimeError that the connection was closed on our side.
_READ_ERRORS = (*_TRANSPORT_ERRORS, RuntimeError)


class AnswerStream:
    """Reads one answer into events.

    After `open`, take `events`, then call `read` for the next ones until `has_ended`; `failure` then says what went
    wrong, if anything did. Call `aclose` in any case. Exceptions of the transport are dropped and not chained: they
    hold the headers of the request, and so the key.
    """

    def __init__(
        self,
        *,
        http: httpx.AsyncClient,
        upstream: Upstream,
        breaker: CircuitBreaker,
        deadline: float,
        is_first: bool,
    ) -> None:
        self.events: list[Event] = []
        self.has_ended = False
        self.failure: UpstreamError | None = None
        self._http = http
        self._upstream = upstream
        self._breaker = breaker
        self._is_probe: bool | None = None
        self._deadline = deadline
        self._is_first = is_first
        self._loop = asyncio.get_running_loop()
        self._patience = Patience()
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes]
        self._answer: Answer

    async def open(self, request: httpx.Request) -> None:
        """Make the request and read the first events. Raises UpstreamError if it failed before any text."""
        try:
            self._is_probe = self._breaker.acquire()
        except CircuitOpen as error:
            raise UpstreamError(UpstreamErrorCode.OVERLOADED, retry_after=error.retry_after) from None
        try:
            self.failure = await self._send(request)
            while self.failure is None and not self.events and not self.has_ended:
                await self.read()
            if self.failure is not None and not any(isinstance(event, Delta) for event in self.events):
                raise self.failure
        except BaseException:
            await self.aclose()
            raise
        if self._is_probe:
            # The upstream is back; the others need not wait until this answer is complete.
            self._settle(healthy=True)

    async def _send(self, request: httpx.Request) -> UpstreamError | None:
        due = min(self._loop.time() + self._upstream.first_byte_seconds, self._deadline)
        try:
            with self._patience.until(due):
                response = self._response = await self._http.send(request, stream=True)
        except TimeoutError:
            return UpstreamError(
                UpstreamErrorCode.TIMEOUT, detail="The upstream did not begin to answer in time."
            )
        except _TRANSPORT_ERRORS as error:
            return error_of_exception(error)

        self._chunks = response.aiter_raw()
        if not response.is_success:
            return error_of_response(
                status=response.status_code,
                body=await self._read_error(),
                retry_after=retry_after_of(response.headers),
            )
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            return UpstreamError(
                UpstreamErrorCode.PROTOCOL, detail="The answer is compressed; that was not asked for."
            )
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/html":
            return UpstreamError(UpstreamErrorCode.PROTOCOL, detail="The upstream answered with a web page.")
        self._answer = Answer(
            is_stream=kind != "application/json",
            max_line_bytes=self._upstream.max_line_bytes,
            max_answer_bytes=self._upstream.max_answer_bytes,
        )
        return None

    async def _read_error(self) -> bytes:
        """Return the body of a response that is no answer, or its beginning."""
        body = b""
        due = min(self._loop.time() + _AFTER_FINISH_SECONDS, self._deadline)
        with suppress(*_READ_ERRORS), self._patience.until(due):
            async for data in self._chunks:
                body += data
                if len(body) > _MAX_ERROR_BYTES:
                    break
        return body

    async def read(self) -> None:
        """Wait for the next bytes and put what they hold into `events`, which may stay empty."""
        self.events = []
        try:
            with self._patience.until(self._due()):
                data = await anext(self._chunks)
        except StopAsyncIteration:
            self._end()
        except TimeoutError:
            self._end(
                UpstreamError(UpstreamErrorCode.TIMEOUT, detail="The upstream fell silent, or took too long.")
            )
        except _READ_ERRORS:
            self._end(UpstreamError(UpstreamErrorCode.INTERRUPTED, detail="The connection was lost."))
        else:
            answer = self._answer
            self.events = answer.feed(data)
            if answer.is_complete or answer.failure is not None:
                self._end()

    def _due(self) -> float:
        upstream, answer = self._upstream, self._answer
        if answer.is_finished:
            seconds = min(upstream.idle_seconds, _AFTER_FINISH_SECONDS)
        elif answer.has_text:
            seconds = upstream.idle_seconds
        else:
            seconds = upstream.first_byte_seconds
        return min(self._loop.time() + seconds, self._deadline)

    def _end(self, failure: UpstreamError | None = None) -> None:
        if failure is not None:
            self._answer.fail(failure)
        self.events += self._answer.end()
        self.failure = self._answer.failure
        self.has_ended = True

    async def aclose(self) -> None:
        """Close the connection, or give it back if the response was read to its end."""
        self._settle(healthy=self._healthy())
        response, self._response = self._response, None
        if response is None:
            self._patience.close()
            return
        try:
            if self.has_ended and self.failure is None:
                await self._read_rest()
        finally:
            self._patience.close()
            with suppress(*_READ_ERRORS):
                await response.aclose()

    async def _read_rest(self) -> None:
        due = self._loop.time() + _AFTER_DONE_SECONDS
        with suppress(*_READ_ERRORS), self._patience.until(due):
            async for _ in self._chunks:
                pass

    def _healthy(self) -> bool | None:
        if isinstance(self.failure, ConnectionDropped) and self._is_first:
            # Most likely a stale connection. If it is more, the next attempt will show it.
            return None
        if self.failure is not None:
            return self.failure.code not in _UNHEALTHY
        return True if self.has_ended else None

    def _settle(self, *, healthy: bool | None) -> None:
        if self._is_probe is not None:
            self._breaker.settle(probe=self._is_probe, healthy=healthy)
            self._is_probe = None
