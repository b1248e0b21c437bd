"""Tests for copies of text that another process writes: how they are filled and kept up to date."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from channels.db import database_sync_to_async
from channels.layers import InMemoryChannelLayer, channel_layers
from django.conf import LazySettings
from django.utils import timezone

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.generation import broadcast, changes, feed, journal
from conversations.chat.generation.live import Hub, LiveText, current_hub
from conversations.chat.models import PartKind
from conversations.chat.services import turns
from tests.factories import make_turn


def test_text_beyond_a_gap_is_kept_until_the_gap_is_filled() -> None:
    copy = LiveText(1)
    copy.put(10, "klm")
    copy.put(13, "nop")
    assert copy.since(0) == ""
    copy.put(0, "abcdefgh")
    assert copy.since(0) == "abcdefgh"
    copy.put(5, "fghijkl")
    assert copy.since(0) == "abcdefghijklmnop"
    copy.put(16, "q")
    assert copy.since(14) == "opq"


def test_beyond_two_gaps_only_the_newest_text_is_kept() -> None:
    copy = LiveText(1)
    copy.put(4, "ef")
    copy.put(8, "ij")
    copy.put(0, "abcdef")
    assert copy.since(0) == "abcdef"
    copy.put(6, "gh")
    assert copy.since(0) == "abcdefghij"


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110  (looked at from outside)
            await asyncio.sleep(0.01)


# --- Following ---


@pytest.fixture
async def queued(transactional_db: None, alice: User, model: ChatModel) -> Any:
    """A queued generation that no runner will claim."""
    turn = await database_sync_to_async(turns.start_turn)(
        user=alice, conversation=None, text="Hello", client_id=uuid.uuid4(), now=timezone.now()
    )
    return turn.generation


async def test_text_that_no_one_follows_is_forgotten(alice: User, queued: Any) -> None:
    hub = current_hub()

    async def watch() -> None:
        events = feed.follow(
            hub=hub, user=alice, conversation_id=queued.conversation_id, cursor=feed.Cursor()
        )
        async for _event in events:
            pass

    viewers = [asyncio.create_task(watch()) for _ in range(2)]
    await until(lambda: (live := hub.find(queued.pk)) is not None and len(live._waiting) == 2)
    viewers[0].cancel()
    await asyncio.wait(viewers[:1])
    assert hub.find(queued.pk) is not None
    viewers[1].cancel()
    await asyncio.wait(viewers)
    assert hub.find(queued.pk) is None


def test_only_new_chunks_of_the_journal_are_read(
    alice: User, model: ChatModel, django_assert_num_queries: Any
) -> None:
    make_turn(alice)
    [job] = journal.claim(runner="a", limit=5, now=timezone.now())
    pk = job.generation_id
    journal.commit(chunks=[journal.Chunk(pk, 0, PartKind.REASONING, 0, "Hm. ", 700)])
    journal.commit(chunks=[journal.Chunk(pk, 1, PartKind.TEXT, 0, "One ", 700)])
    journal.commit(chunks=[journal.Chunk(pk, 1, PartKind.TEXT, 4, "two ", 700)])
    everything = journal.Progress("One two ", "Hm. ", 700, has_ended=False)
    assert journal.read_copies({pk: journal.Known()}) == {pk: everything}
    known = {pk: journal.Known(text=8, reasoning=4)}
    with django_assert_num_queries(2) as captured:
        assert journal.read_copies(known) == {pk: journal.Progress(has_ended=False)}
    assert '"offset" >= 8' in captured[1]["sql"]
    journal.commit(chunks=[journal.Chunk(pk, 1, PartKind.TEXT, 8, "three", 700)])
    assert journal.read_copies(known) == {pk: journal.Progress("three", "", 700, has_ended=False)}


# --- Broadcasting ---


class Unsteady(InMemoryChannelLayer):
    """A channel layer that can fail."""

    is_away = False

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if self.is_away:
            raise ConnectionError
        await super().group_send(group, message)


@pytest.fixture
def layer(settings: LazySettings) -> Iterator[Unsteady]:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.Unsteady"}}
    yield channel_layers["default"]
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


async def test_updates_that_could_not_be_sent_are_sent_later(
    layer: Unsteady, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(broadcast, "RETRY_SECONDS", 0.1)
    here, there = Hub(), Hub()
    written = here.text_of(7)
    written.is_written_here = True
    copy = there.text_of(7)
    tasks = [asyncio.create_task(broadcast.Broadcast(hub).run()) for hub in (here, there)]
    try:
        with there.watching(3) as watch:
            written.put_reasoning(0, "Hm. ", so_far_ms=700)
            written.append("One ")
            await until(lambda: copy.since(0) == "One ")
            assert (copy.reasoning.since(0), copy.reasoning_ms) == ("Hm. ", 700)
            watch.clear()
            layer.is_away = True
            written.append("two ")
            changes.announce(3)
            await asyncio.sleep(0.35)
            watch.clear()  # Every hub of this process hears of changes directly, so ignore that.
            layer.is_away = False
            await asyncio.wait_for(watch.heard.wait(), 5)
        assert copy.since(0) == "One two "
        failures = [record for record in caplog.records if "could not be sent" in record.message]
        assert len(failures) == len(tasks)  # Once for each task.
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        here.close()
        there.close()


def test_sites_that_share_a_redis_do_not_receive_each_others_updates(settings: LazySettings) -> None:
    settings.SECRET_KEY = "one"
    mine = broadcast.group_name()
    assert mine == broadcast.group_name()
    settings.SECRET_KEY = "two"
    assert broadcast.group_name() != mine
