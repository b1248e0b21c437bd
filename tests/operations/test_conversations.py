"""What a person does to a conversation as a whole, beside those who write in it."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from conversations.generation import journal
from conversations.models import ChatModel, Conversation, Generation, User
from conversations.operations import turns
from conversations.operations.conversations import delete_conversation
from tests.site import wait_until


def locks_waited_for() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time.")
def test_deleting_waits_for_an_answer_that_is_just_ending(alice: User, model: ChatModel) -> None:
    turn = turns.start_turn(
        user=alice, conversation=None, text="Hello", client_id=uuid.uuid4(), now=timezone.now()
    )
    [job] = journal.claim(owner="a", limit=1, now=timezone.now())
    is_ending, go_on = threading.Event(), threading.Event()

    def wait_in_the_middle(execute: Any, statement: str, *rest: Any) -> Any:
        if statement.startswith('UPDATE "conversations_conversation"'):
            is_ending.set()
            go_on.wait(10)
        return execute(statement, *rest)

    def finish() -> bool:
        outcome = journal.Outcome(status=Generation.Status.COMPLETE, text="Hi.")
        try:
            with connection.execute_wrapper(wait_in_the_middle):
                return journal.finish(job=job, owner="a", outcome=outcome, now=timezone.now())
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
        # PostgreSQL ends one of two that wait for each other with an error.
        assert finishing.result(10)
        deleting.result(10)
    assert not Conversation.objects.exists()
