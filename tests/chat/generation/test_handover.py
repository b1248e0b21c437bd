"""A new generation goes straight to this process's runner, and viewers hear of it without reading the database."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.conf import LazySettings
from django.db import connection, transaction
from django.utils import timezone

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.generation import feed, handover, journal
from conversations.chat.generation.live import current_hub
from conversations.chat.generation.service import Service
from conversations.chat.models import Generation, Message
from conversations.chat.services import turns
from conversations.common.refusals import Refused
from tests.chat.generation.helpers import has_ended, start, until
from tests.fakes import RunningUpstream

pytestmark = pytest.mark.django_db(transaction=True)

START, CLOSE = 13, 6
"""The most statements that the start of a turn in an existing conversation and the end of its answer may run."""
PREPARE = 1


@pytest.fixture
async def places() -> AsyncIterator[handover.Places]:
    """The places of a runner that only takes jobs, and does nothing with them."""
    taken: list[journal.Job] = []
    places = handover.Places(runner="a", begin=taken.append)
    handover.offer(places)
    yield places
    handover.offer(None)


class Statements:
    """Counts the statements of the thread that does the database work of sockets and the runner."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self.seen.append(sql)
        return execute(sql, params, many, context)


@pytest.fixture
async def statements() -> AsyncIterator[Statements]:
    counted = Statements()
    await database_sync_to_async(lambda: connection.execute_wrappers.append(counted))()
    yield counted
    await database_sync_to_async(lambda: connection.execute_wrappers.remove(counted))()


class Viewer:
    """Follows a conversation and keeps what it is given."""

    def __init__(self, user: User, conversation_id: int, cursor: feed.Cursor = feed.Cursor()) -> None:  # noqa: B008
        self.events: asyncio.Queue[feed.Event] = asyncio.Queue()
        self._task = asyncio.create_task(self._follow(user, conversation_id, cursor))

    async def _follow(self, user: User, conversation_id: int, cursor: feed.Cursor) -> None:
        async for event in feed.follow(
            hub=current_hub(), user=user, conversation_id=conversation_id, cursor=cursor
        ):
            await self.events.put(event)

    async def next(self) -> feed.Event:
        return await asyncio.wait_for(self.events.get(), 10)

    async def until_end(self) -> list[feed.Event]:
        events = [await self.next()]
        while not isinstance(events[-1], feed.Ended | feed.Replaced):
            events.append(await self.next())
        return events

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


# --- Places ---


async def test_a_free_place_gets_the_generation_as_running(
    alice: User, model: ChatModel, places: handover.Places
) -> None:
    generation = await start(alice)
    assert (generation.status, generation.runner) == ("running", "a")
    assert generation.heartbeat_at == generation.started_at is not None
    stored = await Generation.objects.aget()
    assert (stored.status, stored.runner) == ("running", "a")


async def test_without_a_free_place_the_generation_is_queued(
    alice: User, model: ChatModel, places: handover.Places, settings: LazySettings
) -> None:
    settings.GENERATION_CONCURRENCY = 1
    assert [(await start(alice)).status for _ in range(3)] == ["running", "queued", "queued"]
    places.give_back()
    assert (await start(alice)).status == "running"
    places.give_back()
    places.close()
    assert (await start(alice)).status == "queued"


async def test_a_turn_that_is_refused_or_repeated_takes_no_place(
    alice: User, model: ChatModel, places: handover.Places, settings: LazySettings
) -> None:
    settings.GENERATION_CONCURRENCY = 2
    client_id = uuid.uuid4()
    await start(alice, client_id=client_id)
    for _ in range(3):
        await start(alice, client_id=client_id)
        with pytest.raises(Refused):
            await start(alice, "x" * 100_000)
    assert places.take(5) == 1


async def test_a_job_is_handed_over_only_after_the_commit(
    alice: User, model: ChatModel, places: handover.Places
) -> None:
    class Broken(Exception):
        pass

    def turn() -> None:
        with transaction.atomic():
            turns.start_turn(
                user=alice, conversation=None, text="Hi", client_id=uuid.uuid4(), now=timezone.now()
            )
            raise Broken

    begun: list[journal.Job] = []
    watched = handover.Places(runner="a", begin=begun.append)
    handover.offer(watched)
    with pytest.raises(Broken):
        await database_sync_to_async(turn)()
    await asyncio.sleep(0)
    free = watched.take(1_000)
    watched.give_back(free)
    assert (free, begun) == (500, [])
    generation = await start(alice)
    await asyncio.sleep(0)
    assert [job.generation for job in begun] == [generation]


