"""Tests of deleting conversations while answers are being written."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.generation import ending, journal
from conversations.chat.models import Conversation, Generation
from conversations.chat.services.conversations import delete_conversation
from tests.factories import make_answer, make_report, make_turn
from tests.site import wait_until


def locks_waited_for() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite allows one writer at a time.")
def test_deleting_waits_for_an_answer_that_is_ending(alice: User, model: ChatModel) -> None:
    turn = make_turn(alice)
    [job] = journal.claim(runner="a", limit=1, now=timezone.now())
    is_ending, go_on = threading.Event(), threading.Event()

    def wait_in_the_middle(execute: Any, statement: str, *rest: Any) -> Any:
        if statement.startswith('UPDATE "chat_conversation"'):
            is_ending.set()
            go_on.wait(10)
        return execute(statement, *rest)

    def finish() -> bool:
        outcome = ending.Outcome(status=Generation.Status.COMPLETE, text="Hi.")
        try:
            with connection.execute_wrapper(wait_in_the_middle):
                return ending.finish(job=job, runner="a", outcome=outcome, request=None, now=timezone.now())
        finally:
            connection.close()

    def delete() -> None:
        try:
            delete_conversation(user=alice, conversation=turn.conversation.uuid, now=timezone.now())
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        finishing = pool.submit(finish)
        assert is_ending.wait(10)
        deleting = pool.submit(delete)
        wait_until(locks_waited_for, what="the deletion to wait")
        go_on.set()
        # In a deadlock PostgreSQL would fail one of the two.
        assert finishing.result(10)
        deleting.result(10)
    assert not Conversation.objects.exists()


@pytest.mark.django_db
def test_deleting_a_held_conversation_stops_its_queued_generation(alice: User, model: ChatModel) -> None:
    message = make_answer(alice)
    make_report(alice, message)
    conversation = message.conversation
    turn = make_turn(alice, "More", conversation=conversation)
    assert not delete_conversation(user=alice, conversation=conversation.uuid, now=timezone.now())
    turn.generation.refresh_from_db()
    assert turn.generation.status == "stopped"
