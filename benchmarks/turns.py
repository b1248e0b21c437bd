"""Measure how many turns a second the server takes: a message, a short answer, and everything that belongs to them.

    python benchmarks/turns.py
    DATABASE_URL=postgres://postgres@127.0.0.1/postgres python benchmarks/turns.py

First a closed loop, in which each person sends the next message when the last answer has ended. Then an open loop, in which
messages are sent at a fixed rate, whatever the server does, and the rate rises until the answers come too late. The last
line of output is a JSON object with the figures and goals. README.md explains them.
"""

import argparse
import json
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import site  # noqa: E402  (works from any folder)
from benchmarks.processes import Process  # noqa: E402
from benchmarks.readers import Reading, read  # noqa: E402
from benchmarks.report import Goal, judge, percentile, rounded, show  # noqa: E402

GOALS = [
    Goal("turns_per_second", 60, is_minimum=True),
    Goal("open_turns_per_second", 60, is_minimum=True),
    Goal("turns_incomplete", 0),
]
LATE_MS = 250
"""In the open loop, the longest p99 of the time to the first delta."""
OVERDUE_SECONDS = 1.0
"""In the open loop, how long after the last message all answers must have ended."""
TIMEOUT_SECONDS = 120

People = list[dict[str, Any]]


def closed_loop(cookies: list[str], *, turns: int, name: str) -> People:
    """Return people of whom each sends the next message when the last answer has ended."""
    return [
        {"cookie": cookie, "prompts": [f"{name}: person {number}, turn {turn}" for turn in range(turns)]}
        for number, cookie in enumerate(cookies)
    ]


def open_loop(cookies: list[str], *, rate: float, seconds: float, name: str) -> People:
    """Return people who take turns in sending messages at this rate."""
    people: People = [{"cookie": cookie, "prompts": [], "due": []} for cookie in cookies]
    for number in range(int(rate * seconds)):
        person = people[number % len(people)]
        person["prompts"].append(f"{name}: turn {number}")
        person["due"].append(number / rate)
    return people


def figures_of(reading: Reading) -> dict[str, float]:
    """Return the figures of a reading."""
    first = reading.first_delta_ms()
    whole = [(turn["ended"] - turn["began"]) * 1000 for turn in reading.turns]
    return rounded(
        {
            "turns_per_second": len(reading.turns) / reading.seconds,
            "cpu_ms_per_turn": reading.cpu_ms / len(reading.turns),
            "first_delta_ms_p50": percentile(first, 0.5),
            "first_delta_ms_p99": percentile(first, 0.99),
            "answer_ms_p50": percentile(whole, 0.5),
            "answer_ms_p99": percentile(whole, 0.99),
        }
    )


def left_over(reading: Reading, *, seconds: float) -> int:
    """Return how many answers had not ended in time."""
    began = min(turn["began"] for turn in reading.turns)
    end = began + seconds + OVERDUE_SECONDS
    return sum(bool(turn["problem"]) or turn["ended"] > end for turn in reading.turns)


class Target:
    """A server that readers send messages to: the site or the floor."""

    def __init__(self, server: Process, *, url: str, origin: str | None) -> None:
        self._server = server
        self._url = url
        self._origin = origin
        self.turns: list[dict[str, Any]] = []

    def read(self, people: People) -> Reading:
        reading = read(
            self._server, url=self._url, origin=self._origin, people=people, ramp=0, timeout=TIMEOUT_SECONDS
        )
        self.turns += reading.turns
        return reading


def raise_rate(target: Target, cookies: list[str], options: argparse.Namespace) -> list[dict[str, float]]:
    """Measure the open loop at one rate after another, until the server can't follow at the second attempt."""
    steps: list[dict[str, float]] = []
    for rate in options.rates:
        for attempt in range(2):
            name = f"open {rate}/{attempt}"
            people = open_loop(cookies, rate=rate, seconds=options.seconds, name=name)
            reading = target.read(people)
            step = {
                "rate": rate,
                "left_over": left_over(reading, seconds=options.seconds),
                **figures_of(reading),
            }
            step["kept_up"] = not step["left_over"] and step["first_delta_ms_p99"] <= LATE_MS
            steps.append(step)
            if step["kept_up"]:
                break
        else:
            break
    return steps


