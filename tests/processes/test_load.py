"""Tests of crowds, floods and outages on the real server: afterwards everyone is served and no resources have leaked.

benchmarks/hostile.py measures times. Here all waits are generous.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from websockets.sync.client import connect
from websockets.typing import Origin

from conversations.chat.generation import feed
from tests.crowd import CrowdUpstream, Flood, pages, question
from tests.proxy import Proxy
from tests.stage import Stage, all_are_served, eventually, staged

# All tests share one site, so that a leak in one test shows in the later ones too.
pytestmark = pytest.mark.asyncio(loop_scope="module")

OUTAGE_SECONDS = 8.0
"""How long the database is unavailable in these tests. In benchmarks/hostile.py it is a minute."""

# Each user here opens up to six pages, and earlier connection attempts may still count for a while.
CAPS = {"CHAT_SOCKETS_PER_USER": "60"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("load") / "data"
    async with (
        CrowdUpstream() as upstream,
        staged(folder, upstream=upstream.base_url, **CAPS) as set_up,
    ):
        await set_up.settle()
        yield set_up


@pytest.mark.parametrize(
    ("frame", "rate", "count"),
    [
        ('{"action": "attach", "conversation": "5b1bbd46-6c5c-4d0e-8f0f-0a3f6e0c7b11"}', 1_000, 5_000),
        ("{}", 0, 150_000),
        ("", 0, 150_000),
    ],
    ids=["1000 a second", "tight loop", "empty frames"],
)
async def test_a_flood_from_a_socket_that_does_not_read(
    stage: Stage, frame: str, rate: int, count: int
) -> None:
    flooding, other = await stage.people(2)
    async with pages(stage.address, [other]) as opened:
        with connect(
            stage.address.replace("http", "ws", 1) + "/ws/chat/",
            origin=Origin(stage.address),
            additional_headers={"Cookie": flooding},
            ping_interval=None,
        ) as connection:
            flood = Flood(connection, frame.encode(), rate=rate)
            flood.start()
            # Other users are served meanwhile.
            await all_are_served(opened)
            await eventually(lambda: flood.sent >= count or not flood.is_alive(), what="the flood to end")
            await asyncio.to_thread(flood.stop)
        await all_are_served(opened, name="again")
    # So is the same user on a newly loaded page.
    async with pages(stage.address, [flooding]) as opened:
        await all_are_served(opened)
    await stage.is_as_before()


async def stop_reading_and_catch_up(stage: Stage) -> None:
    """Let fifty pages stop reading while answers of more than 1 MB are written, then read them."""
    # All pages of ten users except the first.
    cookies = [cookie for cookie in await stage.people(10) for _ in range(6)]
    async with pages(stage.address, cookies) as opened:
        asking, slow = opened[::6], [page for number, page in enumerate(opened) if number % 6]
        await all_are_served(asking)
        # More than 1 MiB, which exceeds what the server sends in one frame.
        texts = [question(f"long{number}", words=1_200, padding=1_000) for number in range(10)]
        for number, page in enumerate(slow):
            page.reads.clear()
            page.expect(texts[number // 5])
            await page.attach(asking[number // 5].conversation)
        await asyncio.gather(*(page.ask_until_served(text) for page, text in zip(asking, texts, strict=True)))
        for page in slow:
            page.reads.set()
        await asyncio.gather(*(page.read_whole() for page in slow))
        for page in slow:
            # As if the user had selected "New chat".
            page.conversation = ""
        await all_are_served(opened, name="again")


async def test_fifty_pages_that_stop_reading(stage: Stage) -> None:
    await stop_reading_and_catch_up(stage)
    await stage.is_as_before()


async def test_five_hundred_sockets_that_reconnect_at_once(stage: Stage) -> None:
    cookies = [cookie for cookie in await stage.people(100) for _ in range(5)]
    async with pages(stage.address, cookies, first_delay=0) as opened:
        asking, watching = opened[::5], [page for number, page in enumerate(opened) if number % 5]
        await all_are_served(asking)
        for number, page in enumerate(watching):
            await page.attach(asking[number // 4].conversation)
        for page in opened:
            page.cut()
        # Cut them again while some are still reconnecting.
        await eventually(lambda: sum(page.is_connected for page in opened) > 250, what="half to reconnect")
        for page in opened:
            page.cut()
        await eventually(lambda: all(page.is_connected for page in opened), what="all to reconnect")
        # The other pages of the same conversation have the answer too.
        for number, page in enumerate(watching):
            page.expect(question(f"again{number // 4}"))
        await all_are_served(asking, name="again")
        await asyncio.gather(*(page.read_whole() for page in watching))
    await stage.is_as_before()


async def go_through(stage: Stage, outage: AbstractContextManager[object], *, seconds: float) -> None:
    """Let twenty users act and ten watch while the database is unavailable, then serve all of them."""
    async with pages(stage.address, await stage.people(30)) as opened:
        await all_are_served(opened)
        acting = opened[:20]
        async with asyncio.TaskGroup() as group:
            for number, page in enumerate(acting[:10]):
                text = question(f"o{number}", words=40, rate=10)
                group.create_task(page.ask_until_served(text))
            await eventually(
                lambda: all(page.highest > 5 for page in acting[:10]), what="ten answers to start"
            )
            with outage:
                for number, page in enumerate(acting[10:]):
                    if number % 2:
                        page.cut()
                    group.create_task(page.ask_until_served(question(f"d{number}")))
                await asyncio.sleep(seconds)
        await all_are_served(opened, name="again")
    await stage.is_as_before()


async def test_a_locked_database_while_people_use_the_site(stage: Stage) -> None:
    await go_through(stage, stage.database.locked(), seconds=OUTAGE_SECONDS)


@pytest.mark.parametrize(
    "outage",
    [
        pytest.param(Proxy.cut, id="refuses connections"),
        pytest.param(Proxy.pause, id="does not answer"),
    ],
)
async def test_a_database_outage_while_people_use_the_site(
    tmp_path: Path, postgres_url: str, outage: Callable[[Proxy], None]
) -> None:
    async with CrowdUpstream() as upstream:
        with Proxy.before(postgres_url, default_port=5432) as proxy:
            address = proxy.instead_of(postgres_url)
            async with staged(tmp_path, upstream=upstream.base_url, database_url=address) as stage:
                await stage.settle()
                # Longer than the interval at which pages check for changes without being notified.
                await go_through(stage, away(proxy, outage), seconds=feed.IDLE_POLL_SECONDS + 3)


@contextmanager
def away(proxy: Proxy, outage: Callable[[Proxy], None]) -> Iterator[None]:
    outage(proxy)
    try:
        yield
    finally:
        proxy.resume()
