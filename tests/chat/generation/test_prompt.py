"""Tests for choosing the messages to send: whole turns, newest first, as many as fit."""

import uuid

import pytest
from django.conf import LazySettings
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.generation import ending, journal, prompt
from conversations.chat.models import Generation, Message
from conversations.chat.services import turns
from conversations.limits import rules as limits
from conversations.llm import tokens
from conversations.llm.chat import ChatMessage
from tests.factories import make_turn

pytestmark = pytest.mark.django_db


def send(user: User, text: str, *, after: Generation | None = None) -> Generation:
    conversation = after.conversation.uuid if after else None
    turn = make_turn(user, text, conversation=conversation)
    return turn.generation


def end(generation: Generation, text: str) -> None:
    Generation.objects.filter(pk=generation.pk).update(status="complete", ended_at=timezone.now())
    Message.objects.filter(pk=generation.message_id).update(text=text)


def sent(generation: Generation) -> list[str]:
    generation.refresh_from_db()
    return [message.text for message in prompt.prepare(generation).messages]


def test_older_turns_are_left_out_whole(alice: User, model: ChatModel, settings: LazySettings) -> None:
    first = send(alice, "word " * 1_400)
    end(first, "reply " * 1_400)
    second = send(alice, "short", after=first)
    assert sent(second) == [settings.CHAT_SYSTEM_PROMPT, "short"]
    second.refresh_from_db()
    assert second.trimmed_messages == 2


def test_nothing_is_left_out_if_everything_fits(
    alice: User, model: ChatModel, settings: LazySettings
) -> None:
    first = send(alice, "One")
    end(first, "Two")
    second = send(alice, "Three", after=first)
    assert sent(second) == [settings.CHAT_SYSTEM_PROMPT, "One", "Two", "Three"]
    assert second.trimmed_messages == 0


@pytest.mark.parametrize("system_prompt", ["", "Be brief."])
def test_the_check_before_sending_agrees_with_what_fits(
    alice: User, model: ChatModel, settings: LazySettings, system_prompt: str
) -> None:
    settings.CHAT_SYSTEM_PROMPT = system_prompt
    # A model whose tokens can be counted exactly.
    model.upstream_name = "gpt-4o"
    model.save()
    messages = [ChatMessage.of_text("user", "word " * 50)]
    if system_prompt:
        messages.insert(0, ChatMessage.of_text("system", system_prompt))
    needed = tokens.count_messages(messages, model="gpt-4o").tokens + model.max_output_tokens
    # The opening of the reply is counted once.
    for window, fits in ((needed, True), (needed - 1, False)):
        model.context_window = window
        asked = [("user", tokens.count("word " * 50, model="gpt-4o"))]
        if fits:
            prompt.check_fits(asked, model=model, max_tokens=model.max_output_tokens)
            model.save()
            generation = send(alice, "word " * 50)
            assert len(sent(generation)) == len(messages)
        else:
            with pytest.raises(limits.WindowExceeded):
                prompt.check_fits(asked, model=model, max_tokens=model.max_output_tokens)


def test_a_message_keeps_its_number_of_tokens(alice: User, model: ChatModel) -> None:
    generation = send(alice, "one two three")
    [job] = journal.claim(runner="a", limit=1, now=timezone.now())
    outcome = ending.Outcome(status=Generation.Status.COMPLETE, text="four five")
    assert ending.finish(job=job, runner="a", outcome=outcome, request=None, now=timezone.now())
    question, answer = Message.objects.order_by("depth")
    assert (question.token_count, question.token_vocabulary) == (3, "o200k_base")
    assert (answer.token_count, answer.token_vocabulary) == (2, "o200k_base")

    # What is stored is used, so that long texts aren't counted again for each turn.
    question.token_count = 300
    assert prompt.count_of(question, model=model).tokens == 300
    # A model with another vocabulary, and the text that staff put in the place of a hidden one, are counted.
    model.upstream_name = "gpt-4"
    assert prompt.count_of(question, model=model).tokens == 3
    model.upstream_name = "gpt-4o"
    question.hidden_at, question.vetted_text = timezone.now(), "checked"
    assert prompt.count_of(question, model=model).tokens == 1

    Generation.objects.filter(pk=generation.pk).update(finish_reason="length")
    turns.continue_answer(user=alice, message=answer.uuid, client_id=uuid.uuid4(), now=timezone.now())
    [job] = journal.claim(runner="a", limit=1, now=timezone.now())
    outcome = ending.Outcome(status=Generation.Status.STOPPED, text=" six seven eight")
    assert ending.finish(job=job, runner="a", outcome=outcome, request=None, now=timezone.now())
    answer.refresh_from_db()
    assert (answer.text, answer.token_count) == ("four five six seven eight", 5)


def test_a_request_takes_one_query(
    alice: User, model: ChatModel, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    generation = send(alice, "One")
    for text in ("Two", "Three"):
        end(generation, "Fine.")
        generation = send(alice, text, after=generation)
    [job] = journal.claim(runner="a", limit=1, now=timezone.now())
    with django_assert_num_queries(1):
        request = prompt.prepare(job.generation)
    assert [message.text for message in request.messages[-5:]] == ["One", "Fine.", "Two", "Fine.", "Three"]
