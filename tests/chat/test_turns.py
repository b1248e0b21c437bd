"""Tests of starting turns, and of continuing and stopping answers."""

import datetime as dt
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.models import Conversation, Generation, Message
from conversations.chat.rules import can_continue
from conversations.chat.services import conversations, turns
from conversations.common.refusals import Refused

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def start(user: User, text: str = "Hello", **values: object) -> turns.Turn:
    arguments = {"conversation": None, "client_id": uuid.uuid4(), "now": NOW, **values}
    return turns.start_turn(user=user, text=text, **arguments)  # type: ignore[arg-type]


def end(generation: Generation, *, status: str = "complete", text: str = "Hi.", **values: object) -> None:
    Generation.objects.filter(pk=generation.pk).update(
        status=status, ended_at=NOW, error_code="internal" if status == "failed" else "", **values
    )
    Message.objects.filter(pk=generation.message_id).update(text=text)


def test_a_first_message_starts_a_conversation(alice: User, model: ChatModel) -> None:
    turn = start(alice, "\n  What is a monad?  \nTell me.")

    assert turn.is_new
    assert turn.conversation.title == "What is a monad?"
    assert turn.conversation.owner == alice
    question, answer = turn.conversation.messages.order_by("depth")
    assert (question.role, question.text, question.author) == (
        "user",
        "\n  What is a monad?  \nTell me.",
        alice,
    )
    assert (answer.role, answer.text, answer.parent) == ("assistant", "", question)
    assert turn.conversation.head == answer
    assert (turn.generation.status, turn.generation.message) == ("queued", answer)
    assert turn.generation.max_tokens == model.max_output_tokens


def test_the_next_message_follows_the_head(alice: User, model: ChatModel) -> None:
    first = start(alice)
    end(first.generation)
    later = NOW + dt.timedelta(minutes=5)
    second = start(alice, conversation=first.conversation.uuid, now=later)

    assert not second.is_new
    assert second.generation.message.depth == 3
    second.conversation.refresh_from_db()
    assert second.conversation.last_activity_at == later
    assert second.conversation.title == "Hello"


def test_long_titles_are_shortened() -> None:
    assert turns.make_title("x" * 200) == "x" * 79 + "…"


def test_a_message_with_the_same_client_id_is_stored_once(alice: User, model: ChatModel) -> None:
    client_id = uuid.uuid4()
    first = start(alice, client_id=client_id)
    again = start(alice, client_id=client_id)

    assert again.generation == first.generation
    assert Conversation.objects.count() == 1
    assert Message.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_fifty_simultaneous_sends_store_one_message(alice: User, model: ChatModel) -> None:
    client_id = uuid.uuid4()

    def send(_number: int) -> int:
        try:
            return start(alice, client_id=client_id).generation.pk
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        generations = set(pool.map(send, range(50)))
    assert len(generations) == 1
    assert Message.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_tabs_sending_at_once_queue_one_generation(alice: User, model: ChatModel) -> None:
    first = start(alice)
    end(first.generation)

    def send(_number: int) -> bool:
        try:
            start(alice, conversation=first.conversation.uuid)
        except Refused:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(send, range(8))) == 1
    assert Generation.objects.active().count() == 1


def test_no_message_is_accepted_while_an_answer_is_being_written(alice: User, model: ChatModel) -> None:
    first = start(alice)
    with pytest.raises(Refused, match="still being written"):
        start(alice, conversation=first.conversation.uuid)
    assert Message.objects.count() == 2


def test_other_users_get_nothing(alice: User, charlie: User, model: ChatModel) -> None:
    turn = start(alice)
    for attempt in (
        lambda: start(charlie, conversation=turn.conversation.uuid),
        lambda: turns.request_stop(user=charlie, message=turn.generation.message.uuid, now=NOW),
        lambda: turns.continue_answer(
            user=charlie, message=turn.generation.message.uuid, client_id=uuid.uuid4(), now=NOW
        ),
    ):
        with pytest.raises(Refused, match="Conversation not found"):
            attempt()
    turn.generation.refresh_from_db()
    assert turn.generation.status == "queued"


def test_an_inactive_account_cannot_send(alice: User, model: ChatModel) -> None:
    User.objects.update(is_active=False)
    with pytest.raises(Refused, match="not active"):
        start(alice)


@pytest.mark.parametrize("slug", ["nobody-has-this", "off", "embedded"])
def test_only_offered_models_are_accepted(alice: User, model: ChatModel, slug: str) -> None:
    common = {"label": "x", "upstream_name": "x", "context_window": 4096, "max_output_tokens": 10}
    ChatModel.objects.create(slug="off", provider="openai", enabled=False, **common)
    ChatModel.objects.create(slug="embedded", provider="embedded", **common)
    with pytest.raises(Refused, match="Choose another"):
        start(alice, model_slug=slug)


def test_without_a_model_sending_says_how_to_set_one_up(alice: User) -> None:
    with pytest.raises(Refused, match="OPENAI_API_KEY"):
        start(alice)


def test_max_tokens_can_only_lower_the_cap(alice: User, model: ChatModel, settings: LazySettings) -> None:
    assert start(alice, max_tokens=5).generation.max_tokens == 5
    settings.CHAT_MAX_OUTPUT_TOKENS = 500
    with pytest.raises(Refused, match="at most 500 tokens"):
        start(alice, max_tokens=501)


