"""Measure how hostile texts, kills, crowds and outages affect everyone else.

    python benchmarks/hostile.py
    python benchmarks/hostile.py --part texts --part kills
    DATABASE_URL=postgres://postgres@127.0.0.1/postgres python benchmarks/hostile.py --part outage

Runs the real server (`manage.py serve` with an empty database), the fake upstream, and clients that behave like the chat
page. The last line of output is a JSON object with the figures and goals. README.md explains them.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.processes import Process  # noqa: E402  (works from any folder)
from benchmarks.report import Goal, judge, percentile, show  # noqa: E402
from benchmarks.site import require_proc, scratch_database  # noqa: E402
from tests.crowd import ClosedForGood, CrowdUpstream, Page, Refused, pages, question  # noqa: E402
from tests.hostile_texts import hostile_texts  # noqa: E402
from tests.proxy import Proxy  # noqa: E402
from tests.stage import Stage, eventually, staged  # noqa: E402

Figures = dict[str, Any]

WAIT_MS = 100
"""The longest that a second client may wait, in milliseconds."""
GOALS = [
    Goal("texts_wait_ms_max", WAIT_MS),
    Goal("texts_not_served", 0),
    Goal("kills_loss_ms_max", 250),
    Goal("kills_after_lock_loss_ms_max", 250),
    Goal("herd_not_served", 0),
    Goal("herd_leases_left", 0),
    Goal("herd_memory_ratio", 1.2),
    Goal("outage_not_served", 0),
    Goal("outage_again_s_max", 10),
    Goal("outage_leases_left", 0),
    Goal("outage_memory_ratio", 1.2),
]
DELTA_MS = 20
"""Time between two words of an answer that is cut off by a kill."""
LOCK_SECONDS = 0.3
# Together, these make the speed of a very fast model: 20,000 characters a second.
PIECE_CHARS = 100
PIECES_A_SECOND = 200
CAPS = {
    "CHAT_MAX_OUTPUT_TOKENS": "1000000",
    "CHAT_SENDS_PER_MINUTE": "100000",
    "CHAT_SOCKETS_PER_USER": "10",
    "LOG_LEVEL": "CRITICAL",
}


@contextlib.asynccontextmanager
async def running(*, texts: dict[str, str] | None = None, database_url: str = "") -> AsyncIterator[Stage]:
    """Run a site with an empty database, and an upstream that answers the questions of its users."""
    before = {name: in_pieces(text) for name, text in (texts or {}).items()}
    with tempfile.TemporaryDirectory(prefix="chatsite-benchmark-") as folder:
        async with (
            CrowdUpstream(before=before) as upstream,
            staged(Path(folder), upstream=upstream.base_url, database_url=database_url, **CAPS) as stage,
        ):
            yield stage


def in_pieces(text: str) -> list[str]:
    """Split a text into deltas, and end it with a blank line."""
    return [text[start : start + PIECE_CHARS] for start in range(0, len(text), PIECE_CHARS)] + ["\n\n"]


async def served(
    opened: list[Page], *, name: str, seconds: float, words: int = 20
) -> tuple[int, list[float]]:
    """Send a question from all pages. Return how many got no complete answer in time, and the others' seconds."""

    async def ask(number: int, page: Page) -> float | None:
        begun = time.monotonic()
        try:
            await page.ask_until_served(question(f"{name}{number}", words=words), seconds=seconds)
        except (ClosedForGood, Refused, TimeoutError):
            return None
        return time.monotonic() - begun

    took = await asyncio.gather(*(ask(number, page) for number, page in enumerate(opened)))
    times = [seconds for seconds in took if seconds is not None]
    return len(opened) - len(times), times


async def left_behind(stage: Stage) -> Figures:
    """Return what the closed pages left behind: leases, and memory as a multiple of before."""
    with contextlib.suppress(TimeoutError):
        await stage.is_as_before(seconds=30)
    return {
        "leases_left": stage.leases_left,
        "memory_ratio": round(stage.memory_kb / stage.settled_kb, 2),
    }


# --- Texts -----------------------------------------------------------------------------------------------------


