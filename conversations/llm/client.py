"""The client of an OpenAI-compatible chat completions API: a request in, a stream of Delta, Finish and Usage out.

It makes one promise to its callers: whatever the upstream does, a call ends with the end of the answer or with an
UpstreamError, within the time limits, and with no text twice.
"""

import asyncio
import functools
import ssl
import urllib.request
from collections.abc import AsyncGenerator
from http.cookiejar import CookieJar, DefaultCookiePolicy

import aiohttp
import httpx
import stamina
from httpx_aiohttp import AiohttpTransport

from conversations.llm.answer import Delta, Event, Finish, Usage
from conversations.llm.breaker import CircuitBreaker
from conversations.llm.errors import UpstreamError, UpstreamErrorCode
from conversations.llm.retry import RetryPolicy
from conversations.llm.stream import AnswerStream
from conversations.llm.upstream import ChatRequest, Upstream

__all__ = [
    "ChatClient",
    "ChatRequest",
    "Delta",
    "Event",
    "Finish",
    "Upstream",
    "UpstreamError",
    "UpstreamErrorCode",
    "Usage",
]


class ChatClient:
    """Asks one upstream, for any number of answers at a time.

    Make one for each upstream and event loop, and close it with `aclose`. The circuit breaker belongs to it. A
    `transport` of one's own must not limit the number of its connections to fewer than there are answers at a time.
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
        self._url = upstream.base_url.rstrip("/") + "/chat/completions"
        headers = {
            "Accept": "text/event-stream, application/json",
            # A compressor may hold text back until it has a block, and a small body may expand to a huge one.
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
            transport=transport or _make_transport(upstream.base_url),
            headers=headers,
            # One client serves all users, so what an upstream sets for one of them must not be sent for another.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            # The other limits are kept by AnswerStream, where they mean the same for every transport.
            timeout=httpx.Timeout(None, connect=upstream.connect_seconds, pool=upstream.connect_seconds),
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close all connections; answers that are still being read end with an error."""
        await self._http.aclose()

    async def stream_chat(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """Ask for an answer and yield its pieces: Deltas, one Finish, and Usage if the upstream counts.

        Retries happen before the first text only. To cancel the task that waits for the next event, or to call
        `aclose` (use `contextlib.aclosing`), closes the connection at once, which ends the generation upstream.
        Raises UpstreamError, after the text that came before the failure.
        """
        stream = await self._open(request.to_json())
        try:
            while True:
                for event in stream.events:
                    yield event
                if stream.has_ended:
                    break
                await stream.read()
        finally:
            await stream.aclose()
        if stream.failure is not None:
            raise stream.failure

    async def _open(self, body: bytes) -> AnswerStream:
        """Make the request, again if need be, until there are first events. Raises UpstreamError."""
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
        async for attempt in attempts:
            with attempt:
                stream = AnswerStream(
                    http=self._http,
                    upstream=upstream,
                    breaker=self._breaker,
                    deadline=deadline,
                    is_first=attempt.num == 1,
                )
                await stream.open(self._http.build_request("POST", self._url, content=body))
                return stream
        raise AssertionError("The attempts end with a result or an exception.")


def _make_transport(base_url: str) -> httpx.AsyncBaseTransport:
    """Return a transport that parses in C: httpx's own takes half of all the CPU time of a stream."""
    context = _tls_context()
    # A kept-alive connection saves a TLS handshake, but may turn out to be closed when it is used: llama.cpp closes
    # each one after it promised not to. Without TLS there is nothing to save.
    keeps_alive = httpx.URL(base_url).scheme == "https"

    def make_session() -> aiohttp.ClientSession:
        # No limit on connections: how many answers there are at a time is for the runner to say.
        connector = aiohttp.TCPConnector(limit=0, ssl=context, force_close=not keeps_alive)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    return AiohttpTransport(verify=context, proxy=_proxy_for(base_url), client=make_session)


@functools.cache
def _tls_context() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _proxy_for(base_url: str) -> httpx.Proxy | None:
    """Return the proxy that the environment names for this address, as HTTPS_PROXY and NO_PROXY do."""
    url = httpx.URL(base_url)
    proxy = urllib.request.getproxies().get(url.scheme)
    if (
        proxy is None
        or url.host in {"localhost", "127.0.0.1", "::1"}
        or urllib.request.proxy_bypass(url.host)
    ):
        return None
    return httpx.Proxy(proxy)
