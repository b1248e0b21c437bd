"""Send HTTP requests to an upstream, with time limits, retries and a circuit breaker, for any endpoint.

Whatever the upstream does, a call ends within the time limits, with either the end of the response or an UpstreamError,
and no part of a response is delivered twice. A reader for each endpoint interprets the bytes.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Generic, Protocol, TypeVar

import aiohttp
import httpx
import stamina

from conversations.llm.breaker import CircuitBreaker, CircuitOpen
from conversations.llm.errors import (
    ConnectionDropped,
    UpstreamError,
    UpstreamErrorCode,
    error_of_exception,
    error_of_response,
)
from conversations.llm.retry import RetryPolicy, retry_after_of
from conversations.llm.reusable_deadline import ReusableDeadline
from conversations.llm.transport import PAUSABLE, Body, transport_for
from conversations.llm.upstream import Upstream

_log = logging.getLogger(__name__)

_MAX_ERROR_BYTES = 65_536
# After the finish reason only the usage and the end of the stream are missing. They aren't worth a long wait.
_AFTER_FINISH_SECONDS = 5.0
# A read of this size or more may have left some of what has arrived.
_FULL_READ_BYTES = 65_536
# How many iterations of the event loop pass until bytes that have arrived can be read.
_ITERATIONS_TO_READ = 3
# After [DONE] the response ends immediately. Reading to its end allows the connection to be reused.
_AFTER_DONE_SECONDS = 0.1

# These errors suggest that the upstream is unhealthy, and count for the circuit breaker. Others concern only the
# request.
_UNHEALTHY = frozenset(
    {
        UpstreamErrorCode.UNREACHABLE,
        UpstreamErrorCode.TIMEOUT,
        UpstreamErrorCode.SERVER_ERROR,
        UpstreamErrorCode.PROTOCOL,
        UpstreamErrorCode.INTERRUPTED,
    }
)

# What a transport may raise. Not all of aiohttp's exceptions are converted.
_TRANSPORT_ERRORS = (httpx.HTTPError, aiohttp.ClientError, OSError)
# aiohttp raises a RuntimeError if the connection is closed on our side during a read.
_READ_ERRORS = (*_TRANSPORT_ERRORS, RuntimeError)


Event = TypeVar("Event")
Pause = Callable[[], Awaitable[None]]
"""Waits while bytes gather, so that one read takes them all. Must be short compared to the limits of an upstream."""


class BodyReader(Protocol[Event]):
    """Turns the body of one response into events. Feed it the bytes as they arrive, then call `end`.

    Errors are stored in `failure` instead of being raised, so that the events before them aren't lost.
    """

    failure: UpstreamError | None
    has_begun: bool
    """Something that may have been shown has arrived: no retries from now on, and only the idle limit applies."""
    is_finished: bool
    """Only data that no one waits for may follow."""
    is_complete: bool
    """Nothing follows."""
    skipped: int
    """How many parts were malformed."""

    def feed(self, data: bytes) -> list[Event]: ...
    def end(self) -> list[Event]: ...
    def fail(self, failure: UpstreamError) -> None: ...


class HttpClient:
    """Sends requests to one upstream. Any number may run at the same time.

    Create one for each upstream and event loop, and close it with `aclose`. It has its own circuit breaker. If you pass
    a `transport`, its connection limit must not be lower than the number of concurrent requests.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self._upstream = upstream
        self._breaker = breaker or CircuitBreaker()
        headers = {
            # Compression may hold text back until a block is full, and a small body may expand to a huge one.
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "chatsite",
        }
        if upstream.api_key:
            headers["Authorization"] = f"Bearer {upstream.api_key}"
        if upstream.organization:
            headers["OpenAI-Organization"] = upstream.organization
        if upstream.project:
            headers["OpenAI-Project"] = upstream.project
        self._http = httpx.AsyncClient(
            transport=transport or transport_for(upstream.base_url),
            headers=headers,
            # One client serves all users, so cookies set for one of them must not be sent for another.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            # ResponseStream enforces the other limits, in the same way for every transport.
            timeout=httpx.Timeout(None, connect=upstream.connect_seconds, pool=upstream.connect_seconds),
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close all connections. Responses that are still being read end with an error."""
        await self._http.aclose()

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        accept: str,
        make_reader: Callable[[str], BodyReader[Event]],
        pause: Pause | None = None,
    ) -> "ResponseStream[Event]":
        """POST JSON to an endpoint, with retries, and return the response once it has events. Raises UpstreamError.

        `path` is appended to the upstream's base URL. `make_reader` receives the content type of the response. Once
        something that may have been shown has arrived, `pause` is awaited before each read, unless you have passed a
        transport of your own.
        """
        upstream = self._upstream
        deadline = asyncio.get_running_loop().time() + upstream.answer_seconds
        attempts = stamina.retry_context(
            on=RetryPolicy(limits=upstream, breaker=self._breaker),
            attempts=max(upstream.max_retries, 1) + 1,
            timeout=upstream.answer_seconds,
            wait_initial=upstream.retry_wait_seconds,
            wait_max=upstream.retry_wait_limit_seconds,
            wait_jitter=upstream.retry_wait_seconds,
        )
        url = upstream.base_url.rstrip("/") + path
        async for attempt in attempts:
            with attempt:
                response = ResponseStream(
                    http=self._http,
                    upstream=upstream,
                    breaker=self._breaker,
                    deadline=deadline,
                    is_first=attempt.num == 1,
                    make_reader=make_reader,
                    pause=pause,
                )
                request = self._http.build_request("POST", url, content=body, headers={"Accept": accept})
                await response.open(request)
                return response
        raise AssertionError("The attempts end with a result or an exception.")


class ResponseStream(Generic[Event]):
    """One response, from the request until it is closed, read into events within the limits.

    After `open`, take `events`, then call `read` for more until `has_ended`. `failure` then holds the error, if there
    was one. To end earlier, cancel `read`, and call `read_arrived` for what it had not read yet. Always call `aclose`.
    Exceptions of the transport aren't chained, because they hold the request's headers and so the key.
    """

    def __init__(
        self,
        *,
        http: httpx.AsyncClient,
        upstream: Upstream,
        breaker: CircuitBreaker,
        deadline: float,
        is_first: bool,
        make_reader: Callable[[str], BodyReader[Event]],
        pause: Pause | None,
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
        self._make_reader = make_reader
        self._pause = pause
        self._loop = asyncio.get_running_loop()
        self._wait_limit = ReusableDeadline()
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes]
        self._reader: BodyReader[Event] | None = None
        self._has_more = False
        self._pausable: Body | None = None

    async def open(self, request: httpx.Request) -> None:
        """Send the request and read the first events. Raises UpstreamError if it fails before any text arrives."""
        try:
            self._is_probe = self._breaker.acquire()
        except CircuitOpen as error:
            raise UpstreamError(UpstreamErrorCode.OVERLOADED, retry_after=error.retry_after) from None
        try:
            self.failure = await self._send(request)
            while self.failure is None and not self.events and not self.has_ended:
                await self.read()
            if self.failure is not None and not (self._reader is not None and self._reader.has_begun):
                raise self.failure
        except BaseException:
            await self.aclose()
            raise
        if self._is_probe:
            # The upstream has recovered. Other requests don't have to wait until this answer is complete.
            self._settle(healthy=True)

    async def _send(self, request: httpx.Request) -> UpstreamError | None:
        due = min(self._loop.time() + self._upstream.first_byte_seconds, self._deadline)
        try:
            with self._wait_limit.until(due):
                response = self._response = await self._http.send(request, stream=True)
        except TimeoutError:
            return UpstreamError(
                UpstreamErrorCode.TIMEOUT, detail="The upstream did not start to answer in time."
            )
        except _TRANSPORT_ERRORS as error:
            return error_of_exception(error)

        self._chunks = response.aiter_raw()
        self._pausable = response.extensions.get(PAUSABLE)
        if not response.is_success:
            return error_of_response(
                status=response.status_code,
                body=await self._read_error(),
                retry_after=retry_after_of(response.headers),
            )
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            return UpstreamError(
                UpstreamErrorCode.PROTOCOL,
                detail="The response is compressed, although this was not requested.",
            )
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/html":
            return UpstreamError(UpstreamErrorCode.PROTOCOL, detail="The upstream returned a web page.")
        self._reader = self._make_reader(kind)
        return None

    async def _read_error(self) -> bytes:
        """Return the body of an error response, or its beginning if it is long."""
        body = b""
        due = min(self._loop.time() + _AFTER_FINISH_SECONDS, self._deadline)
        with suppress(*_READ_ERRORS), self._wait_limit.until(due):
            async for data in self._chunks:
                body += data
                if len(body) > _MAX_ERROR_BYTES:
                    break
        return body

    async def read(self) -> None:
        """Wait for the next bytes and store their events, possibly none, in `events`."""
        self.events = []
        if self._body.has_begun and not self._has_more:
            await self._gather()
        try:
            with self._wait_limit.until(self._due()):
                data = await anext(self._chunks)
        except StopAsyncIteration:
            self._end()
        except TimeoutError:
            self._end(
                UpstreamError(
                    UpstreamErrorCode.TIMEOUT, detail="The upstream stopped sending, or took too long."
                )
            )
        except _READ_ERRORS:
            self._end(UpstreamError(UpstreamErrorCode.INTERRUPTED, detail="The connection was lost."))
        else:
            self._take(data)

    async def _gather(self) -> None:
        """Wait while bytes gather, if the caller wants that and the transport can do it."""
        if self._pause is None or self._pausable is None:
            return
        self._pausable.pause()
        try:
            await self._pause()
        finally:
            self._pausable.resume()

    async def read_arrived(self) -> None:
        """Store the events of bytes that have already arrived in `events`. Doesn't wait for more."""
        self.events = events = list[Event]()
        for _ in range(_ITERATIONS_TO_READ):
            await asyncio.sleep(0)
        with suppress(*_READ_ERRORS, StopAsyncIteration, TimeoutError):
            while not self.has_ended:
                with self._wait_limit.until(self._loop.time()):
                    data = await anext(self._chunks)
                self._take(data)
                events += self.events
        self.events = events

    def _take(self, data: bytes) -> None:
        reader = self._body
        self._has_more = len(data) >= _FULL_READ_BYTES
        self.events = reader.feed(data)
        if reader.is_complete or reader.failure is not None:
            self._end()

    @property
    def _body(self) -> BodyReader[Event]:
        assert self._reader is not None
        return self._reader

    def _due(self) -> float:
        upstream, reader = self._upstream, self._body
        if reader.is_finished:
            seconds = min(upstream.idle_seconds, _AFTER_FINISH_SECONDS)
        elif reader.has_begun:
            seconds = upstream.idle_seconds
        else:
            seconds = upstream.first_byte_seconds
        return min(self._loop.time() + seconds, self._deadline)

    def _end(self, failure: UpstreamError | None = None) -> None:
        reader = self._body
        if failure is not None:
            reader.fail(failure)
        self.events += reader.end()
        self.failure = reader.failure
        self.has_ended = True
        if reader.skipped:
            _log.warning("%d malformed parts of an answer were skipped.", reader.skipped)

    async def aclose(self) -> None:
        """Close the connection, or return it to the pool if the whole response was read."""
        self._settle(healthy=self._healthy())
        response, self._response = self._response, None
        if response is None:
            self._wait_limit.close()
            return
        try:
            if self.has_ended and self.failure is None:
                await self._read_rest()
        finally:
            self._wait_limit.close()
            with suppress(*_READ_ERRORS):
                await response.aclose()

    async def _read_rest(self) -> None:
        due = self._loop.time() + _AFTER_DONE_SECONDS
        with suppress(*_READ_ERRORS), self._wait_limit.until(due):
            async for _ in self._chunks:
                pass

    def _healthy(self) -> bool | None:
        if isinstance(self.failure, ConnectionDropped) and self._is_first:
            # Probably a stale connection. If the problem is real, the next attempt will fail too.
            return None
        if self.failure is not None:
            return self.failure.code not in _UNHEALTHY
        return True if self.has_ended else None

    def _settle(self, *, healthy: bool | None) -> None:
        if self._is_probe is not None:
            self._breaker.settle(probe=self._is_probe, healthy=healthy)
            self._is_probe = None
