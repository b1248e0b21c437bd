"""The floor: a minimal relay in Python, with `websockets` and uvloop.

It reads the same upstream, splits its bytes into events and forwards each delta at once, escaped and in the frame that
htmx needs. It has no users, no database, no Markdown and no coalescing, and stores nothing.
"""

import argparse
import asyncio
import html
import sys
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import orjson
import uvloop
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets

_DELTA = '<hx-partial hx-target=".open" hx-swap="beforeend">{}</hx-partial>'
_END = '<hx-partial hx-target=".open" hx-swap="delete"></hx-partial>'


async def relay(socket: ServerConnection, *, host: str, port: int) -> None:
    """For each message, send a request upstream, forward the deltas, and mark the end."""
    async for prompt in socket:
        reader, writer = await asyncio.open_connection(host, port)
        body = orjson.dumps(
            {"model": "fake", "stream": True, "messages": [{"role": "user", "content": str(prompt)}]}
        )
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: upstream\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        async for text in _deltas(reader):
            await socket.send(_DELTA.format(html.escape(text)))
        await socket.send(_END)
        writer.close()


async def _deltas(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    waiting = b""
    while data := await reader.read(65_536):
        *events, waiting = (waiting + data).split(b"\n\n")
        for event in events:
            content = event.partition(b"data: ")[2]
            if content == b"[DONE]":
                return
            for choice in orjson.loads(content)["choices"]:
                if text := choice["delta"].get("content"):
                    yield text


async def serve(upstream: str) -> None:
    """Serve until standard input ends."""
    address = urlsplit(upstream)
    host, port = str(address.hostname), int(address.port or 80)

    async def handle(socket: ServerConnection) -> None:
        await relay(socket, host=host, port=port)

    async with serve_websockets(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        print(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream", required=True, help="Base URL, such as http://127.0.0.1:9000/v1.")
    uvloop.run(serve(parser.parse_args().upstream))
