"""Tests that the server limits what it sends to pages which read slowly or not at all."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from channels.db import database_sync_to_async

from conversations.accounts.models import User
from conversations.chat.consumers import outbox
from conversations.chat.generation.service import Service
from conversations.chat.models import Conversation, Generation
from tests.fakes import RunningUpstream
from tests.page import Page, signed_in

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_page_that_reads_nothing_gets_no_more_than_the_window(
    tab: Page, upstream: RunningUpstream, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "SLOW_READER_SECONDS", 0.2)
    upstream.answer_with(*["word " * 200 + "\n\n"] * 1_500)
    await tab.say("Go")
    received = 0
    while True:
        message = await tab.socket.receive_output(timeout=10)
        if message["type"] == "websocket.close":
            assert message["code"] == 4408
            break
        received += len(message["text"])
    assert outbox.WINDOW_BYTES < received < 4 * 1024 * 1024
    # The answer itself is complete.
    await asyncio.to_thread(upstream.requests[0].completed.wait, 10)
    await service.drain()
    assert await Generation.objects.filter(status="complete").aexists()


async def test_a_page_that_acknowledges_gets_everything(tab: Page, upstream: RunningUpstream) -> None:
    upstream.answer_with(*["word " * 200 + "\n\n"] * 400)
    await tab.say("Go")
    received, frames = 0, ""
    while "The answer is complete" not in frames:
        frame = await tab.frame()
        frames = frame
        received += len(frame.encode())
        await tab.send(action="ack", received=received)
    assert received > 400_000


async def test_attaching_repeatedly_gets_no_more_than_the_window(
    tab: Page, alice: User, upstream: RunningUpstream
) -> None:
    upstream.answer_with(*["word " * 200 + "\n\n"] * 300)
    await tab.say("Go")
    received, frame = 0, ""
    while "The answer is complete" not in frame:
        frame = await tab.frame()
        received += len(frame.encode())
        await tab.send(action="ack", received=received)

    greedy = Page(await database_sync_to_async(signed_in)(alice))
    await greedy.open()
    conversation = await Conversation.objects.aget()
    for _ in range(8):
        await greedy.attach(conversation)
    # An unknown conversation is refused at once, so this reply comes last.
    await greedy.attach(str(uuid.uuid4()))
    sizes = [len(frame.encode()) async for frame in frames_until(greedy, "Conversation not found")]
    assert sum(sizes) < outbox.WINDOW_BYTES + 2 * max(sizes)
    await greedy.close()


async def frames_until(page: Page, text: str) -> AsyncIterator[str]:
    frame = ""
    while text not in frame:
        frame = await page.frame()
        yield frame
