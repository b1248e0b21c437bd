"""Each statement of a turn is what the ORM would run with the same values, and a turn runs no more of them than today."""

import dataclasses
import datetime as dt
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from conversations.accounts import services as accounts
from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.generation import journal
from conversations.chat.models import (
    Conversation,
    Generation,
    GenerationChunk,
    Message,
    PartKind,
    statements,
)
from tests.factories import make_answer, make_turn

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)


def sql_of(call: Callable[[], object]) -> list[str]:
    """Return the statements that a call runs, without parentheses, of which the ORM sometimes writes more."""
    with CaptureQueriesContext(connection) as captured, transaction.atomic():
        call()
    found = [re.sub(r"[()]", "", query["sql"]) for query in captured.captured_queries]
    return [statement for statement in found if "SAVEPOINT" not in statement]


def assert_same(ours: Callable[[], object], orm: Callable[[], object]) -> None:
    assert sql_of(ours) == sql_of(orm) != []


def test_reads(alice: User, model: ChatModel) -> None:
    client_id, public_id = uuid.uuid4(), uuid.uuid4()
    assert_same(
        lambda: accounts.lock_user(alice.pk),
        lambda: list(User.objects.select_for_update().filter(pk=alice.pk)),
    )
    assert_same(
        lambda: statements.sent_message.first(author=alice.pk, client_id=client_id),
        lambda: list(Message.objects.filter(author=alice, client_id=client_id).values_list("pk")),
    )
    assert_same(
        lambda: statements.conversation_to_write_in.first(owner=alice.pk, uuid=public_id),
        lambda: list(
            Conversation.objects.visible_to(alice)
            .select_for_update(of=("self",))
            .filter(uuid=public_id)
            .annotate(
                head_depth=F("head__depth"),
                is_writing=Exists(Generation.objects.active().filter(conversation=OuterRef("pk"))),
            )
        ),
    )


def test_changes(alice: User, model: ChatModel) -> None:
    generation = make_turn(alice, "Hi").generation
    conversation, message = generation.conversation, generation.message
    assert_same(
        lambda: statements.move_head(id=conversation.pk, head=message.pk, last_activity_at=NOW),
        lambda: Conversation.objects.filter(pk=conversation.pk).update(head=message, last_activity_at=NOW),
    )
    assert_same(
        lambda: statements.touch_conversation(id=conversation.pk, last_activity_at=NOW),
        lambda: Conversation.objects.filter(pk=conversation.pk).update(last_activity_at=NOW),
    )
    assert_same(
        lambda: statements.set_shown_text(
            id=message.pk, text="100 % “ok”", token_count=4, token_vocabulary="o200k_base"
        ),
        lambda: Message.objects.filter(pk=message.pk, hidden_at__isnull=True).update(
            text="100 % “ok”", token_count=4, token_vocabulary="o200k_base"
        ),
    )
    assert_same(
        lambda: statements.delete_journal(generation=generation.pk),
        lambda: GenerationChunk.objects.filter(generation=generation).delete(),
    )
    ended: dict[str, Any] = {
        "status": Generation.Status.COMPLETE,
        "finish_reason": "stop",
        "error_code": "",
        "retry_at": None,
        "first_token_at": NOW,
        "heartbeat_at": NOW,
        "ended_at": NOW,
        "prompt_tokens": 3,
        "completion_tokens": None,
        "reasoning_tokens": None,
        "usage_is_estimated": True,
    }
    assert_same(
        lambda: statements.end_generation(id=generation.pk, runner="a", **ended),
        lambda: Generation.objects.filter(
            pk=generation.pk, status=Generation.Status.RUNNING, runner="a"
        ).update(**ended),
    )


def test_inserts(alice: User, model: ChatModel) -> None:
    answer = make_answer(alice, "Hello")
    conversation = answer.conversation

    def made() -> list[Any]:
        common: dict[str, Any] = {"conversation": conversation, "created_at": NOW}
        message = Message(parent=answer, depth=2, role="user", author=alice, text="?", **common)
        message.uuid = message.client_id = uuid.UUID(int=1)
        generation = Generation(
            message=answer, model=model, client_id=uuid.UUID(int=2), max_tokens=5, **common
        )
        generation.uuid = uuid.UUID(int=3)
        own = Conversation(owner=alice, title="Hi", created_at=NOW, last_activity_at=NOW)
        own.uuid = uuid.UUID(int=4)
        return [message, generation, own]

    def insert() -> None:
        message, generation, own = made()
        statements.insert_message(message)
        statements.insert_generation(generation)
        statements.insert_conversation(own)
        transaction.set_rollback(True)

    def save() -> None:
        for each in made():
            each.save(force_insert=True)
        transaction.set_rollback(True)

    assert_same(insert, save)


def test_chunks(alice: User, model: ChatModel) -> None:
    generation = make_turn(alice, "Hi").generation
    chunks = [
        journal.Chunk(generation.pk, 0, PartKind.REASONING, 0, "Hm. %", 700),
        journal.Chunk(generation.pk, 1, PartKind.TEXT, 0, "One", 700),
    ]
    values = [dataclasses.asdict(chunk) for chunk in chunks]
    statements.insert_missing_chunks(chunks[:1])
    statements.insert_missing_chunks(chunks)
    stored = GenerationChunk.objects.order_by("part")
    assert list(stored.values(*values[0])) == values
    [ours] = sql_of(lambda: statements.insert_missing_chunks(chunks[:1]))
    [orm] = sql_of(
        lambda: GenerationChunk.objects.bulk_create([GenerationChunk(**values[0])], ignore_conflicts=True)
    )
    assert orm.split("VALUES")[0] in ours


def test_the_owner_alone_may_write_and_only_in_conversations_in_view(
    alice: User, charlie: User, model: ChatModel
) -> None:
    conversation = make_answer(alice, "Hello").conversation

    def found(user: User) -> Conversation | None:
        return statements.conversation_to_write_in.first(owner=user.pk, uuid=conversation.uuid)

    assert found(alice) == conversation
    assert found(charlie) is None
    Conversation.objects.update(archived_at=timezone.now())
    assert found(alice) is None
