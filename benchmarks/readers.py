"""Let readers read from a server, and watch what that costs the server."""

import json
from dataclasses import dataclass
from typing import Any

from benchmarks.processes import MemoryPeak, Process, wait_until_quiet


@dataclass(frozen=True)
class Reading:
    """The turns of all readers as clients.py describes them, and the server's CPU and memory."""

    turns: list[dict[str, Any]]
    cpu_ms: float
    memory_kb: int
    """Before the websockets were open."""
    idle_kb: int
    """When they were open, before the first message."""
    peak_kb: int

    @property
    def seconds(self) -> float:
        """From the first message to the last frame."""
        ended: float = max(turn["ended"] for turn in self.turns)
        began: float = min(turn["began"] for turn in self.turns)
        return ended - began

    def first_delta_ms(self) -> list[float]:
        """Return the time from each message to its first delta."""
        return [turn["first"] * 1000 for turn in self.turns if turn["newest"]]


def read(
    server: Process,
    *,
    url: str,
    origin: str | None,
    people: list[dict[str, Any]],
    ramp: float,
    timeout: float,
) -> Reading:
    """Open a websocket for each person, let all send their messages, and wait up to `timeout` seconds for each answer."""
    plan = {"url": url, "origin": origin, "people": people, "ramp": ramp, "timeout": timeout}
    wait_until_quiet(server)
    memory = server.memory_kb
    with Process("-m", "benchmarks.clients") as clients:
        clients.say(json.dumps(plan))
        clients.hear("open")
        wait_until_quiet(server)
        idle, cpu = server.memory_kb, server.cpu_ms
        with MemoryPeak(server) as peak:
            clients.say("start")
            clients.hear("ended")
            wait_until_quiet(server)
            cpu = server.cpu_ms - cpu
        turns = json.loads(clients.hear_last())
    return Reading(turns, cpu_ms=cpu, memory_kb=memory, idle_kb=idle, peak_kb=peak.kb)
