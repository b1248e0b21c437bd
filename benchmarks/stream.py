"""Measure what it costs the server when many people read answers at once, and how long deltas take to arrive.

    python benchmarks/stream.py --streams 50

The real server (`manage.py serve` with an empty database), the fake upstream, the readers and the floor run in separate
processes. The last line of output is a JSON object with the figures and goals. README.md explains them.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import site  # noqa: E402  (works from any folder)
from benchmarks.processes import MemoryPeak, Process, wait_until_quiet  # noqa: E402
from benchmarks.upstream import WARM_UP  # noqa: E402

# Name and upper limit of each figure, and the number of streams it applies to (None: any number).
GOALS: list[tuple[str, float, int | None]] = [
    ("first_delta_ms_p50", 10, 50),
    ("first_delta_ms_p99", 40, 50),
    ("relay_ms_p50", 20, 50),
    ("relay_ms_p99", 50, 50),
    ("cpu_ratio_to_floor", 2, 200),
    ("relay_ms_p99", 100, 400),
    ("memory_kb_per_open_stream", 100, None),
    ("memory_kb_per_idle_socket", 40, None),
    ("wire_bytes_per_delta", 100, None),
    ("turns_incomplete", 0, None),
]


def percentile(values: list[float], share: float) -> float:
    """Return the percentile of the values at `share`, which is between 0 and 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def measure(
    server: Process,
    *,
    url: str,
    origin: str | None,
    people: list[dict[str, Any]],
    options: argparse.Namespace,
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Let all readers read from a server, and return the figures and the result of each turn."""
    plan = {"url": url, "origin": origin, "people": people, "ramp": options.ramp, "timeout": options.timeout}
    wait_until_quiet(server)
    memory = server.memory_kb
    with Process("-m", "benchmarks.clients") as clients:
        clients.say(json.dumps(plan))
        clients.hear("open")
        wait_until_quiet(server)
        idle_memory, cpu = server.memory_kb, server.cpu_ms
        with MemoryPeak(server) as peak:
            clients.say("go")
            clients.hear("ended")
            wait_until_quiet(server)
            cpu = server.cpu_ms - cpu
        seen: list[dict[str, Any]] = json.loads(clients.hear_last())

    count, deltas = len(people), len(seen) * options.deltas
    first = [turn["first"] * 1000 for turn in seen]
    newest = [age * 1000 for turn in seen for age in turn["newest"]]
    each = [age * 1000 for turn in seen for age in turn["each"]]
    figures = {
        "cpu_ms_per_1000_deltas": cpu / deltas * 1000,
        "first_delta_ms_p50": percentile(first, 0.5),
        "first_delta_ms_p99": percentile(first, 0.99),
        "relay_ms_p50": percentile(newest, 0.5),
        "relay_ms_p99": percentile(newest, 0.99),
        "delta_ms_p50": percentile(each, 0.5),
        "delta_ms_p99": percentile(each, 0.99),
        "deltas_seen": len(each),
        "frames_per_delta": sum(turn["frames"] for turn in seen) / deltas,
        "wire_bytes_per_delta": sum(turn["bytes"] for turn in seen) / deltas,
        "memory_mb": memory / 1024,
        "memory_kb_per_idle_socket": (idle_memory - memory) / count,
        "memory_kb_per_open_stream": (peak.kb - idle_memory) / count,
        "seconds": max(turn["ended"] for turn in seen) - min(turn["began"] for turn in seen),
    }
    return {name: round(value, 2) for name, value in figures.items()}, seen


def incomplete(seen: list[dict[str, Any]], *, sent: dict[str, str], kept: dict[str, str]) -> list[str]:
    """Return a description of each turn whose text is not complete in the database and on the page."""
    problems = []
    for turn in seen:
        prompt = turn["prompt"]
        text = kept.get(prompt, "")
        if turn["problem"]:
            problems.append(f"{prompt}: {turn['problem']}")
        elif hashlib.sha256(text.encode()).hexdigest() != sent.get(prompt):
            problems.append(f"{prompt}: the text in the database differs from what the upstream sent")
        elif hashlib.sha256(site.rendered(text).encode()).hexdigest() != turn["done"]:
            problems.append(f"{prompt}: the page differs from the text in the database")
    return problems


def compare(figures: dict[str, float], *, streams: int) -> list[dict[str, Any]]:
    """Return the goals that apply to this number of streams, each with its figure."""
    return [
        {"figure": name, "value": figures[name], "goal": goal, "met": figures[name] <= goal}
        for name, goal, meant_for in GOALS
        if name in figures and meant_for in (None, streams)
    ]


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure the site, then the floor, with the same upstream."""
    cookies = site.prepare(folder, people=options.streams + 1)
    warm_up = [{"cookie": cookies[0], "prompts": [WARM_UP]}]
    people = [
        {"cookie": cookie, "prompts": [f"stream {number}, turn {turn}" for turn in range(options.turns)]}
        for number, cookie in enumerate(cookies[1:])
    ]
    arguments = [f"--rate={options.rate}", f"--count={options.deltas}", f"--chars={options.chars}"]
    with Process("-m", "benchmarks.upstream", *arguments) as upstream:
        base_url = upstream.hear()
        with site.serve(base_url, folder=folder, streams=options.streams) as server:
            origin = server.hear("Chat:").split()[-1].rstrip("/")
            server.hear("Ready")
            url = origin.replace("http", "ws", 1) + "/ws/chat/"
            measure(server, url=url, origin=origin, people=warm_up, options=options)
            figures, seen = measure(server, url=url, origin=origin, people=people, options=options)
        kept = site.answers()
        floor: dict[str, float] = {}
        if not options.no_floor:
            with Process("-m", "benchmarks.floor", "--upstream", base_url) as relay:
                url = relay.hear("ws:")
                measure(relay, url=url, origin=None, people=warm_up, options=options)
                # Use different prompts, because the upstream records its answers by prompt.
                for person in people:
                    person["prompts"] = [f"floor: {prompt}" for prompt in person["prompts"]]
                floor, _seen = measure(relay, url=url, origin=None, people=people, options=options)
        sent: dict[str, str] = json.loads(upstream.hear_last())
    problems = incomplete(seen, sent=sent, kept=kept)
    figures["turns_incomplete"] = len(problems)
    if floor:
        figures["cpu_ratio_to_floor"] = round(
            figures["cpu_ms_per_1000_deltas"] / floor["cpu_ms_per_1000_deltas"], 2
        )
    return {
        "options": vars(options),
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
        "site": figures,
        "floor": floor,
        "goals": compare(figures, streams=options.streams),
        "problems": problems[:5],
    }


def main() -> int:
    """Read the options, measure, print, and return the exit code: 1 if an answer is incomplete."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=50, help="answers read at once (default 50)")
    parser.add_argument(
        "--rate", type=float, default=50, help="deltas per second and stream (default 50; 0: no limit)"
    )
    parser.add_argument("--deltas", type=int, default=200, help="deltas per answer (default 200)")
    parser.add_argument(
        "--turns", type=int, default=3, help="answers per reader, one after another (default 3)"
    )
    parser.add_argument("--chars", type=int, default=5, help="minimum characters per delta (default 5)")
    parser.add_argument(
        "--ramp", type=float, help="seconds over which the streams start (default: the length of an answer)"
    )
    parser.add_argument("--no-floor", action="store_true", help="measure only the site")
    options = parser.parse_args()
    if not Path("/proc/self/stat").exists():
        parser.error("This benchmark reads CPU and memory from /proc, which this system does not have.")
    answer_seconds = options.deltas / options.rate if options.rate else 0
    if options.ramp is None:
        options.ramp = answer_seconds
    options.timeout = 60 + 4 * answer_seconds
    with tempfile.TemporaryDirectory(prefix="chatsite-benchmark-") as folder:
        result = run(options, Path(folder))
    for name, value in result["site"].items():
        beside = f"   (floor {result['floor'][name]})" if name in result["floor"] else ""
        print(f"{name:28} {value:>10}{beside}")
    for goal in result["goals"]:
        print(
            f"{'met' if goal['met'] else 'MISSED':8} {goal['figure']} {goal['value']} (goal {goal['goal']})"
        )
    for problem in result["problems"]:
        print(problem)
    print(json.dumps(result))
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
