"""The limit on waiting: it must end a wait that is due, and nothing else."""

import asyncio

import pytest

from conversations.llm.patience import Patience


async def test_ends_a_wait_that_is_due_and_can_be_used_again():
    patience, loop = Patience(), asyncio.get_running_loop()
    for _ in range(2):
        with pytest.raises(TimeoutError), patience.until(loop.time() + 0.01):
            await asyncio.Event().wait()
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    patience.close()


async def test_a_sooner_limit_after_a_later_one_holds():
    patience, loop = Patience(), asyncio.get_running_loop()
    with patience.until(loop.time() + 3600):
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError), patience.until(loop.time() + 0.01):
        await asyncio.Event().wait()
    patience.close()


async def test_a_limit_that_has_passed_between_two_blocks_ends_nothing():
    patience, loop = Patience(), asyncio.get_running_loop()
    with patience.until(loop.time() + 0.01):
        pass
    # The timer of the first block fires here, where nobody is waiting.
    await asyncio.sleep(0.03)
    with patience.until(loop.time() + 3600):
        await asyncio.sleep(0)
    patience.close()


async def test_somebody_elses_cancellation_stays_one():
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


async def test_leaves_no_timer_behind():
    patience, loop = Patience(), asyncio.get_running_loop()
    with patience.until(loop.time() + 0.01):
        await asyncio.sleep(0)
    patience.close()
    await asyncio.sleep(0.03)
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
