"""From the queue to the end of an answer, through the real client and a real socket to the fake service."""

import asyncio
import datetime as dt
import socket
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.conf import LazySettings
from django.db import OperationalError, connection
from django.utils import timezone

from conversations.generation import journal
from conversations.generation.live import current_hub
from conversations.generation.runner import Runner
from conversations.generation.service import Service
from conversations.models import ChatModel, Generation, GenerationChunk, Message, User
from conversations.operations import turns
from tests.fakes import RunningUpstream

pytestmark = pytest.mark.django_db(transaction=True)


async def start(user: User, text: str = "Hello", **values: Any) -> Generation:
    turn = await database_sync_to_async(turns.start_turn)(
        user=user,
        text=text,
        **{"conversation": None, "client_id": uuid.uuid4(), "now": timezone.now(), **values},
    )
    return turn.generation


async def until(
    is_so: Callable[[Generation], Any], generation: Generation, *, seconds: float = 10
) -> Generation:
    """Look at the row until something is so."""
    async with asyncio.timeout(seconds):
        while True:
            found = await Generation.objects.select_related("message", "conversation").aget(pk=generation.pk)
            result = is_so(found)
            if isinstance(result, Awaitable):
                result = await result
            if result:
                return found
            await asyncio.sleep(0.01)


def has_ended(generation: Generation) -> bool:
    return not generation.is_active


async def written(generation: Generation) -> str:
    return "".join([chunk.text async for chunk in generation.chunks.order_by("offset")])


async def test_an_answer_is_written(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service, settings: LazySettings
) -> None:
    upstream.answer_with("Hel", "lo, ", "Alice.")
    generation = await until(has_ended, await start(alice, "Who am I?"))

    assert (generation.status, generation.finish_reason, generation.error_code) == ("complete", "stop", "")
    assert generation.message.text == "Hello, Alice."
    assert generation.started_at and generation.first_token_at and generation.ended_at
    assert generation.completion_tokens == 3
    assert not generation.usage_is_estimated
    assert not await GenerationChunk.objects.aexists()
    [request] = upstream.requests
    assert request.body["stream_options"] == {"include_usage": True}
    assert request.body["max_tokens"] == 1_024
    assert request.messages == [
        {"role": "system", "content": settings.CHAT_SYSTEM_PROMPT},
        {"role": "user", "content": "Who am I?"},
    ]


