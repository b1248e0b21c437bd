"""Measure the time and the queries of the review pages with many cases.

    python benchmarks/review_queue.py --cases 50000

A reviewer requests each page with Django's test client in this process, so the time is that of the server alone. The
database is a scratch one: SQLite, or a new one on the server in DATABASE_URL. The last line of output is a JSON object.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import site  # noqa: E402  (works from any folder)

FEW = 500
TIMES = 10
# Name of each page, and its longest median time in milliseconds.
GOALS = {
    "queue": 200,
    "queue, page 10": 200,
    "queue, one category": 200,
    "queue, closed": 200,
    "case": 200,
    "figures, 30 days": 1_000,
    "figures, 90 days": 1_000,
}
COLUMNS = ("queries", "ms_p50", "ms_p95", "cpu_ms_p50", "bytes")
QUEUE = "/admin/review/reviewcase/"


def pages() -> dict[str, str]:
    """Return the addresses to measure, by name."""
    import datetime as dt

    from django.urls import reverse
    from django.utils import timezone

    from conversations.review.models import ReviewCase

    case = ReviewCase.objects.open().by_priority().first()
    assert case is not None
    figures, today = reverse("admin:review_figures"), timezone.localdate()
    return {
        "queue": QUEUE,
        "queue, page 10": f"{QUEUE}?p=3" if ReviewCase.objects.count() <= FEW else f"{QUEUE}?p=10",
        "queue, one category": f"{QUEUE}?category=incorrect",
        "queue, closed": f"{QUEUE}?queue=closed",
        "case": reverse("admin:review_reviewcase_change", args=[case.pk]),
        "figures, 30 days": figures,
        "figures, 90 days": f"{figures}?first={today - dt.timedelta(days=89)}&last={today}",
    }


def measure(client: Any, address: str) -> dict[str, Any]:
    """Request a page repeatedly. The queries are counted in a separate request."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as capture:
        response = client.get(address)
    queries = capture.captured_queries
    assert response.status_code == 200, f"{address}: {response.status_code} {response.get('Location')}"
    seconds, busy = [], []
    for _time in range(TIMES):
        began, began_work = time.perf_counter(), time.process_time()
        client.get(address)
        seconds.append(time.perf_counter() - began)
        busy.append(time.process_time() - began_work)
    slowest = sorted(queries, key=lambda query: -float(query["time"]))[:3]
    return {
        "queries": len(queries),
        "ms_p50": round(statistics.median(seconds) * 1000, 1),
        # The slowest of ten.
        "ms_p95": round(sorted(seconds)[int(TIMES * 0.95)] * 1000, 1),
        # Only of this process, whatever else the machine does. Includes the database if it is SQLite.
        "cpu_ms_p50": round(statistics.median(busy) * 1000, 1),
        "bytes": len(response.content),
        "slowest": [(query["time"], query["sql"]) for query in slowest],
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure with few cases, then with all."""
    from django.db import connection
    from django.test import Client

    from benchmarks.cases import Filler, make_people

    client = Client(HTTP_HOST="127.0.0.1")
    client.force_login(make_people())
    filler = Filler()
    measured = []
    for count in (FEW, options.cases - FEW):
        began = time.perf_counter()
        filler.add(count)
        print(f"{count} cases made in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        if connection.vendor == "postgresql":
            # In a long-lived database, autovacuum does this.
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE")
        measured.append({name: measure(client, address) for name, address in pages().items()})
    few, many = measured
    if options.verify:
        from conversations.review.services import review_log

        began = time.perf_counter()
        verified = review_log.verify()
        assert not verified.faults, verified.faults[:3]
        print(f"{verified.events} events verified in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    goals = []
    for name, figures in many.items():
        value = figures["ms_p50"]
        goals.append(
            {"figure": f"{name}, ms_p50", "value": value, "goal": GOALS[name], "met": value <= GOALS[name]}
        )
        value, goal = figures["queries"], few[name]["queries"]
        goals.append({"figure": f"{name}, queries", "value": value, "goal": goal, "met": value <= goal})
    return {
        "options": vars(options),
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
        "database": connection.vendor,
        "pages": {str(FEW): few, str(options.cases): many},
        "goals": goals,
    }


def main() -> int:
    """Read the options, measure, print, and return the exit code: 1 if the queries grow with the cases."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=50_000, help="total number of cases (default 50000)")
    parser.add_argument("--sql", action="store_true", help="print the slowest queries of each page")
    parser.add_argument("--verify", action="store_true", help="verify the log as well")
    options = parser.parse_args()
    if options.cases <= FEW:
        parser.error(f"--cases must be at least {FEW + 1}.")
    with (
        tempfile.TemporaryDirectory(prefix="chatsite-benchmark-", ignore_cleanup_errors=True) as folder,
        site.scratch_database(),
    ):
        site.set_up(Path(folder), with_static_files=True)
        result = run(options)
    print(f"{'page':24} {'cases':>8} {'queries':>8} {'ms p50':>8} {'ms p95':>8} {'cpu ms':>8} {'bytes':>8}")
    for count, of_pages in result["pages"].items():
        for name, figures in of_pages.items():
            columns = [count, *(figures[key] for key in COLUMNS)]
            print(f"{name:24} {' '.join(f'{value:>8}' for value in columns)}")
            if options.sql:
                for seconds, sql in figures["slowest"]:
                    print(f"    {seconds} s  {sql[:2_000]}")
            del figures["slowest"]
    for goal in result["goals"]:
        print(
            f"{'met' if goal['met'] else 'MISSED':8} {goal['figure']} {goal['value']} (goal {goal['goal']})"
        )
    print(json.dumps(result))
    return 1 if any(not goal["met"] for goal in result["goals"] if goal["figure"].endswith("queries")) else 0


if __name__ == "__main__":
    sys.exit(main())
