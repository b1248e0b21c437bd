"""Run a server with short time limits as a process: `python -m tests.processes.limited_server SECONDS`."""

import asyncio
import sys
from typing import Any

# Installs the reactor, which must happen before any other Twisted import.
import daphne.server
import django

django.setup()

from chatsite import http_limits  # noqa: E402

go_on = asyncio.Event()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer /short at once. End other answers only when a socket receives a message. Sockets echo messages."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        if scope["path"] != "/short":
            await go_on.wait()
        await send({"type": "http.response.body", "body": b" and done"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        go_on.set()
        await send({"type": "websocket.send", "text": message["text"]})


def main() -> None:
    """Serve on any free port and print its number."""
    server: Any = None

    def start() -> None:
        http_limits.limit(server.http_factory, request_seconds=float(sys.argv[1]))
        sys.stdout.write(f"{server.listening_addresses[0][1]}\n")
        sys.stdout.flush()

    server = daphne.server.Server(
        application=application,
        endpoints=["tcp:0:interface=127.0.0.1"],
        ready_callable=start,
        websocket_timeout=-1,
    )
    server.run()


if __name__ == "__main__":
    main()
