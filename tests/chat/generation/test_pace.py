"""Tests for the ticks at which upstreams are read and frames sent."""

import asyncio

import pytest

from conversations.chat.generation.feed import Grown, Reasoned, attach
from conversations.chat.generation.live import LiveText, current_hub
from conversations.chat.generation.pace import SENDERS_AT_ONCE, Pace


@pytest.mark.parametrize(
    ("cost", "delay", "interval"),
    [
        (0, 0, 0.033),
        (0.003, 0, 0.033),
        (0.0025, 0.0025, 0.05),
        (0.005, 0, 0.05),
        (0.02, 0, 0.1),
        (0, 60, 0.1),
        (0.05, 60, 0.1),
        (0.1, 0, 0.2),
        (0.5, 0, 1.0),
        (60, 0, 1.0),
    ],
)
def test_the_interval_grows_with_the_load(cost: float, delay: float, interval: float) -> None:
    assert Pace.interval_under(cost=cost, delay=delay) == pytest.approx(interval)


async def test_costly_frames_lengthen_the_interval() -> None:
    pace = Pace()
    assert pace.interval == Pace.SHORTEST
    pace.note(60)
    await pace.sending()
    assert pace.interval == Pace.LONGEST


async def test_a_tick_wakes_all_at_once() -> None:
    pace, order = Pace(), list[str]()

    async def act(name: str) -> None:
        await (pace.reading() if name.startswith("read") else pace.sending())
        # Runs in the next iteration of the event loop.
        asyncio.get_running_loop().call_soon(order.append, f"after {name}")
        order.append(name)

    names = ["send 1", "read 1", "send 2", "read 2"]
    await asyncio.gather(*(act(name) for name in names))
    await asyncio.sleep(0)
    read, sent = ["read 1", "read 2"], ["send 1", "send 2"]
    assert order == [*read, *(f"after {name}" for name in read), *sent, *(f"after {name}" for name in sent)]


async def test_the_event_loop_can_do_other_work_while_a_crowd_is_sent_frames() -> None:
    pace, order = Pace(), list[str]()

    async def send() -> None:
        await pace.sending()
        if not order:
            asyncio.get_running_loop().call_soon(order.append, "other work")
        order.append("send")

    await asyncio.gather(*(send() for _ in range(3 * SENDERS_AT_ONCE)))
    assert order.index("other work") <= 2 * SENDERS_AT_ONCE


async def test_under_extreme_load_only_frames_wait_longer() -> None:
    pace, order = Pace(), list[str]()
    pace.note(60)
    await pace.sending()
    assert pace.interval == Pace.LONGEST

    async def read() -> None:
        for _ in range(3):
            await pace.reading()
            order.append("read")

    async def send() -> None:
        await pace.sending()
        order.append("send")

    await asyncio.gather(read(), send())
    assert order == ["read", "read", "read", "send"]


async def test_someone_who_has_left_does_not_stop_the_others() -> None:
    pace = Pace()
    waiting = [asyncio.create_task(pace.sending()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    done, _ = await asyncio.wait(waiting, timeout=5)
    assert len(done) == 3
    assert [task.cancelled() for task in waiting] == [True, False, False]


@pytest.fixture
def endless_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tick comes during the test."""
    for name in ("SHORTEST", "BUSY", "LONGEST"):
        monkeypatch.setattr(Pace, name, 3600)


async def test_the_first_text_is_sent_at_once_and_more_in_the_next_tick(endless_ticks: None) -> None:
    hub, live = current_hub(), LiveText(1)
    live.is_written_here = True
    viewer = attach(hub=hub, live=live, offset=0, reasoning=0)
    first = asyncio.ensure_future(anext(viewer))
    await asyncio.sleep(0)
    live.put_reasoning(0, "Hm.", so_far_ms=700)
    live.append("One ")
    assert await first == Reasoned("Hm.", 700)
    assert await anext(viewer) == Grown("One ")
    live.append("two ")
    more = asyncio.ensure_future(anext(viewer))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not more.done()
    hub.pace._tick()
    # A reader appends this in the same tick.
    live.append("three")
    assert await more == Grown("two three")
    await viewer.aclose()