# --- From the turn to its end ---


async def test_a_turn_runs_few_statements_and_viewers_none(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service, statements: Statements
) -> None:
    first = await until(has_ended, await start(alice))
    viewers = [Viewer(alice, first.conversation_id) for _ in range(2)]
    for viewer in viewers:
        assert isinstance(await viewer.next(), feed.Added)
    # Both have looked. Nothing else is going on until the next message.
    statements.seen.clear()
    upstream.answer_with("Fine.")
    second = await start(alice, "And now?", conversation=first.conversation.uuid)
    assert len(statements.seen) <= START
    for viewer in viewers:
        added, *text, ended = await viewer.until_end()
        assert isinstance(added, feed.Added) and isinstance(ended, feed.Ended)
        assert [entry.text for entry in added.entries] == ["And now?", ""]
        assert "".join(event.text for event in text if isinstance(event, feed.Grown)) == "Fine."
        assert (ended.entry.text, ended.entry.message.pk) == ("Fine.", second.message_id)
        assert ended.entry.generation and ended.entry.generation.status == "complete"
        assert ended.entry.generation.completion_tokens == 1
        await viewer.close()
    # The journal and the heartbeats run at intervals, for all generations together.
    own = [sql for sql in statements.seen if "generationchunk" not in sql and "heartbeat_at" not in sql[:60]]
    assert len(own) <= START + PREPARE + CLOSE, own


async def test_the_end_from_memory_is_the_end_from_the_database(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    upstream.answer_with("Once.", finish_reason="length")
    viewer = Viewer(alice, (generation := await start(alice)).conversation_id)
    ended = (await viewer.until_end())[-1]
    await viewer.close()
    stored = await until(has_ended, generation)
    again = Viewer(alice, generation.conversation_id)
    added = await again.next()
    await again.close()
    assert isinstance(ended, feed.Ended) and isinstance(added, feed.Added)
    told, read = ended.entry, added.entries[-1]
    for mine, theirs in ((told.message, read.message), (told.generation, read.generation)):
        assert mine is not None and theirs is not None
        for field in mine._meta.concrete_fields:
            assert getattr(mine, field.attname) == getattr(theirs, field.attname), field.attname
    assert (told.text, told.reasoning, told.reasoning_ms) == (read.text, read.reasoning, read.reasoning_ms)
    assert stored.finish_reason == "length"


async def test_an_answer_hidden_while_it_was_written_ends_hidden(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    gate = upstream.hold()
    upstream.answer_with("Half", gate, " whole")
    generation = await start(alice)
    viewer = Viewer(alice, generation.conversation_id)
    while not isinstance(await viewer.next(), feed.Grown):
        pass
    # Without an announcement, as by another process whose hint was lost.
    await Message.objects.filter(pk=generation.message_id).aupdate(hidden_at=timezone.now())
    gate.release()
    ended = (await viewer.until_end())[-1]
    await viewer.close()
    assert isinstance(ended, feed.Replaced)
    assert ended.entry.text == "" and ended.entry.message.is_hidden


async def test_a_continued_answer_is_not_taken_for_the_one_before(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    upstream.answer_with("Half", finish_reason="length")
    generation = await start(alice)
    viewer = Viewer(alice, generation.conversation_id)
    assert isinstance((await viewer.until_end())[-1], feed.Ended)
    upstream.answer_with(" whole")
    stored = await until(has_ended, generation)
    await database_sync_to_async(turns.continue_answer)(
        user=alice, message=stored.message.uuid, client_id=uuid.uuid4(), now=timezone.now()
    )
    events = [event async for event in _until(viewer, "Half whole")]
    await viewer.close()
    assert isinstance(events[-1], feed.Ended | feed.Replaced)


async def _until(viewer: Viewer, text: str) -> AsyncIterator[feed.Event]:
    while True:
        event = await viewer.next()
        yield event
        if isinstance(event, feed.Ended | feed.Replaced) and event.entry.text == text:
            return


async def test_draining_interrupts_what_was_handed_over_and_takes_nothing_more(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    gate = upstream.hold()
    upstream.answer_with("Half", gate, "never")
    handed = await start(alice)
    await service.drain()
    assert (await until(has_ended, handed)).status == "interrupted"
    assert (await start(alice)).status == "queued"
