"""Measure how long the server takes to start on an existing database, and how much memory it has when it is ready.

    python benchmarks/start.py

The last line of output is a JSON object with the figures and goals. README.md explains them.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import site  # noqa: E402  (works from any folder)
from benchmarks.report import Goal, judge, rounded, show  # noqa: E402

GOALS = [
    Goal("seconds", 2.5),
    Goal("memory_mb", 120),
]
# No model is asked for anything. With an address, the server does not start the demo model.
UPSTREAM = "http://127.0.0.1:9/v1"


def start(folder: Path) -> dict[str, float]:
    """Start the server, stop it, and return the figures of this start."""
    began = time.monotonic()
    with site.serve(UPSTREAM, folder=folder, streams=1) as server:
        server.hear("Ready")
        return {
            "seconds": time.monotonic() - began,
            "cpu_ms": server.cpu_ms,
            "memory_mb": server.memory_kb / 1024,
        }


def main() -> int:
    """Read the options, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="starts on the database (default 5)")
    options = parser.parse_args()
    site.require_proc(parser)
    with tempfile.TemporaryDirectory(prefix="chatsite-benchmark-") as folder, site.scratch_database():
        first = start(Path(folder))
        again = [start(Path(folder)) for _round in range(options.rounds)]
    figures = {name: statistics.median(figures[name] for figures in again) for name in first}
    figures |= {f"first_{name}": value for name, value in first.items()}
    figures = rounded(figures)
    show(options, figures, judge(figures, GOALS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