async def measure_texts(options: argparse.Namespace) -> Figures:
    """Return the longest wait for /healthz while each text streams and its page is loaded."""
    texts = {"ordinary": "An ordinary *answer* with `code` and a [link](https://example.org).\n\n" * 450}
    texts |= hostile_texts()
    if options.text:
        texts = {name: text for name, text in texts.items() if name in {"ordinary", *options.text}}
    waits: dict[str, float] = {}
    left, floor, not_served = list(texts), 0.0, []
    while left:
        # If the site gets stuck, end it and continue with the next text on a new one.
        keys = {f"t{number}": texts[name] for number, name in enumerate(texts)}
        async with running(texts=keys) as stage:
            [cookie] = await stage.people(1)
            with Process("-m", "benchmarks.probe", stage.address) as probe:
                # The first answer is slower, so it is not part of the floor.
                await stream_text(stage, cookie, "t0", options)
                await waits_of(probe)
                await asyncio.sleep(3)
                floor = max(floor, *await waits_of(probe))
                while left:
                    name = left.pop(0)
                    is_served = await stream_text(stage, cookie, f"t{list(texts).index(name)}", options)
                    waits[name] = max(await waits_of(probe))
                    print(
                        f"{name:36} {waits[name]:>10.1f} ms{'' if is_served else '   NOT SERVED'}", flush=True
                    )
                    if not is_served:
                        not_served.append(name)
                        break
    worst = max(waits, key=lambda name: waits[name])
    return {
        "texts_floor_ms_max": floor,
        "texts_ordinary_ms_max": waits["ordinary"],
        "texts_wait_ms_max": waits[worst],
        "texts_worst": worst,
        "texts_not_served": len(not_served),
        "texts_over_goal": {name: wait for name, wait in waits.items() if wait > WAIT_MS},
    }


async def waits_of(probe: Process) -> list[float]:
    """Return the waits of the second client since the last call."""
    probe.say("")
    waits: list[float] = json.loads(await asyncio.to_thread(probe.hear))
    return waits


async def stream_text(stage: Stage, cookie: str, name: str, options: argparse.Namespace) -> bool:
    """Read an answer with this text and load its page. Return False if it is not complete in time."""
    async with pages(stage.address, [cookie]) as [page]:
        try:
            await page.ask(question(name, words=1, rate=PIECES_A_SECOND), seconds=options.seconds)
            async with httpx.AsyncClient(headers={"Cookie": cookie}, timeout=options.seconds) as browser:
                loaded = await browser.get(f"{stage.address}/c/{page.conversation}/")
        except (TimeoutError, ClosedForGood, Refused, httpx.TimeoutException):
            return False
        return loaded.status_code == 200


# --- Kills -----------------------------------------------------------------------------------------------------


async def measure_kills(options: argparse.Namespace) -> Figures:
    """Return how much of the text that was shown is lost after a `kill -9` at a random time."""
    figures: Figures = {}
    async with running() as stage:
        [cookie] = await stage.people(1)
        for name, has_lock in (("kills", False), ("kills_after_lock", True)):
            losses = [
                await lose(stage, cookie, f"{name}{number}", has_lock=has_lock)
                for number in range(options.kills)
            ]
            figures |= {
                f"{name}_loss_ms_p50": percentile(losses, 0.5),
                f"{name}_loss_ms_p95": percentile(losses, 0.95),
                f"{name}_loss_ms_max": max(losses),
            }
            print(f"{name:36} {sorted(losses)} ms", flush=True)
    return figures