def count_statements(upstream: str, folder: Path, cookies: list[str], options: argparse.Namespace) -> float:
    """Return the number of database statements per turn, including those of background work."""
    counter = folder / "counter"
    counter.write_bytes(bytes(8))
    more = {"DJANGO_SETTINGS_MODULE": "benchmarks.counting", "BENCHMARK_COUNTER": str(counter)}
    with site.serve(
        upstream, folder=folder, streams=options.people, settings=options.settings, **more
    ) as server:
        origin, url = site.addresses(server)
        target = Target(server, url=url, origin=origin)
        target.read(closed_loop(cookies[:1], turns=2, name="warm up, counting"))
        [before] = struct.unpack("Q", counter.read_bytes())
        reading = target.read(closed_loop(cookies, turns=5, name="counting"))
        [after] = struct.unpack("Q", counter.read_bytes())
    return float((after - before) / len(reading.turns))


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure the site, then the floor, with the same upstream. Return what `show` shows."""
    cookies = site.prepare(folder, people=max(options.people, options.open_people))
    warm_up = closed_loop(cookies[:1], turns=5, name="warm up")
    people = closed_loop(cookies[: options.people], turns=options.turns, name="closed")
    arguments = ["--rate=0", f"--count={options.deltas}", "--chars=5"]
    with Process("-m", "benchmarks.upstream", *arguments) as upstream:
        base_url = upstream.hear()
        with site.serve(
            base_url, folder=folder, streams=options.open_people, settings=options.settings
        ) as server:
            origin, url = site.addresses(server)
            target = Target(server, url=url, origin=origin)
            target.read(warm_up)
            figures = figures_of(target.read(people))
            steps = raise_rate(target, cookies, options)
        if kept_up := [step for step in steps if step["kept_up"]]:
            best = kept_up[-1]
            figures["open_turns_per_second"] = best["rate"]
            figures["open_first_delta_ms_p50"] = best["first_delta_ms_p50"]
            figures["open_first_delta_ms_p99"] = best["first_delta_ms_p99"]
        else:
            figures["open_turns_per_second"] = 0
        figures["statements_per_turn"] = round(
            count_statements(base_url, folder, cookies[: options.people], options), 1
        )
        kept = site.answers()
        with Process("-m", "benchmarks.floor", "--upstream", base_url) as relay:
            floor = Target(relay, url=relay.hear("ws:"), origin=None)
            floor.read(closed_loop(cookies[:1], turns=5, name="floor, warm up"))
            at_floor = figures_of(
                floor.read(closed_loop(cookies[: options.people], turns=options.turns, name="floor"))
            )
        sent: dict[str, str] = json.loads(upstream.hear_last())
    problems = site.incomplete(target.turns, sent=sent, kept=kept)
    figures["turns_incomplete"] = len(problems)
    return {"figures": figures, "floor": at_floor, "problems": problems, "open_loop": steps}


def main() -> int:
    """Read the options, measure, print, and return the exit code: 1 if an answer is incomplete."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=20, help="people in the closed loop (default 20)")
    parser.add_argument("--turns", type=int, default=15, help="turns of each of them (default 15)")
    parser.add_argument("--deltas", type=int, default=10, help="deltas per answer (default 10)")
    parser.add_argument(
        "--rates",
        type=lambda text: [float(rate) for rate in text.split(",")],
        default="5,10,15,20,30,40,50,60,70,80,100,120",
        help="turns per second in the open loop, rising (default %(default)s)",
    )
    parser.add_argument("--seconds", type=float, default=6, help="seconds at each rate (default 6)")
    parser.add_argument("--open-people", type=int, default=100, help="people in the open loop (default 100)")
    site.add_settings_option(parser)
    options = parser.parse_args()
    site.require_proc(parser)
    with tempfile.TemporaryDirectory(prefix="chatsite-benchmark-") as folder, site.scratch_database():
        result = run(options, Path(folder))
    for step in result["open_loop"]:
        print(
            f"open loop, {step['rate']:>5} turns/s: first delta {step['first_delta_ms_p50']} / "
            f"{step['first_delta_ms_p99']} ms, {step['left_over']} left over"
        )
    show(options, goals=judge(result["figures"], GOALS), **result)
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
