"""Tests of the chat socket, through the whole ASGI application."""

import asyncio
import re
import uuid
from html import unescape
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.conf import LazySettings
from django.utils import timezone

from conversations.accounts.models import User
from conversations.chat.models import Conversation, Generation, Message
from conversations.chat.models.conversations import SIDEBAR_LENGTH
from tests.fakes import RunningUpstream
from tests.page import HOST, Page, signed_in

pytestmark = pytest.mark.django_db(transaction=True)


def reason_in(frame: str) -> str:
    found = re.search(r'<hx-partial hx-target="#composer-error"[^>]*><span[^>]*>(.*?)</span>', frame)
    assert found, frame
    return unescape(found.group(1))


# --- Access ---


async def test_an_anonymous_socket_is_closed_as_signed_out(alice: User) -> None:
    page = Page(None)
    assert await page.open()
    assert await page.closed() == 4401


@pytest.mark.parametrize(
    "origin", ["", "null", "http://evil.example", f"http://{HOST}:81", f"http://{HOST}.evil.example"]
)
async def test_a_page_of_another_origin_is_refused(alice: User, origin: str) -> None:
    page = Page(await database_sync_to_async(signed_in)(alice), origin=origin)
    assert not await page.open()


async def test_a_foreign_host_is_refused(alice: User) -> None:
    page = Page(
        await database_sync_to_async(signed_in)(alice), origin="http://evil.example", host="evil.example"
    )
    assert not await page.open()


async def test_the_number_of_sockets_per_user_is_limited(
    tab: Page, alice: User, settings: LazySettings
) -> None:
    settings.CHAT_SOCKETS_PER_USER = 2
    client = await database_sync_to_async(signed_in)(alice)
    second, third = Page(client), Page(client)
    await second.open()
    await third.open()
    assert await third.closed() == 4429
    await second.close()
    again = Page(client)
    await again.open()
    await again.say("Hello")
    await again.until("#location")
    await again.close()


@pytest.mark.parametrize("event", ["logout", "deactivation", "password"])
async def test_a_socket_closes_soon_after_its_user_loses_access(tab: Page, alice: User, event: str) -> None:
    def end() -> None:
        if event == "logout":
            from django.contrib.sessions.models import Session

            Session.objects.all().delete()
        elif event == "deactivation":
            User.objects.filter(pk=alice.pk).update(is_active=False)
        else:
            alice.set_password("another long password")
            alice.save()

    await database_sync_to_async(end)()
    assert await tab.closed() == 4401


# --- Messages and answers ---


async def test_a_first_message_starts_a_conversation_and_gets_an_answer(
    tab: Page, upstream: RunningUpstream
) -> None:
    upstream.answer_with("Hello, ", upstream.hold(), "**Alice**.")
    client_id = await tab.say("Who am <b>I</b>?")
    frames = await tab.until("Hello,")
    upstream.release()
    frames += await tab.until(r"The answer is complete")

    conversation = await Conversation.objects.aget()
    answer = await conversation.messages.aget(role="assistant")
    assert f'data-client-id="{client_id}"' in frames
    assert "Who am &lt;b&gt;I&lt;/b&gt;?" in frames
    assert "<b>I" not in frames
    assert f'data-url="/c/{conversation.uuid}/"' in frames
    assert "<strong>Alice</strong>" in frames
    assert 'hx-target=".open" hx-swap="delete"' in frames
    assert f'name="message" value="{answer.uuid}"' in frames
    assert answer.text == "Hello, **Alice**."


async def test_a_new_conversation_is_added_to_the_sidebar_without_sending_the_others(
    tab: Page, alice: User, upstream: RunningUpstream
) -> None:
    now = timezone.now()
    await Conversation.objects.abulk_create(
        Conversation(owner=alice, title=f"Old {number}", created_at=now, last_activity_at=now)
        for number in range(SIDEBAR_LENGTH)
    )
    client = await database_sync_to_async(signed_in)(alice)
    page = await database_sync_to_async(client.get)("/")
    assert page.content.decode().count('class="conversations__link"') == SIDEBAR_LENGTH
    await tab.say("One more")
    frame = await tab.until("#location")
    assert frame.count('class="conversations__link"') == 1
    assert 'hx-target="#conversation-list" hx-swap="afterbegin"' in frame


async def test_the_second_message_goes_to_the_same_conversation(tab: Page, upstream: RunningUpstream) -> None:
    await tab.say("One")
    await tab.until("The answer is complete")
    conversation = await Conversation.objects.aget()
    await tab.say("Two", conversation)
    frames = await tab.until("The answer is complete")
    assert "#location" not in frames
    assert await conversation.messages.acount() == 4


