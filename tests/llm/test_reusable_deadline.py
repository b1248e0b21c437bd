"""Tests that the deadline ends a wait that is overdue, and nothing else."""

import asyncio

import pytest

from conversations.llm.reusable_deadline import ReusableDeadline


async def test_it_ends_an_overdue_wait_and_can_be_used_again():
    deadline, loop = ReusableDeadline(), asyncio.get_running_loop()
    for _ in range(2):
        with pytest.raises(TimeoutError), deadline.until(loop.time() + 0.01):
            await asyncio.Event().wait()
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    deadline.close()


async def test_an_earlier_deadline_after_a_later_one_applies():
    deadline, loop = ReusableDeadline(), asyncio.get_running_loop()
    with deadline.until(loop.time() + 3600):
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError), deadline.until(loop.time() + 0.01):
        await asyncio.Event().wait()
    deadline.close()


async def test_a_deadline_that_passes_between_two_blocks_ends_nothing():
    deadline, loop = ReusableDeadline(), asyncio.get_running_loop()
    with deadline.until(loop.time() + 0.01):
        pass
    # The timer of the first block fires here, outside any block.
    await asyncio.sleep(0.03)
    with deadline.until(loop.time() + 3600):
        await asyncio.sleep(0)
    deadline.close()


async def test_other_cancellations_are_not_turned_into_timeouts():
    deadline, loop = ReusableDeadline(), asyncio.get_running_loop()
    entered = asyncio.Event()

    async def wait() -> None:
        with deadline.until(loop.time() + 3600):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    deadline.close()


async def test_it_leaves_no_timer_behind():
    deadline, loop = ReusableDeadline(), asyncio.get_running_loop()
    with deadline.until(loop.time() + 0.01):
        await asyncio.sleep(0)
    deadline.close()
    await asyncio.sleep(0.03)
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
