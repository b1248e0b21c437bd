"""Tests for running a generation from the queue to its end, with the real client connected to the fake upstream."""

import asyncio
import uuid
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.conf import LazySettings
from django.db import OperationalError, connection
from django.utils import timezone

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.generation.live import current_hub
from conversations.chat.generation.runner import Runner
from conversations.chat.generation.service import Service
from conversations.chat.models import ErrorCode, Generation, GenerationChunk, Message
from conversations.chat.rules import can_continue
from conversations.chat.services import turns
from conversations.llm.errors import UpstreamErrorCode
from tests.chat.generation.helpers import has_ended, start, until
from tests.fakes import RunningUpstream

pytestmark = pytest.mark.django_db(transaction=True)


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


async def test_failed_answers_are_not_sent(
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


async def test_only_messages_that_fit_are_sent(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    upstream.answer_with("reply " * 1_400)
    first = await until(has_ended, await start(alice, "word " * 1_400))
    second = await until(has_ended, await start(alice, "short", conversation=first.conversation.uuid))
    assert second.trimmed_messages == 2
    assert [message["content"] for message in upstream.requests[-1].messages][1:] == ["short"]


async def test_the_models_parameters_are_sent(
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
        ("tool-call", "failed", "tool_call", ""),
        ("huge-line", "failed", "too_large", "This answer begins well, "),
        ("cut", "interrupted", "interrupted", "This answer begins well, "),
        ("no-end", "interrupted", "interrupted", "This answer begins well, "),
        ("stall", "failed", "timeout", "This answer begins well, "),
        ("silence", "failed", "timeout", ""),
        ("json", "complete", "", "The whole answer at once."),
        ("length", "complete", "", "This answer begins well, and then it is cut"),
        ("content-filter", "complete", "", "This answer begins well, "),
        ("broken-chunks", "complete", "", "This answer begins well, and ends."),
        ("unfinished", "complete", "", "This answer begins well, and ends."),
        ("refusal", "complete", "", "I can't help with that."),
        ("surrogates", "complete", "", "A smile: \N{GRINNING FACE} and a NUL: ."),
        ("u2028", "complete", "", "One line\u2028and\u0085another."),
    ],
)
async def test_every_fault_ends_the_generation(
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
    is_cut = generation.finish_reason == "length"
    assert can_continue(generation) is (is_cut if status == "complete" else code != "context_length")
    assert not await GenerationChunk.objects.aexists()


async def test_a_long_retry_wait_is_shown(
    alice: User, model: ChatModel, upstream: RunningUpstream, service: Service
) -> None:
    upstream.fault = "rate-limit-long"
    generation = await until(has_ended, await start(alice))
    assert generation.retry_at is not None
    wait = (generation.retry_at - timezone.now()).total_seconds()
    assert 60 < wait <= 120


async def test_an_unreachable_service(
    alice: User, model: ChatModel, service: Service, settings: LazySettings
) -> None:
    settings.OPENAI_BASE_URL = "http://127.0.0.1:9/v1"
    generation = await until(has_ended, await start(alice), seconds=20)
    assert (generation.status, generation.error_code) == ("failed", "unreachable")


async def test_missing_usage_is_estimated(
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


async def test_an_answer_continues_where_it_stopped(
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


async def test_a_model_that_supports_prefill_gets_one(
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


async def test_draining_right_after_a_claim_interrupts_the_generation(
    alice: User, model: ChatModel, upstream: RunningUpstream
) -> None:
    class Drained(Runner):
        async def _claim(self) -> None:
            await super()._claim()
            if self._running:
                # Start draining before the claimed generation has taken its first step.
                ending = self.drain()
                ending.send(None)
                ending.close()

    upstream.answer_with("Shown ", upstream.hold(), "never")
    generation = await start(alice)
    await asyncio.wait_for(Drained(current_hub()).run(), 5)
    assert (await Generation.objects.aget(pk=generation.pk)).status == "interrupted"


async def test_an_unavailable_journal_is_retried_and_logged_once(
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

    await database_sync_to_async(rename_table)("chat_generationchunk", "elsewhere")
    try:
        gate.release()
        await asyncio.to_thread(end.wait_until_reached)
        await asyncio.sleep(1.5)
    finally:
        await database_sync_to_async(rename_table)("elsewhere", "chat_generationchunk")
    said = [record for record in caplog.records if "journal could not be written" in record.message]
    assert [(record.levelname, record.exc_info) for record in said] == [("ERROR", None)]

    async def is_in_the_journal(_found: Generation) -> bool:
        return await written(generation) == "Once upon a "

    await until(is_in_the_journal, generation)
    end.release()
    ended = await until(has_ended, generation)
    assert (ended.status, ended.message.text) == ("complete", "Once upon a time.")
    assert len([record for record in caplog.records if "recovered" in record.message]) == 1
    # A traceback would reveal the conversation.
    assert "Once" not in caplog.text


def rename_table(name: str, other: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {name} RENAME TO {other}")


def test_every_upstream_error_has_a_message() -> None:
    assert {code.value for code in UpstreamErrorCode} <= set(ErrorCode.values)


async def test_building_the_request_is_retried_after_the_claim(
    alice: User, model: ChatModel, upstream: RunningUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.answer_with("Here.")
    generation = await start(alice)

    # Building the request reads the branch, but claiming doesn't.
    def fail(execute: Any, statement: str, *rest: Any) -> Any:
        if "RECURSIVE" in statement:
            raise OperationalError("The database is away.")
        return execute(statement, *rest)

    wrappers = await database_sync_to_async(lambda: connection.execute_wrappers)()
    wrappers.append(fail)
    runner = Runner(current_hub())
    running = asyncio.create_task(runner.run())
    try:
        await until(lambda found: found.status == "running", generation)
        await until(lambda _: "request could not be prepared" in caplog.text, generation)
    finally:
        wrappers.remove(fail)
    ended = await until(has_ended, generation)
    await runner.drain()
    await running
    assert (ended.status, ended.message.text) == ("complete", "Here.")


async def test_a_context_window_that_shrank_fails_with_a_reason(
    alice: User, model: ChatModel, upstream: RunningUpstream
) -> None:
    generation = await start(alice, "word " * 1_400)
    await ChatModel.objects.aupdate(context_window=1_030)
    runner = Runner(current_hub())
    running = asyncio.create_task(runner.run())
    ended = await until(has_ended, generation)
    await runner.drain()
    await running
    assert (ended.status, ended.error_code, ended.prompt_tokens) == ("failed", "context_length", None)
    assert upstream.requests == []