async def test_another_tab_sees_the_new_turn(tab: Page, alice: User, upstream: RunningUpstream) -> None:
    await tab.say("One")
    await tab.until("The answer is complete")
    conversation = await Conversation.objects.aget()
    last = await conversation.messages.alast()
    other = Page(await database_sync_to_async(signed_in)(alice))
    await other.open()
    generation = await Generation.objects.aget()
    assert last is not None
    await other.attach(conversation, message=str(last.uuid), generation=str(generation.uuid), offset=999)
    upstream.answer_with("Seen ", "in both.")
    await tab.say("Two", conversation)
    frames = await other.until("The answer is complete")
    assert "Two" in frames
    assert "in both." in frames
    await other.close()


async def test_stop_from_another_tab(tab: Page, alice: User, upstream: RunningUpstream) -> None:
    upstream.answer_with("Begun ", upstream.hold(), "never said")
    await tab.say("Go")
    await tab.until("Begun")
    answer = await Message.objects.aget(role="assistant")
    other = Page(await database_sync_to_async(signed_in)(alice))
    await other.open()
    await other.send(action="stop", message=str(answer.uuid))
    await tab.until("The answer was stopped")
    await answer.arefresh_from_db()
    assert answer.text == "Begun "
    await asyncio.to_thread(upstream.wait_for_disconnect)
    await other.close()


async def test_the_stream_resumes_at_the_cursor(tab: Page, alice: User, upstream: RunningUpstream) -> None:
    first = "First paragraph.\n\n"
    upstream.answer_with(first, "Second\nline", upstream.hold(), " goes on.")
    await tab.say("Go")
    frames = await tab.until("line")
    generation = await Generation.objects.select_related("message", "conversation").aget()
    assert f'name="offset" value="{len(first)}"' in frames
    await tab.close()

    again = Page(await database_sync_to_async(signed_in)(alice))
    await again.open()
    await again.attach(
        generation.conversation,
        message=str(generation.message.uuid),
        generation=str(generation.uuid),
        offset=len(first),
        open="1",
    )
    assert (
        await again.frame()
        == '<hx-partial hx-target=".open" hx-swap="innerHTML"><p dir="auto">Second\nline</p>\n</hx-partial>'
    )
    upstream.release()
    frames = await again.until("The answer is complete")
    assert "goes on." in frames
    assert "First paragraph" in frames.split(".done:has(+.open)")[-1]
    await again.close()


@pytest.mark.parametrize("offset", [-1, 10**6, "x", 2**40])
async def test_an_invalid_cursor_does_no_harm(
    tab: Page, alice: User, upstream: RunningUpstream, offset: Any
) -> None:
    upstream.answer_with("Text", upstream.hold(), " goes on.")
    await tab.say("Go")
    await tab.until("Text")
    generation = await Generation.objects.select_related("message", "conversation").aget()
    await tab.attach(
        generation.conversation,
        message=str(generation.message.uuid),
        generation=str(generation.uuid),
        offset=offset,
        open="1",
    )
    upstream.release()
    frames = await tab.until("The answer is complete|invalid request")
    if "complete" not in frames:
        await tab.until("The answer is complete")


async def test_continue_replaces_the_message(tab: Page, upstream: RunningUpstream) -> None:
    upstream.respond_with("cut")
    await tab.say("Go")
    frames = await tab.until("The answer was interrupted")
    answer = await Message.objects.aget(role="assistant")
    assert 'name="action" value="continue"' in frames
    upstream.answer_with("and ends.")
    await tab.send(action="continue", message=str(answer.uuid), client_id=str(uuid.uuid4()))
    frames = await tab.until("The answer is complete")
    assert f'hx-target="#m-{answer.uuid}" hx-swap="outerHTML"' in frames
    await answer.arefresh_from_db()
    assert answer.text == "This answer begins well, and ends."


async def test_an_error_is_readable_and_hides_the_response_of_the_service(
    tab: Page, upstream: RunningUpstream
) -> None:
    upstream.fault = "unauthorized"
    await tab.say("My secret prompt")
    frames = await tab.until('hx-target="#announce".*failed')
    assert "rejected this site's API key" in unescape(frames)
    assert "Incorrect API key" not in frames
    assert "Try again" in frames


async def test_viewers_are_told_that_a_conversation_was_deleted(tab: Page, upstream: RunningUpstream) -> None:
    await tab.say("Go")
    await tab.until("The answer is complete")
    conversation = await Conversation.objects.aget()
    pk = conversation.pk
    await conversation.adelete()
    from conversations.chat.generation import changes

    changes.announce(pk)
    assert "deleted" in reason_in(await tab.until("#composer-error"))


