"""An HTTP transport for httpx that parses in C, and whose reading can be paused.

httpx's own transport would take half of a stream's CPU time.
"""

import asyncio
import functools
import ssl
import urllib.request
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import httpx

PAUSABLE = "pausable"
"""The extension of a response that holds its `Body`, if its transport is the one of this module."""


class Body(httpx.AsyncByteStream):
    """The body of a response. Each step of the iteration returns all bytes that have arrived."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        while data := await content.readany():
            yield data

    async def aclose(self) -> None:
        """Return the connection to the pool if the whole body has been read. Otherwise close it."""
        self._response.release()
        await self._response.wait_for_close()

    def pause(self) -> None:
        """Leave further bytes to the operating system, which gathers them at no cost until `resume`.

        aiohttp would gather them too, but wake the event loop for each, and lose them with the connection.
        """
        if (transport := self._transport) is not None:
            # It may be closing.
            with suppress(RuntimeError):
                transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if (transport := self._transport) is not None:
            with suppress(RuntimeError):
                transport.resume_reading()

    @property
    def _transport(self) -> asyncio.Transport | None:
        # aiohttp gives up the connection as soon as the whole body has arrived.
        connection = self._response.connection
        return connection.transport if connection is not None else None


class Transport(httpx.AsyncBaseTransport):
    """Sends httpx's requests with aiohttp. Keeps connections alive if `keeps_alive`."""

    def __init__(self, *, keeps_alive: bool, proxy: httpx.Proxy | None = None) -> None:
        self._keeps_alive = keeps_alive
        self._proxy = None if proxy is None else str(proxy.url)
        self._proxy_auth = aiohttp.BasicAuth(*proxy.auth) if proxy is not None and proxy.auth else None
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._session is None:
            # No connection limit here: the runner limits the number of concurrent answers.
            connector = aiohttp.TCPConnector(limit=0, ssl=_tls_context(), force_close=not self._keeps_alive)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
        limits = request.extensions["timeout"]
        try:
            response = await self._session.request(
                request.method,
                str(request.url),
                headers=request.headers,
                data=request.content,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(sock_connect=limits["connect"], connect=limits["pool"]),
                proxy=self._proxy,
                proxy_auth=self._proxy_auth,
            )
        except aiohttp.ServerTimeoutError as error:
            raise httpx.ConnectTimeout("") from error
        except aiohttp.ClientHttpProxyError as error:
            raise httpx.ProxyError("") from error
        except aiohttp.ClientConnectionError as error:
            raise httpx.ConnectError("") from error
        body = Body(response)
        return httpx.Response(
            response.status, headers=response.raw_headers, stream=body, extensions={PAUSABLE: body}
        )

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


def transport_for(base_url: str) -> httpx.AsyncBaseTransport:
    """Return a transport for this address."""
    # Keeping connections alive saves TLS handshakes, but a kept-alive connection may already be closed when it is
    # reused: llama.cpp closes each one after promising to keep it. Without TLS there is nothing to gain.
    return Transport(keeps_alive=httpx.URL(base_url).scheme == "https", proxy=_proxy_for(base_url))


@functools.cache
def _tls_context() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _proxy_for(base_url: str) -> httpx.Proxy | None:
    """Return the proxy for this address according to environment variables such as HTTPS_PROXY and NO_PROXY."""
    url = httpx.URL(base_url)
    proxy = urllib.request.getproxies().get(url.scheme)
    if (
        proxy is None
        or url.host in {"localhost", "127.0.0.1", "::1"}
        or urllib.request.proxy_bypass(url.host)
    ):
        return None
    return httpx.Proxy(proxy)
