"""A TCP proxy in front of a service, which a test can pause, cut and resume."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit


class Proxy:
    """Forwards connections to a service until told otherwise. Use it as a context manager.

    `pause` keeps connections open but forwards nothing, like a server that hangs. `cut` closes connections and refuses
    new ones, like a server that has stopped. `resume` undoes both.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.accepted = 0
        self.port = 0

    @classmethod
    def before(cls, url: str, *, default_port: int) -> "Proxy":
        """Return a proxy for the service at this address."""
        parts = urlsplit(url)
        return cls(parts.hostname or "127.0.0.1", parts.port or default_port)

    def instead_of(self, url: str) -> str:
        """Return the address with the service replaced by the proxy."""
        parts: SplitResult = urlsplit(url)
        credentials, at, _host = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{credentials}{at}127.0.0.1:{self.port}").geturl()

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *error: object) -> None:
        self._run(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def pause(self) -> None:
        self._loop.call_soon_threadsafe(self._is_open.clear)

    def cut(self) -> None:
        self._run(self._cut())

    def resume(self) -> None:
        self._loop.call_soon_threadsafe(self._is_open.set)
        self._run(self._listen())

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        connections = set(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self.accepted += 1
        ends, pumps = [writer], []
        try:
            service_reader, service_writer = await asyncio.open_connection(*self._target)
            ends.append(service_writer)
            pumps = [
                asyncio.ensure_future(self._pump(reader, service_writer)),
                asyncio.ensure_future(self._pump(service_reader, writer)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except (OSError, asyncio.CancelledError):
            pass  # The service is unavailable, or the connection was cut.
        finally:
            for pump in pumps:
                pump.cancel()
            for end in ends:
                end.transport.abort()
            self._connections.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._is_open.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
