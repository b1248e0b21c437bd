"""Tests of the rate limits for frames."""

import gc
from typing import Any

import pytest
from channels.db import database_sync_to_async

from conversations.accounts.models import User
from conversations.chat.consumers import budget, codes
from conversations.chat.consumers.budget import BURST_FRAMES, FRAME_BYTES, FRAMES_PER_SECOND, FrameBudget
from tests.page import Page, signed_in


def spend(bucket: FrameBudget, times: int, *, size: int = 2, at: float = 0.0) -> list[bool]:
    return [bucket.spend(size, at=at) for _ in range(times)]


def test_after_a_burst_the_rate_is_limited() -> None:
    bucket = FrameBudget(at=0)
    assert all(spend(bucket, BURST_FRAMES))
    assert not bucket.spend(2, at=0)
    assert spend(bucket, int(FRAMES_PER_SECOND) + 1, at=1.05).count(True) == FRAMES_PER_SECOND


def test_the_budget_never_exceeds_a_burst() -> None:
    bucket = FrameBudget(at=0)
    assert spend(bucket, BURST_FRAMES + 1, at=3600).count(True) == BURST_FRAMES


def test_a_long_frame_costs_more() -> None:
    bucket = FrameBudget(at=0)
    assert spend(bucket, BURST_FRAMES, size=9 * FRAME_BYTES).count(True) == BURST_FRAMES // 10


def test_the_open_pages_of_a_user_share_one_budget() -> None:
    first = budget.budget_of_user(1, at=0)
    assert budget.budget_of_user(1, at=0) is first
    assert budget.budget_of_user(2, at=0) is not first
    spend(first, 10_000)
    del first
    gc.collect()
    assert budget.budget_of_user(1, at=0).spend(2, at=0)


@pytest.mark.django_db(transaction=True)
async def test_one_page_uses_up_the_budget_of_another(
    service: Any, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "USER_FACTOR", 1)
    client = await database_sync_to_async(signed_in)(alice)
    busy, idle = Page(client), Page(client)
    assert await busy.open()
    assert await idle.open()
    for _ in range(2 * BURST_FRAMES):
        await busy.send(action="ack", received=0)
    assert await busy.closed() == codes.TOO_MANY_FRAMES
    # As many as the idle page may send on its own.
    for _ in range(BURST_FRAMES - 1):
        await idle.send(action="ack", received=0)
    assert await idle.closed() == codes.TOO_MANY_FRAMES
