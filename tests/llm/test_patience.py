"""Tests that the deadline ends a wait that is overdue, and nothing else."""

import asyncio

import pytest

from conversations.llm.patience import Patience


async def test_it_ends_an_overdue_wait_and_can_be_used_again():
    patience, loop = Patience(), asyncio.get_running_loop()
    for _ in range(2):
        with pytest.raises(TimeoutError), patience.until(loop.time() + 0.01):
            await asyncio.Event().wait()
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    patience.close()


async def test_an_earlier_deadline_after_a_later_one_applies():
    patience, loop = Patience(), asyncio.get_running_loop()
    with patience.until(loop.time() + 3600):
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError), patience.until(loop.time() + 0.01):
        await asyncio.Event().wait()
    patience.close()


async def test_a_deadline_that_passes_between_two_blocks_ends_nothing():
    patience, loop = Patience(), asyncio.get_running_loop()
    with patience.until(loop.time() + 0.01):
        pass
    # The timer of the first block fires here, outside any block.
    await asyncio.sleep(0.03)
    with patience.until(loop.time() + 3600):
        await asyncio.sleep(0)
    patience.close()


async def test_other_cancellations_are_not_turned_into_timeouts():
    patience, loop = Patience(), asyncio.get_running_loop()
    entered = asyncio.Event()

    async def wait() -> None:
        with patience.until(loop.time() + 3600):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    patience.close()


async def test_it_leaves_no_timer_behind():
    patience, loop = Patience(), asyncio.get_running_loop()
    with patience.until(loop.time() + 0.01):
        await asyncio.sleep(0)
    patience.close()
    await asyncio.sleep(0.03)
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