async def test_the_conversation_is_sent_without_answers_that_failed(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    first = await until(has_ended, await start(alice, "One"))
    upstream.respond_with("blocked")
    await until(has_ended, await start(alice, "Two", conversation=first.conversation.uuid))
    await until(has_ended, await start(alice, "Three", conversation=first.conversation.uuid))
    sent = [(message["role"], message["content"]) for message in upstream.requests[-1].messages]
    assert sent[1:] == [
        ("user", "One"),
        ("assistant", first.message.text),
        ("user", "Two"),
        ("user", "Three"),
    ]


async def test_only_what_fits_is_sent(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    upstream.answer_with("reply " * 1_400)
    first = await until(has_ended, await start(alice, "word " * 1_400))
    second = await until(has_ended, await start(alice, "short", conversation=first.conversation.uuid))
    assert second.trimmed_messages == 2
    assert [message["content"] for message in upstream.requests[-1].messages][1:] == ["short"]


async def test_parameters_of_the_catalogue_are_sent(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service, settings: LazySettings
) -> None:
    settings.OPENAI_API_KEY = "sk-test"
    settings.OPENAI_ORGANIZATION = "org"
    settings.OPENAI_PROJECT = "proj"
    model.parameters = {"temperature": 0.5, "seed": 7, "stop": ["END"]}
    model.max_tokens_parameter = "max_completion_tokens"
    await model.asave()
    await until(has_ended, await start(alice, max_tokens=9))
    [request] = upstream.requests
    assert request.body["temperature"] == 0.5
    assert request.body["seed"] == 7
    assert request.body["stop"] == ["END"]
    assert request.body["max_completion_tokens"] == 9
    assert "max_tokens" not in request.body
    assert request.headers["authorization"] == "Bearer sk-test"
    assert request.headers["openai-organization"] == "org"
    assert request.headers["openai-project"] == "proj"


@pytest.mark.parametrize(
    ("fault", "status", "code", "text"),
    [
        ("unauthorized", "failed", "unauthorized", ""),
        ("rate-limit-long", "failed", "rate_limited", ""),
        ("quota", "failed", "quota", ""),
        ("not-found", "failed", "not_found", ""),
        ("context-length", "failed", "context_length", ""),
        ("blocked", "failed", "content_filter", ""),
        ("html", "failed", "protocol", ""),
        ("redirect", "failed", "protocol", ""),
        ("error", "failed", "server_error", "This answer begins well, "),
        ("bad-json", "failed", "protocol", "This answer begins well, "),
        ("huge-line", "failed", "too_large", "This answer begins well, "),
        ("cut", "interrupted", "interrupted", "This answer begins well, "),
        ("no-end", "interrupted", "interrupted", "This answer begins well, "),
        ("stall", "failed", "timeout", "This answer begins well, "),
        ("silence", "failed", "timeout", ""),
        ("json", "complete", "", "The whole answer at once."),
        ("length", "complete", "", "This answer begins well, and then it is cut"),
        ("content-filter", "complete", "", "This answer begins well, "),
        ("surrogates", "complete", "", "A smile: \N{GRINNING FACE} and a NUL: ."),
        ("u2028", "complete", "", "One line\u2028and\u0085another."),
    ],
)
async def test_every_fault_has_an_end(
    alice: User,
    model: ChatModel,
    upstream: RunningUpstream,
    service: Service,
    settings: LazySettings,
    fault: str,
    status: str,
    code: str,
    text: str,
) -> None:
    settings.UPSTREAM_IDLE_SECONDS = settings.UPSTREAM_FIRST_BYTE_SECONDS = 0.3
    settings.UPSTREAM_ANSWER_SECONDS = 5
    upstream.fault = fault
    generation = await until(has_ended, await start(alice, "A secret question"))
    assert (generation.status, generation.error_code, generation.message.text) == (status, code, text)
    assert turns.can_continue(generation) is (status != "complete" or generation.finish_reason == "length")
    assert not await GenerationChunk.objects.aexists()


async def test_a_long_wait_is_said(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    upstream.fault = "rate-limit-long"
    generation = await until(has_ended, await start(alice))
    assert generation.retry_at is not None
    wait = (generation.retry_at - timezone.now()).total_seconds()
    assert 60 < wait <= 120


async def test_a_service_that_is_not_there(
    alice: User, model: ChatModel, service: Service, settings: LazySettings
) -> None:
    settings.OPENAI_BASE_URL = "http://127.0.0.1:9/v1"
    generation = await until(has_ended, await start(alice), seconds=20)
    assert (generation.status, generation.error_code) == ("failed", "unreachable")


async def test_usage_that_was_not_said_is_estimated(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    upstream.fault = "no-usage"
    generation = await until(has_ended, await start(alice))
    assert generation.usage_is_estimated
    assert generation.prompt_tokens and generation.completion_tokens


async def test_stop_closes_the_upstream_and_keeps_the_text(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    upstream.answer_with("Once upon ", "a time ", upstream.hold(), "there was nothing more.")
    generation = await start(alice)

    async def is_in_the_journal(found: Generation) -> bool:
        return await written(found) == "Once upon a time "

    await until(is_in_the_journal, generation)
    await database_sync_to_async(turns.request_stop)(
        user=alice, message=generation.message.uuid, now=timezone.now()
    )
    ended = await until(has_ended, generation)

    assert (ended.status, ended.message.text) == ("stopped", "Once upon a time ")
    assert ended.usage_is_estimated and ended.completion_tokens
    await asyncio.to_thread(upstream.wait_for_disconnect)


async def test_draining_interrupts_and_keeps_the_text(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    gate = upstream.hold()
    upstream.answer_with("As far as ", gate, "this.")
    generation = await start(alice)
    await asyncio.to_thread(gate.wait_until_reached)
    await until(lambda found: found.status == "running", generation)
    await service.drain()

    ended = await Generation.objects.select_related("message").aget(pk=generation.pk)
    assert (ended.status, ended.message.text) == ("interrupted", "As far as ")


async def test_an_answer_goes_on_where_it_stopped(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    upstream.respond_with("cut")
    first = await until(has_ended, await start(alice, "Tell me"))
    upstream.answer_with("and ends.")
    more = await database_sync_to_async(turns.continue_answer)(
        user=alice, message=first.message.uuid, client_id=uuid.uuid4(), now=timezone.now()
    )
    ended = await until(has_ended, more)

    assert ended.message.text == "This answer begins well, and ends."
    assert (ended.status, ended.message_id) == ("complete", first.message_id)
    roles = [message["role"] for message in upstream.requests[-1].messages]
    assert roles == ["system", "user", "assistant", "user"]


async def test_a_model_that_continues_a_prefill_gets_one(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    model.supports_prefill = True
    await model.asave()
    upstream.respond_with("cut")
    first = await until(has_ended, await start(alice))
    more = await database_sync_to_async(turns.continue_answer)(
        user=alice, message=first.message.uuid, client_id=uuid.uuid4(), now=timezone.now()
    )
    await until(has_ended, more)
    assert upstream.requests[-1].messages[-1] == {"role": "assistant", "content": "This answer begins well, "}


async def test_a_deleted_conversation_ends_its_generation(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    gate = upstream.hold()
    upstream.answer_with("Never ", gate, "kept.")
    generation = await start(alice)
    await asyncio.to_thread(gate.wait_until_reached)
    await generation.conversation.adelete()
    await asyncio.to_thread(upstream.wait_for_disconnect)
    assert not await Message.objects.aexists()


async def test_to_drain_right_after_a_claim_ends_what_was_claimed(
    alice: User, model: ChatModel, upstream: RunningUpstream
) -> None:
    class Drained(Runner):
        async def _claim(self) -> None:
            await super()._claim()
            if self._running:
                # Its first step: before the claimed generation has had one.
                ending = self.drain()
                ending.send(None)
                ending.close()

    upstream.answer_with("Shown ", upstream.hold(), "never")
    generation = await start(alice)
    await asyncio.wait_for(Drained(current_hub()).run(), 5)
    assert (await Generation.objects.aget(pk=generation.pk)).status == "interrupted"


async def test_a_journal_that_is_away_is_tried_again_now_and_then(
    alice: User,
    model: ChatModel,
    upstream: RunningUpstream,
    service: Service,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate, end = upstream.hold(), upstream.hold()
    upstream.answer_with("Once ", gate, "upon a ", end, "time.")
    generation = await start(alice)
    await asyncio.to_thread(gate.wait_until_reached)
    await until(written, generation)

    await database_sync_to_async(rename_table)("conversations_generationchunk", "elsewhere")
    try:
        gate.release()
        await asyncio.to_thread(end.wait_until_reached)
        await asyncio.sleep(1.5)
    finally:
        await database_sync_to_async(rename_table)("elsewhere", "conversations_generationchunk")
    failures = [record for record in caplog.records if "journal could not be written" in record.message]
    assert 1 <= len(failures) <= 12

    async def is_in_the_journal(_found: Generation) -> bool:
        return await written(generation) == "Once upon a "

    await until(is_in_the_journal, generation)
    end.release()
    ended = await until(has_ended, generation)
    assert (ended.status, ended.message.text) == ("complete", "Once upon a time.")


def rename_table(name: str, other: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {name} RENAME TO {other}")


# --- The journal by itself ---


def running(alice: User, *, owner: str, heartbeat: dt.datetime) -> Generation:
    turn = turns.start_turn(
        user=alice, conversation=None, text="Hello", client_id=uuid.uuid4(), now=timezone.now()
    )
    Generation.objects.filter(pk=turn.generation.pk).update(
        status="running", owner=owner, started_at=heartbeat, heartbeat_at=heartbeat
    )
    GenerationChunk.objects.create(generation=turn.generation, offset=0, text="Partial ")
    GenerationChunk.objects.create(generation=turn.generation, offset=8, text="text")
    return turn.generation


LEASE = dt.timedelta(seconds=30)


@pytest.mark.parametrize(
    ("owner", "age", "is_reaped"),
    [
        ("elsewhere:1:a", 31, True),
        ("elsewhere:1:a", 29, False),
        (f"{journal._HOST}:4194999:a", 1, True),  # No process has a number beyond the kernel's largest.
        (f"{journal._HOST}:1:a", 1, False),
        # Another container may have this one's name, but its processes are not to be seen from here.
        (f"{socket.gethostname()}:4194999:a", 1, False),
    ],
)
def test_dead_runners_are_reaped(
    alice: User, model: ChatModel, owner: str, age: int, is_reaped: bool
) -> None:
    now = timezone.now()
    generation = running(alice, owner=owner, heartbeat=now - dt.timedelta(seconds=age))
    reaped = journal.reap(now=now, lease=LEASE)
    generation.refresh_from_db()
    generation.message.refresh_from_db()
    assert bool(reaped) is is_reaped
    if is_reaped:
        assert (generation.status, generation.message.text) == ("interrupted", "Partial text")
        assert not GenerationChunk.objects.exists()
    else:
        assert (generation.status, generation.message.text) == ("running", "")


def test_another_start_of_the_same_process_number_is_reaped(alice: User, model: ChatModel) -> None:
    mine, stale = journal.make_owner(), journal.make_owner()
    journal._owners_here.discard(stale)
    now = timezone.now()
    first = running(alice, owner=mine, heartbeat=now)
    second = running(alice, owner=stale, heartbeat=now)
    journal.reap(now=now, lease=LEASE)
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, second.status) == ("running", "interrupted")


def test_only_one_gives_a_generation_its_end(alice: User, model: ChatModel) -> None:
    turns.start_turn(user=alice, conversation=None, text="Hello", client_id=uuid.uuid4(), now=timezone.now())
    [job] = journal.claim(owner="a", limit=5, now=timezone.now())
    assert journal.claim(owner="b", limit=5, now=timezone.now()) == []
    outcome = journal.Outcome(status=Generation.Status.COMPLETE, text="Mine")
    other = journal.Outcome(status=Generation.Status.STOPPED, text="Other")
    assert not journal.finish(job=job, owner="b", outcome=other, now=timezone.now())
    assert journal.finish(job=job, owner="a", outcome=outcome, now=timezone.now())
    assert not journal.finish(job=job, owner="a", outcome=other, now=timezone.now())
    assert Message.objects.get(pk=job.message_id).text == "Mine"


def test_a_commit_of_which_nobody_knows_whether_it_came_through_is_made_again(
    alice: User, model: ChatModel
) -> None:
    turns.start_turn(user=alice, conversation=None, text="Hello", client_id=uuid.uuid4(), now=timezone.now())
    [job] = journal.claim(owner="a", limit=5, now=timezone.now())
    for _ in range(2):
        journal.commit(chunks=[(job.generation_id, 0, "Once")])
    assert [chunk.text for chunk in GenerationChunk.objects.all()] == ["Once"]


def test_a_claim_that_is_cut_off_leaves_the_queue_as_it_was(alice: User, model: ChatModel) -> None:
    turns.start_turn(user=alice, conversation=None, text="Hello", client_id=uuid.uuid4(), now=timezone.now())

    def cut_off(execute: Any, statement: str, *rest: Any) -> Any:
        if "RECURSIVE" in statement:
            raise OperationalError("The connection is gone.")
        return execute(statement, *rest)

    with connection.execute_wrapper(cut_off), pytest.raises(OperationalError):
        journal.claim(owner="a", limit=5, now=timezone.now())
    assert Generation.objects.get().status == "queued"
    assert len(journal.claim(owner="b", limit=5, now=timezone.now())) == 1


def test_text_of_a_generation_that_has_ended_is_passed_over(alice: User, model: ChatModel) -> None:
    turns.start_turn(user=alice, conversation=None, text="Hello", client_id=uuid.uuid4(), now=timezone.now())
    [job] = journal.claim(owner="a", limit=5, now=timezone.now())
    outcome = journal.Outcome(status=Generation.Status.COMPLETE, text="Done")
    journal.finish(job=job, owner="a", outcome=outcome, now=timezone.now())
    journal.commit(chunks=[(job.generation_id, 4, " late"), (10**9, 0, "nobody's")])
    assert not GenerationChunk.objects.exists()
