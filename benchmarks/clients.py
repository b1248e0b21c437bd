"""The readers of a benchmark: one websocket per stream, all in this process, doing as little as possible while they read.

Reads the plan as JSON from a line of standard input, prints `open` once all websockets are open, waits for another line,
prints `ended` after the last answer, waits for the end of its input, and prints the results as JSON.
"""

import asyncio
import json
import re
import sys
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from benchmarks.digests import digest_of_html
from benchmarks.stamps import ages

_ACKNOWLEDGE_BYTES = 32 * 1024
_END = b'hx-target=".open" hx-swap="delete"'
_PARTIAL = re.compile(rb'<hx-partial hx-target="([^"]*)" hx-swap="([^"]*)">(.*?)</hx-partial>', re.DOTALL)
_DONE_AT_FIRST = re.compile(rb'<div class="prose done"[^>]*>(.*?)</div>\s*<div class="prose open"', re.DOTALL)
_CONVERSATION = re.compile(rb'id="composer-conversation" value="([^"]+)"')
_HEADER_BYTES = ((126, 2), (65_536, 4))


@dataclass
class Turn:
    """A message, and the frames received after it with their times."""

    prompt: str
    due: float | None = None
    """When the message was to be sent, in seconds from the start. Without it, it is sent after the last answer."""
    sent: float = 0.0
    frames: list[tuple[float, bytes]] = field(default_factory=list)
    problem: str = "not sent"

    def seen(self) -> dict[str, Any]:
        """Return the results: times in seconds, sizes in bytes on the wire."""
        newest: list[float] = []
        each: list[float] = []
        first = last_sent = 0.0
        for received, data in self.frames:
            # A replaced block repeats old words. Times are exact to a tick of 0.25 ms.
            fresh = [age for age in ages(data, received=received) if received - age > last_sent + 0.0003]
            if fresh:
                first = first or received - self.sent
                newest.append(min(fresh))
                each += fresh
                last_sent = received - min(fresh)
        return {
            "prompt": self.prompt,
            "problem": self.problem,
            "first": first,
            "newest": newest,
            "each": each,
            "frames": len(self.frames),
            "bytes": sum(len(data) + _header_bytes(len(data)) for _received, data in self.frames),
            "began": self.sent,
            "ended": self.frames[-1][0] if self.frames else self.sent,
            "done": digest_of_html(self._done()),
        }

    def _done(self) -> bytes:
        """Return the HTML of the finished blocks, assembled as htmx does."""
        done = b""
        for _received, data in self.frames:
            for target, swap, content in _PARTIAL.findall(data):
                if target == b"#thread":
                    done = b"".join(_DONE_AT_FIRST.findall(content)[-1:])
                elif target.startswith(b".done"):
                    done = content if swap == b"innerHTML" else done + content
        return done


class Reader:
    """A person with one open page, who reads a whole answer and then sends the next message."""

    def __init__(self, socket: ClientConnection, turns: list[Turn], *, is_at_site: bool) -> None:
        self.socket = socket
        self._turns = turns
        self._is_at_site = is_at_site
        self._conversation = ""
        self._received = 0
        self._acknowledged = 0

    async def take_all_turns(self, *, start: float, seconds: float) -> None:
        """Send all messages, each after the answer to the last and when it is due, waiting up to `seconds` for an answer.

        A message that waits for the last answer counts as sent when it was due.
        """
        for turn in self._turns:
            turn.sent = time.monotonic()
            if turn.due is not None:
                turn.sent = start + turn.due
                await asyncio.sleep(turn.sent - time.monotonic())
            try:
                async with asyncio.timeout(seconds):
                    await self._take(turn)
            except (ConnectionClosed, TimeoutError) as error:
                turn.problem = f"{type(error).__name__} {error}"
                return
            turn.problem = ""

    async def _take(self, turn: Turn) -> None:
        await self.socket.send(self._frame(turn.prompt))
        while True:
            data = await self.socket.recv(decode=False)
            turn.frames.append((time.monotonic(), data))
            self._received += len(data)
            if self._is_at_site:
                if not self._conversation and (found := _CONVERSATION.search(data)):
                    self._conversation = found[1].decode()
                if self._received - self._acknowledged > _ACKNOWLEDGE_BYTES:
                    self._acknowledged = self._received
                    await self.socket.send(json.dumps({"action": "ack", "received": str(self._received)}))
            if _END in data:
                return

    def _frame(self, prompt: str) -> str:
        if not self._is_at_site:
            return prompt
        return json.dumps(
            {
                "action": "send",
                "conversation": self._conversation,
                "client_id": str(uuid.uuid4()),
                "text": prompt,
            }
        )


def _header_bytes(length: int) -> int:
    return next((size for limit, size in _HEADER_BYTES if length < limit), 10)


async def run(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Open all websockets, wait for a line of input, then start the streams, spread over `ramp` seconds."""
    readers, turns = [], []
    for person in plan["people"]:
        socket = await connect(
            plan["url"],
            additional_headers={"Cookie": person["cookie"]},
            origin=plan["origin"],
            compression=None,
            ping_interval=None,
            max_size=None,
            max_queue=None,
        )
        due = person.get("due") or [None] * len(person["prompts"])
        own = [Turn(prompt, at) for prompt, at in zip(person["prompts"], due, strict=True)]
        turns += own
        readers.append(Reader(socket, own, is_at_site=plan["origin"] is not None))
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    start = time.monotonic()

    async def begin(number: int, reader: Reader) -> None:
        await asyncio.sleep(plan["ramp"] * number / len(readers))
        await reader.take_all_turns(start=start, seconds=plan["timeout"])

    await asyncio.gather(*(begin(number, reader) for number, reader in enumerate(readers)))
    print("ended", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for reader in readers:
        await reader.socket.close()
    return [turn.seen() for turn in turns]


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.loads(sys.stdin.readline())))), flush=True)