@pytest.mark.parametrize(("setting", "reason"), [("CHAR", "11 .*characters"), ("TOKEN", "token")])
def test_the_length_of_the_input_is_limited(
    alice: User, model: ChatModel, settings: LazySettings, setting: str, reason: str
) -> None:
    settings.CHAT_MAX_INPUT_CHARS = 10 if setting == "CHAR" else 1000
    settings.CHAT_MAX_INPUT_TOKENS = 1 if setting == "TOKEN" else 1000
    with pytest.raises(Refused, match=reason):
        start(alice, "one two 345")
    assert not Conversation.objects.exists()


def test_a_message_that_leaves_no_space_for_the_answer_is_refused(
    alice: User, model: ChatModel, settings: LazySettings
) -> None:
    settings.CHAT_MAX_INPUT_TOKENS = 100_000
    with pytest.raises(Refused, match="too long for the model"):
        start(alice, "word " * 3_000)


def test_the_number_of_messages_per_minute_is_limited(
    alice: User, model: ChatModel, settings: LazySettings
) -> None:
    settings.CHAT_SENDS_PER_MINUTE = 2
    start(alice)
    start(alice)
    with pytest.raises(Refused, match="Too many messages"):
        start(alice)
    start(alice, now=NOW + dt.timedelta(seconds=61))


def test_deleting_a_conversation_does_not_reset_the_limit_per_minute(
    alice: User, model: ChatModel, settings: LazySettings
) -> None:
    settings.CHAT_SENDS_PER_MINUTE = 2
    cut = start(alice)
    end(cut.generation, status="stopped", text="Half")
    turns.continue_answer(user=alice, message=cut.generation.message.uuid, client_id=uuid.uuid4(), now=NOW)
    conversations.delete_conversation(user=alice, conversation=cut.conversation.uuid, now=NOW)
    with pytest.raises(Refused, match="Too many messages"):
        start(alice, now=NOW + dt.timedelta(seconds=59))
    start(alice, now=NOW + dt.timedelta(seconds=60))


def test_a_refused_message_does_not_count_towards_the_limit_per_minute(
    alice: User, model: ChatModel, settings: LazySettings
) -> None:
    settings.CHAT_SENDS_PER_MINUTE, settings.CHAT_MAX_INPUT_CHARS = 1, 5
    with pytest.raises(Refused, match="too long"):
        start(alice, "Too long")
    start(alice, "Short")


@pytest.mark.parametrize(
    ("status", "finish_reason", "expected"),
    [
        ("queued", "", False),
        ("running", "", False),
        ("complete", "stop", False),
        ("complete", "length", True),
        ("stopped", "", True),
        ("interrupted", "", True),
        ("failed", "", True),
    ],
)
def test_which_answers_can_be_continued(status: str, finish_reason: str, expected: bool) -> None:
    assert can_continue(Generation(status=status, finish_reason=finish_reason)) is expected


def test_an_answer_in_a_conversation_that_is_too_long_cannot_be_continued() -> None:
    assert not can_continue(Generation(status="failed", error_code="context_length"))


def test_an_answer_can_be_tried_again_once_the_service_has_been_left_alone(
    alice: User, model: ChatModel
) -> None:
    turn = start(alice)
    end(turn.generation, status="failed", retry_at=NOW + dt.timedelta(seconds=20))
    message = turn.generation.message.uuid

    def try_again(seconds: float) -> Generation:
        now = NOW + dt.timedelta(seconds=seconds)
        return turns.continue_answer(user=alice, message=message, client_id=uuid.uuid4(), now=now)

    with pytest.raises(Refused, match=r"Wait 20 seconds\."):
        try_again(0.5)
    with pytest.raises(Refused, match=r"Wait 1 second\."):
        try_again(19.5)
    assert try_again(20).status == "queued"


def test_continuing_an_answer_extends_the_same_message(alice: User, model: ChatModel) -> None:
    turn = start(alice)
    end(turn.generation, status="interrupted", text="Half of")
    client_id = uuid.uuid4()
    message = turn.generation.message.uuid
    more = turns.continue_answer(user=alice, message=message, client_id=client_id, now=NOW)
    again = turns.continue_answer(user=alice, message=message, client_id=client_id, now=NOW)

    assert more == again
    assert (more.message, more.offset, more.status) == (turn.generation.message, len("Half of"), "queued")
    assert Message.objects.count() == 2


def test_a_complete_answer_cannot_be_continued(alice: User, model: ChatModel) -> None:
    turn = start(alice)
    end(turn.generation, finish_reason="stop")
    with pytest.raises(Refused, match="can't be continued"):
        turns.continue_answer(
            user=alice, message=turn.generation.message.uuid, client_id=uuid.uuid4(), now=NOW
        )


def test_a_queued_generation_stops_at_once(alice: User, model: ChatModel) -> None:
    turn = start(alice)
    turns.request_stop(user=alice, message=turn.generation.message.uuid, now=NOW)
    turn.generation.refresh_from_db()
    assert (turn.generation.status, turn.generation.ended_at) == ("stopped", NOW)


def test_a_running_generation_gets_one_stop_request(alice: User, model: ChatModel) -> None:
    turn = start(alice)
    Generation.objects.update(status="running", runner="x", started_at=NOW, heartbeat_at=NOW)
    turns.request_stop(user=alice, message=turn.generation.message.uuid, now=NOW)
    turns.request_stop(user=alice, message=turn.generation.message.uuid, now=timezone.now())
    turn.generation.refresh_from_db()
    assert (turn.generation.status, turn.generation.stop_requested_at) == ("running", NOW)


def test_a_stop_after_the_end_changes_nothing(alice: User, model: ChatModel) -> None:
    turn = start(alice)
    end(turn.generation)
    turns.request_stop(user=alice, message=turn.generation.message.uuid, now=NOW)
    turn.generation.refresh_from_db()
    assert (turn.generation.status, turn.generation.stop_requested_at) == ("complete", None)
