"""Measure what it costs the server when many people read answers at once, and how long deltas take to arrive.

    python benchmarks/stream.py --streams 50

The real server (`manage.py serve`), the fake upstream, the readers and the floor run in separate processes. The database is
a scratch one: SQLite, or a new one on the server in DATABASE_URL. The last line of output is a JSON object with the figures
and goals. README.md explains them.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import site  # noqa: E402  (works from any folder)
from benchmarks.processes import Process  # noqa: E402
from benchmarks.readers import Reading, read  # noqa: E402
from benchmarks.report import Goal, judge, percentile, rounded, show  # noqa: E402
from benchmarks.upstream import WARM_UP  # noqa: E402

# The streams start within four seconds. With few of them, the growth of memory is mostly that of caches.
GOALS = [
    Goal("cpu_ratio_to_floor", 2.0, range(50, 51)),
    Goal("cpu_ratio_to_floor", 2.0, range(200, 201)),
    Goal("first_delta_ms_p50", 10, range(1, 2)),
    Goal("first_delta_ms_p50", 20, range(50, 51)),
    Goal("first_delta_ms_p99", 80, range(50, 51)),
    Goal("first_delta_ms_p50", 50, range(200, 201)),
    Goal("first_delta_ms_p99", 250, range(200, 201)),
    Goal("relay_ms_p50", 20, range(1, 11)),
    Goal("relay_ms_p99", 50, range(1, 11)),
    Goal("relay_ms_p50", 50, range(50, 51)),
    Goal("relay_ms_p99", 110, range(50, 51)),
    Goal("relay_ms_p50", 60, range(200, 201)),
    Goal("relay_ms_p99", 150, range(200, 201)),
    Goal("relay_ms_p50", 110, range(400, 401)),
    Goal("relay_ms_p99", 250, range(400, 401)),
    Goal("memory_kb_per_open_stream", 64, range(50, 1_001)),
    Goal("memory_kb_per_idle_socket", 40, range(50, 1_001)),
    Goal("wire_bytes_per_delta", 100),
    Goal("turns_incomplete", 0),
]


def figures_of(reading: Reading, *, people: int, deltas: int) -> dict[str, float]:
    """Return the figures of a reading in which each turn has this number of deltas."""
    count = len(reading.turns) * deltas
    first = reading.first_delta_ms()
    newest = [age * 1000 for turn in reading.turns for age in turn["newest"]]
    each = [age * 1000 for turn in reading.turns for age in turn["each"]]
    return rounded(
        {
            "cpu_ms_per_1000_deltas": reading.cpu_ms / count * 1000,
            "first_delta_ms_p50": percentile(first, 0.5),
            "first_delta_ms_p99": percentile(first, 0.99),
            "relay_ms_p50": percentile(newest, 0.5),
            "relay_ms_p99": percentile(newest, 0.99),
            "delta_ms_p50": percentile(each, 0.5),
            "delta_ms_p99": percentile(each, 0.99),
            "deltas_seen": len(each),
            "frames_per_delta": sum(turn["frames"] for turn in reading.turns) / count,
            "wire_bytes_per_delta": sum(turn["bytes"] for turn in reading.turns) / count,
            "memory_mb": reading.memory_kb / 1024,
            "memory_kb_per_idle_socket": (reading.idle_kb - reading.memory_kb) / people,
            "memory_kb_per_open_stream": (reading.peak_kb - reading.idle_kb) / people,
            "seconds": reading.seconds,
        }
    )


def run(options: argparse.Namespace, folder: Path) -> tuple[dict[str, float], dict[str, float], list[str]]:
    """Measure the site, then the floor, with the same upstream. Return both figures, and what is incomplete."""
    cookies = site.prepare(folder, people=options.streams + 1)
    warm_up = [{"cookie": cookies[0], "prompts": [WARM_UP]}]
    people = [
        {"cookie": cookie, "prompts": [f"stream {number}, turn {turn}" for turn in range(options.turns)]}
        for number, cookie in enumerate(cookies[1:])
    ]
    shape = {"ramp": options.ramp, "timeout": options.timeout}
    arguments = [f"--rate={options.rate}", f"--count={options.deltas}", f"--chars={options.chars}"]
    with Process("-m", "benchmarks.upstream", *arguments) as upstream:
        base_url = upstream.hear()
        with site.serve(
            base_url, folder=folder, streams=options.streams, settings=options.settings
        ) as server:
            origin, url = site.addresses(server)
            read(server, url=url, origin=origin, people=warm_up, **shape)
            reading = read(server, url=url, origin=origin, people=people, **shape)
            figures = figures_of(reading, people=len(people), deltas=options.deltas)
        kept = site.answers()
        floor: dict[str, float] = {}
        if not options.no_floor:
            with Process("-m", "benchmarks.floor", "--upstream", base_url) as relay:
                url = relay.hear("ws:")
                read(relay, url=url, origin=None, people=warm_up, **shape)
                # Use different prompts, because the upstream records its answers by prompt.
                for person in people:
                    person["prompts"] = [f"floor: {prompt}" for prompt in person["prompts"]]
                at_floor = read(relay, url=url, origin=None, people=people, **shape)
                floor = figures_of(at_floor, people=len(people), deltas=options.deltas)
        sent: dict[str, str] = json.loads(upstream.hear_last())
    problems = site.incomplete(reading.turns, sent=sent, kept=kept)
    figures["turns_incomplete"] = len(problems)
    if floor:
        ratio = figures["cpu_ms_per_1000_deltas"] / floor["cpu_ms_per_1000_deltas"]
        figures["cpu_ratio_to_floor"] = round(ratio, 2)
    return figures, floor, problems


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
        "--ramp", type=float, default=4, help="seconds over which the streams start (default 4)"
    )
    parser.add_argument("--no-floor", action="store_true", help="measure only the site")
    site.add_settings_option(parser)
    options = parser.parse_args()
    site.require_proc(parser)
    options.timeout = 60 + 4 * (options.deltas / options.rate if options.rate else 0)
    with tempfile.TemporaryDirectory(prefix="chatsite-benchmark-") as folder, site.scratch_database():
        figures, floor, problems = run(options, Path(folder))
    show(options, figures, judge(figures, GOALS, streams=options.streams), floor=floor, problems=problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
