"""Answers hidden, replaced or restored by staff: open pages update, and so do pages that reconnect."""

import re
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.utils import timezone

from conversations.accounts.models import User
from conversations.chat.models import Conversation, Message
from conversations.review.models import ReviewCase
from conversations.review.services import decisions, effects
from tests.factories import LEAD, make_decision, make_report, make_staff
from tests.fakes import RunningUpstream
from tests.page import Page, signed_in

pytestmark = pytest.mark.django_db(transaction=True)


def decide(message: Message, user: User, **values: Any) -> None:
    staff = make_staff("lead", *LEAD)
    case = make_report(user, message, "harmful").case
    decision = make_decision("upheld", **values)
    decisions.decide(staff=staff, case=case.uuid, version=None, decision=decision, now=timezone.now())


def show_again(message: Message) -> None:
    case = ReviewCase.objects.select_related("message").get(message=message)
    staff = User.objects.get(username="lead")
    effects.ShowAnswerAgain().apply(case, staff=staff, now=timezone.now())


async def first_answer(tab: Page, upstream: RunningUpstream) -> tuple[Conversation, Message]:
    """Create a conversation of two turns, and return it with its first answer."""
    upstream.answer_with("How to hurt people.")
    await tab.say("Tell me")
    await tab.until("The answer is complete")
    conversation = await Conversation.objects.aget()
    upstream.answer_with("Something else.")
    await tab.say("Another thing", conversation)
    await tab.until("The answer is complete")
    return conversation, await Message.objects.aget(depth=1)


async def test_an_open_page_updates_immediately(tab: Page, alice: User, upstream: RunningUpstream) -> None:
    _place, told = await first_answer(tab, upstream)
    await database_sync_to_async(decide)(told, alice, hides_answer=True)
    frame = await tab.until("Staff changed what is shown")
    assert f'hx-target="#m-{told.uuid}" hx-swap="outerHTML"' in frame
    assert "hurt people" not in frame
    assert re.search(r'name="revision" id="revision" value="1"', frame)

    # Dismissing the report restores the answer.
    await database_sync_to_async(show_again)(told)
    frame = await tab.until("Staff changed what is shown")
    assert "hurt people" in frame


async def test_an_open_page_updates_while_another_answer_is_being_written(
    tab: Page, alice: User, upstream: RunningUpstream
) -> None:
    conversation, told = await first_answer(tab, upstream)
    first, second = upstream.hold(), upstream.hold()
    upstream.answer_with("One ", first, "two ", second, "three.")
    await tab.say("Go on", conversation)
    await tab.until("One")
    await database_sync_to_async(decide)(told, alice, hides_answer=True)
    first.release()
    frames = await tab.until("Staff changed what is shown")
    assert f'hx-target="#m-{told.uuid}"' in frames
    second.release()
    await tab.until("The answer is complete")


async def test_a_page_that_reconnects_is_updated(tab: Page, alice: User, upstream: RunningUpstream) -> None:
    conversation, told = await first_answer(tab, upstream)
    await tab.close()
    await database_sync_to_async(decide)(told, alice, vetted_text="Be kind to people.")
    head = await Message.objects.select_related("conversation").aget(depth=3)
    generation = await head.generations.aget()
    stands = {"message": str(head.uuid), "generation": str(generation.uuid), "offset": len(head.text)}
    for revision, is_news in (("0", True), ("1", False)):
        back = Page(await database_sync_to_async(signed_in)(alice))
        assert await back.open()
        await back.attach(conversation, **stands, revision=revision)
        if is_news:
            assert "Be kind to people." in await back.until("Staff changed what is shown")
        else:
            await back.attach("00000000-0000-0000-0000-000000000001")
            assert "Staff changed" not in await back.until("Conversation not found")
        await back.close()


async def test_a_suspended_user_is_disconnected_and_cannot_reconnect(
    tab: Page, alice: User, upstream: RunningUpstream
) -> None:
    _place, told = await first_answer(tab, upstream)
    await database_sync_to_async(decide)(told, alice, suspends=True, suspension_text="For that.")
    assert await tab.closed() == 4423
    back = Page(await database_sync_to_async(signed_in)(alice))
    await back.open()
    assert await back.closed() == 4423
