"""The statements that read branches return what the ORM would."""

import datetime as dt
import uuid
from typing import Any

import pytest
from django.db import models
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.generation.transcript import read_branch, read_entries
from conversations.chat.models import Conversation, Generation, Message, MessagePart, branches
from tests.factories import make_answer, make_turn

pytestmark = pytest.mark.django_db


@pytest.fixture
def conversation(alice: User, model: ChatModel) -> Conversation:
    """Three turns: a hidden answer, one that was continued and has reasoning, and one still in the queue."""
    first = make_answer(alice, "Bad.", prompt="One")
    Message.objects.filter(pk=first.pk).update(hidden_at=timezone.now(), vetted_text="Good.", revision=3)
    second = make_answer(alice, "Half … whole.", prompt="Two", conversation=first.conversation)
    MessagePart.objects.create(
        message=second, position=0, kind="reasoning", offset=0, text="Hm.", duration_ms=700
    )
    Generation.objects.create(
        conversation=first.conversation,
        message=second,
        model=model,
        client_id=uuid.uuid4(),
        max_tokens=7,
        parameters={"temperature": 0.5},
        offset=6,
        status="stopped",
        created_at=timezone.now(),
        ended_at=timezone.now(),
        retry_at=timezone.now() + dt.timedelta(seconds=5),
    )
    make_turn(alice, "Three", conversation=first.conversation)
    return Conversation.objects.get()


def values(instance: models.Model) -> dict[str, Any]:
    return {field.attname: getattr(instance, field.attname) for field in instance._meta.concrete_fields}


def test_a_branch_is_read_as_by_the_orm(conversation: Conversation) -> None:
    read = branches.read_branch(conversation.head_id, limit=50)
    messages = list(Message.objects.order_by("depth"))
    assert len(messages) == 6
    assert [values(found.message) for found in read] == [values(message) for message in messages]
    for found, message in zip(read, messages, strict=True):
        newest = message.generations.order_by("-pk").first()
        assert (found.generation is None) == (newest is None) == (message.role == "user")
        assert found.has_parts == message.parts.exists()
        if newest is not None:
            assert values(found.generation) == values(newest)
            assert values(found.generation.model) == values(newest.model)
            assert found.generation.message is found.message
    ids = [message.pk for message in messages]
    assert branches.branch_ids(conversation.head_id, limit=50) == ids[::-1]
    sent = branches.branch_messages(conversation.head_id, limit=50)
    assert {"uuid", "created_at"} < sent[0].get_deferred_fields()
    assert [values(message) for message in sent] == [values(message) for message in reversed(messages)]
    assert [values(found.message) for found in branches.read_messages(ids[2:4])] == [
        values(message) for message in messages[2:4]
    ]


def test_a_branch_is_read_up_to_a_message_or_a_limit(alice: User, conversation: Conversation) -> None:
    ids = list(Message.objects.order_by("depth").values_list("pk", flat=True))
    elsewhere = make_answer(alice).pk

    def read(limit: int, since: int | None) -> list[int]:
        found = branches.read_branch(conversation.head_id, limit=limit, since=since)
        return [each.message.pk for each in found]

    assert read(50, ids[3]) == ids[3:]
    assert read(50, ids[-1]) == ids[-1:]
    assert read(50, elsewhere) == ids
    assert read(2, ids[0]) == read(2, None) == ids[-2:]
    assert branches.read_branch(None, limit=50) == branches.read_messages([]) == []
    assert branches.branch_ids(None, limit=50) == branches.branch_messages(None, limit=50) == []


def test_a_branch_takes_one_query_and_one_more_for_each_of_parts_and_journal(
    conversation: Conversation, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(3):
        entries = read_branch(conversation, limit=50)
        assert [
            (entry.text, entry.reasoning, entry.reasoning_ms) for entry in entries if entry.generation
        ] == [
            ("Good.", "", 0),
            ("Half … whole.", "Hm.", 700),
            ("", "", 0),
        ]
    with django_assert_num_queries(1):
        assert [entry.text for entry in read_entries([entries[0].message.pk, entries[1].message.pk])] == [
            "One",
            "Good.",
        ]