# --- Refusals ---


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("nonsense", "invalid request"),
        ("[]", "invalid request"),
        ('"send"', "invalid request"),
        ("{}", "invalid request"),
        ('{"action": "fly"}', "invalid request"),
        ('{"action": ["send"]}', "invalid request"),
        ('{"action": "send"}', "invalid request|message is empty"),
        ('{"action": "send", "text": {"a": 1}}', "invalid request"),
        ('{"action": "send", "text": ["a"]}', "invalid request"),
        ('{"action": "stop"}', "invalid request"),
        ('{"action": "stop", "message": "1"}', "invalid request"),
        ("[" * 10_000, "invalid request"),
        ('{"action": "ack", "received": -1}', "invalid request"),
        ('{"action": "send", "text": "\\ud800"}', "invalid request"),
    ],
)
async def test_invalid_frames_are_refused(tab: Page, frame: str, reason: str) -> None:
    await tab.socket.send_to(text_data=frame)
    assert re.search(reason, reason_in(await tab.frame()))
    assert not await Message.objects.aexists()


async def test_binary_frames_are_refused(tab: Page) -> None:
    await tab.socket.send_to(bytes_data=b"\x00")
    assert "Only text" in reason_in(await tab.frame())


async def test_an_oversized_frame_is_refused_and_closes_the_socket(tab: Page) -> None:
    await tab.say("x" * 1_000_000)
    assert "too large" in reason_in(await tab.frame())
    assert await tab.closed() == 4413


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"text": ""}, "message is empty"),
        ({"text": " \n\t "}, "message is empty"),
        ({"text": "a\x00b"}, "null character"),
        ({"text": "x" * 16_001}, "16,?001"),
        ({"model": "gpt-nobody"}, "Choose another"),
        ({"max_tokens": -1}, "at least one token"),
        ({"max_tokens": 0}, "at least one token"),
        ({"max_tokens": 1e9}, "at most"),
        ({"max_tokens": "1e9"}, "whole number"),
        ({"max_tokens": 1.5}, "whole number"),
        ({"max_tokens": "NaN"}, "whole number"),
        ({"max_tokens": 10**30}, "at most|less than|whole number"),
        ({"conversation": str(uuid.uuid4())}, "Conversation not found"),
        ({"conversation": "1"}, "invalid request"),
        ({"client_id": "1"}, "invalid request"),
    ],
)
async def test_invalid_messages_are_refused(tab: Page, values: dict[str, Any], reason: str) -> None:
    client_id = await tab.say(**{"text": "Hello", **values})
    frame = await tab.frame()
    assert re.search(reason, reason_in(frame))
    # Without the id of the refused message the page would wait for an answer.
    assert f'data-client-id="{values.get("client_id", client_id)}"' in frame
    assert not await Message.objects.aexists()


async def test_a_numeric_string_counts_as_a_number(tab: Page, upstream: RunningUpstream) -> None:
    await tab.say("Hello", max_tokens="12")
    await tab.until("The answer is complete|cut off")
    assert upstream.requests[0].body["max_tokens"] == 12


async def test_line_endings_are_normalised(tab: Page, upstream: RunningUpstream) -> None:
    await tab.say("a\r\nb\u2028")
    await tab.until("The answer is complete")
    message = await Message.objects.aget(role="user")
    assert message.text == "a\nb\u2028"


async def test_other_users_get_nothing_over_the_socket(
    tab: Page, alice: User, charlie: User, upstream: RunningUpstream
) -> None:
    upstream.answer_with("Alice's ", upstream.hold(), "secret")
    await tab.say("Mine")
    await tab.until("Alice")
    conversation = await Conversation.objects.aget()
    answer = await conversation.messages.aget(role="assistant")

    thief = Page(await database_sync_to_async(signed_in)(charlie))
    await thief.open()
    for frame in (
        {"action": "attach", "conversation": str(conversation.uuid), "message": "", "offset": 0},
        {"action": "stop", "message": str(answer.uuid)},
        {"action": "continue", "message": str(answer.uuid), "client_id": str(uuid.uuid4())},
        {
            "action": "send",
            "conversation": str(conversation.uuid),
            "client_id": str(uuid.uuid4()),
            "text": "Hi",
        },
    ):
        await thief.send(**frame)
        assert "Conversation not found" in reason_in(await thief.frame())
    await thief.close()
    assert await Generation.objects.filter(status="running", stop_requested_at=None).acount() == 1
    assert await conversation.messages.acount() == 2
    upstream.release()
    await tab.until("The answer is complete")


async def test_a_message_sent_twice_is_answered_once(tab: Page, upstream: RunningUpstream) -> None:
    client_id = uuid.uuid4()
    for _ in range(2):
        await tab.send(action="send", conversation="", client_id=str(client_id), text="Once")
    await tab.until("The answer is complete")
    assert await Message.objects.acount() == 2
    assert len(upstream.requests) == 1