async def lose(stage: Stage, cookie: str, name: str, *, has_lock: bool) -> float:
    """Kill the site in the middle of an answer and restart it. Return the milliseconds of shown text that were lost.

    With `has_lock`, another program holds SQLite's write lock for 0.3 s, until 250 to 550 ms before the kill. By then, the
    site should have saved all text but the last 250 ms.
    """
    async with pages(stage.address, [cookie]) as [page]:
        asking = asyncio.create_task(
            page.ask(question(name, words=5_000, rate=1000 // DELTA_MS), seconds=300)
        )
        await eventually(lambda: page.highest >= 50, what="the answer to begin")
        await asyncio.sleep(random.uniform(0, 1))
        if has_lock:
            with stage.database.locked():
                await asyncio.sleep(LOCK_SECONDS)
            await asyncio.sleep(random.uniform(0.25, 0.55))
        connections = len(page.codes)
        stage.site.web.popen.send_signal(signal.SIGKILL)
        # Text still on its way to the page counts as shown.
        await eventually(lambda: len(page.codes) > connections, what="the page to be cut off")
        asking.cancel()
        shown = page.highest
    await asyncio.to_thread(stage.site.web.end, signal.SIGKILL)
    rows = stage.database.query(
        "SELECT c.text FROM chat_generationchunk c WHERE c.generation_id = "
        "(SELECT max(id) FROM chat_generation) ORDER BY c.offset"
    )
    kept = [int(number) for number in re.findall(rf"\b{name}w(\d+)\b", "".join(text for (text,) in rows))]
    await asyncio.to_thread(stage.site.start)
    return float(max(0, shown - max(kept, default=-1)) * DELTA_MS)


# --- Herd ------------------------------------------------------------------------------------------------------


async def measure_herd(options: argparse.Namespace) -> Figures:
    """Return how many pages get an answer if all are disconnected and reconnect at once, and how long it takes."""
    async with running() as stage:
        cookies = [cookie for cookie in await stage.people(options.herd // 5) for _ in range(5)]
        await stage.settle()
        async with pages(stage.address, cookies, first_delay=0) as opened:
            for page in opened:
                page.cut()
            begun = time.monotonic()
            with contextlib.suppress(TimeoutError, ClosedForGood):
                await asyncio.gather(*(page.connected(times=2, seconds=options.seconds) for page in opened))
            connected = time.monotonic() - begun
            not_served, _times = await served(opened, name="h", seconds=options.seconds)
            figures = {
                "pages": len(opened),
                "connected_s": round(connected, 2),
                "served_s": round(time.monotonic() - begun, 2),
                "not_served": not_served,
            }
        figures |= await left_behind(stage)
    return {f"herd_{name}": value for name, value in figures.items()}


# --- Outage ----------------------------------------------------------------------------------------------------


async def measure_outage(options: argparse.Namespace) -> Figures:
    """Return how a database outage affects 20 people who keep writing and 10 who have a page open."""
    with scratch_database(), contextlib.ExitStack() as stack:
        url = os.environ.get("DATABASE_URL", "")
        proxy = stack.enter_context(Proxy.before(url, default_port=5432)) if url else None
        async with running(database_url=proxy.instead_of(url) if proxy else "") as stage:
            cookies = await stage.people(30)
            await stage.settle()
            outage = away(proxy) if proxy else stage.database.locked()
            async with pages(stage.address, cookies) as opened:
                not_served, times = await through(opened, outage, options)
                codes = sorted({code for page in opened for code in page.codes})
            figures = {
                "database": "postgresql" if url else "sqlite",
                "seconds": options.outage_seconds,
                "not_served": not_served,
                "again_s_max": round(max(times, default=0.0), 2),
                "close_codes": codes,
                **await left_behind(stage),
            }
    return {f"outage_{name}": value for name, value in figures.items()}


@contextlib.contextmanager
def away(proxy: Proxy) -> Any:
    """Close all database connections and refuse new ones for the duration of the block."""
    proxy.cut()
    try:
        yield
    finally:
        proxy.resume()


async def through(
    opened: list[Page], outage: AbstractContextManager[Any], options: argparse.Namespace
) -> tuple[int, list[float]]:
    """Let all but ten pages write during an outage. Return how many get no answer afterwards, and the others' waits."""

    async def act(number: int, page: Page) -> None:
        for attempt in range(10_000):
            with contextlib.suppress(Refused, TimeoutError):
                await page.ask(question(f"o{number}x{attempt}", words=40, rate=20), seconds=20)
            await asyncio.sleep(1)

    await served(opened, name="b", seconds=options.seconds)
    acting = [asyncio.create_task(act(number, page)) for number, page in enumerate(opened[:-10])]
    with outage:
        await asyncio.sleep(options.outage_seconds)
    for task in acting:
        task.cancel()
    await asyncio.gather(*acting, return_exceptions=True)
    return await served(opened, name="a", seconds=options.seconds)


# --- All -------------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[argparse.Namespace], Coroutine[Any, Any, Figures]]] = {
    "texts": measure_texts,
    "kills": measure_kills,
    "herd": measure_herd,
    "outage": measure_outage,
}


def main() -> int:
    """Read the options, measure, print, and return the exit code: 1 if a goal other than a time was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--part", action="append", choices=list(PARTS), help="run only this part (can be repeated)"
    )
    parser.add_argument("--text", action="append", help="stream only this text (can be repeated)")
    parser.add_argument(
        "--kills", type=int, default=20, help="kills without a lock, and as many with one (default 20)"
    )
    parser.add_argument("--herd", type=int, default=500, help="pages that reconnect at once (default 500)")
    parser.add_argument("--outage-seconds", type=float, default=60, help="length of the outage (default 60)")
    parser.add_argument(
        "--seconds", type=float, default=120, help="how long a page waits for its answer (default 120)"
    )
    options = parser.parse_args()
    require_proc(parser)
    figures: Figures = {}
    for part in options.part or PARTS:
        figures |= asyncio.run(PARTS[part](options))
    goals = judge(figures, GOALS)
    show(options, figures, goals)
    return 1 if any(not goal["met"] for goal in goals if not str(goal["figure"]).endswith("_max")) else 0


if __name__ == "__main__":
    sys.exit(main())
