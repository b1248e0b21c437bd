"""Tests for reasoning, which is stored and streamed like an answer's text but kept apart from it."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.utils import timezone

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.generation import ending, feed, journal, reaper
from conversations.chat.generation.heartbeats import HeartbeatWatch
from conversations.chat.generation.live import current_hub
from conversations.chat.generation.service import Service
from conversations.chat.models import Generation, GenerationChunk, Message, MessagePart, PartKind
from conversations.chat.services import turns
from conversations.review.services import snapshots
from tests.chat.generation.helpers import has_ended, start, until
from tests.factories import make_turn
from tests.fakes import RunningUpstream, Thought

pytestmark = pytest.mark.django_db(transaction=True)


def parts_of(message: Message) -> list[tuple[int, str, int, str]]:
    return [(part.position, part.kind, part.offset, part.text) for part in message.parts.all()]


async def kept(generation: Generation) -> list[tuple[int, str, int, str]]:
    return await database_sync_to_async(parts_of)(generation.message)


async def test_reasoning_is_stored_apart_from_the_text_and_counted(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    upstream.answer_with(Thought("Is it "), Thought("two?"), "It is ", "two.")
    ended = await until(has_ended, await start(alice))
    assert (ended.status, ended.message.text) == ("complete", "It is two.")
    assert await kept(ended) == [(0, "reasoning", 0, "Is it two?")]
    assert (ended.completion_tokens, ended.reasoning_tokens) == (4, 2)
    assert not await GenerationChunk.objects.aexists()


async def test_reasoning_is_never_sent_back(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    upstream.answer_with(Thought("A secret thought"), "Said.")
    ended = await until(has_ended, await start(alice, "One"))
    await until(has_ended, await start(alice, "Two", conversation=ended.conversation.uuid))
    sent = upstream.requests[-1].messages[1:]
    assert sent == [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Said."},
        {"role": "user", "content": "Two"},
    ]


async def test_reasoning_tokens_are_estimated_if_the_upstream_reports_none(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    upstream.answer_with(Thought("one two three"), "four five", has_usage=False)
    ended = await until(has_ended, await start(alice))
    assert (ended.completion_tokens, ended.reasoning_tokens, ended.usage_is_estimated) == (5, 3, True)


async def test_each_part_has_a_position(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    upstream.answer_with(Thought("First."), "Abc", Thought("Then."), "def", upstream.hold(), "lost")
    generation = await start(alice)
    await until(lambda found: found.chunks.filter(text="def").aexists(), generation)
    rows = [
        (chunk.part, chunk.kind, chunk.offset, chunk.text)
        async for chunk in generation.chunks.order_by("part", "offset")
    ]
    assert rows == [
        (0, "reasoning", 0, "First."),
        (1, "text", 0, "Abc"),
        (2, "reasoning", 6, "\n\nThen."),
        (3, "text", 3, "def"),
    ]
    # Stop while it is being written. When it continues, its parts must follow the existing ones.
    await database_sync_to_async(turns.request_stop)(
        user=alice, message=generation.message.uuid, now=timezone.now()
    )
    ended = await until(has_ended, generation)
    assert ended.status == "stopped"
    both = [(0, "reasoning", 0, "First."), (2, "reasoning", 3, "Then.")]
    assert await kept(ended) == both
    upstream.answer_with(Thought("More."), "ghi")
    more = await database_sync_to_async(turns.continue_answer)(
        user=alice, message=ended.message.uuid, client_id=uuid.uuid4(), now=timezone.now()
    )
    ended = await until(has_ended, more)
    assert ended.message.text == "Abcdefghi"
    assert await kept(ended) == [*both, (4, "reasoning", 6, "More.")]


def test_reasoning_survives_a_dead_runner(alice: User, model: ChatModel) -> None:
    make_turn(alice)
    [job] = journal.claim(runner=f"{journal._HOST}:4194999:a", limit=1, now=timezone.now())
    pk = job.generation_id
    journal.commit(
        chunks=[
            journal.Chunk(pk, 0, PartKind.REASONING, 0, "Let me ", 900),
            journal.Chunk(pk, 1, PartKind.TEXT, 0, "Yes", 2_000),
        ]
    )
    journal.commit(chunks=[journal.Chunk(pk, 0, PartKind.REASONING, 7, "think.", 2_000)])
    watch = HeartbeatWatch[int](30)
    assert reaper.reap(watch=watch, spared=(), now=timezone.now(), monotonic=0)
    generation = Generation.objects.get(pk=pk)
    assert (generation.status, generation.message.text) == ("interrupted", "Yes")
    assert parts_of(generation.message) == [(0, "reasoning", 0, "Let me think.")]
    assert MessagePart.objects.get().duration_ms == 2_000
    assert generation.reasoning_tokens == 4
    assert generation.completion_tokens == 5
    content = snapshots.of_answer(generation.message, includes_context=False)
    assert [message["reasoning"] for message in content["messages"]] == ["", "Let me think."]


# --- Following ---


@pytest.fixture
async def claimed(transactional_db: None, alice: User, model: ChatModel) -> journal.Job:
    """A generation that another process writes."""
    await start(alice)
    [job] = await database_sync_to_async(journal.claim)(runner="elsewhere:1:a", limit=1, now=timezone.now())
    assert isinstance(job, journal.Job)
    return job


async def commit(job: journal.Job, part: int, kind: PartKind, offset: int, text: str) -> None:
    chunk = journal.Chunk(job.generation_id, part, kind, offset, text, 5_000)
    await database_sync_to_async(journal.commit)(chunks=[chunk])


def viewer(alice: User, job: journal.Job, cursor: feed.Cursor) -> AsyncIterator[Any]:
    return feed.follow(hub=current_hub(), user=alice, conversation_id=job.conversation_id, cursor=cursor)


async def test_other_processes_read_reasoning_from_the_journal_and_reconnecting_viewers_get_all_of_it(
    alice: User, claimed: journal.Job
) -> None:
    await commit(claimed, 0, PartKind.REASONING, 0, "So I ")
    events = viewer(alice, claimed, feed.Cursor())
    async with asyncio.timeout(10):
        added = await anext(events)
        assert (added.entries[-1].reasoning, added.entries[-1].is_reasoning) == ("So I ", True)
        await commit(claimed, 0, PartKind.REASONING, 5, "think.")
        assert await anext(events) == feed.Reasoned("think.", 5_000)
        await commit(claimed, 1, PartKind.TEXT, 0, "Said.")
        assert await anext(events) == feed.Grown("Said.")

        generation = await Generation.objects.select_related("message").aget(pk=claimed.generation_id)
        stands = feed.Cursor(generation.message.uuid, generation.uuid, 2, True)
        back = viewer(alice, claimed, stands)
        resumed = await anext(back)
        assert isinstance(resumed, feed.Resumed)
        assert (resumed.entry.reasoning, resumed.entry.is_reasoning) == ("So I think.", False)
        assert await anext(back) == feed.Grown("id.")

        outcome = ending.Outcome(status=Generation.Status.COMPLETE, text="Said.", parts=())
        await database_sync_to_async(ending.interrupt)(generation, now=timezone.now())
        assert not await database_sync_to_async(ending.finish)(
            job=claimed, runner="elsewhere:1:a", outcome=outcome, request=None, now=timezone.now()
        )
        current_hub().announce(claimed.conversation_id)
        ended = await anext(events)
        assert isinstance(ended, feed.Ended)
        assert ended.entry.reasoning == "So I think."
    for following in (events, back):
        await following.aclose()  # type: ignore[attr-defined]


async def test_hidden_reasoning_is_not_shown(alice: User, claimed: journal.Job) -> None:
    await commit(claimed, 0, PartKind.REASONING, 0, "So I think.")
    await Message.objects.filter(pk=claimed.message_id).aupdate(hidden_at=timezone.now())
    events = viewer(alice, claimed, feed.Cursor())
    assert (await anext(events)).entries[-1].reasoning == ""
    await events.aclose()  # type: ignore[attr-defined]
