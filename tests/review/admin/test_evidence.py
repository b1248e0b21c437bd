"""Text written by users: Django admin shows it only if staff give a reason, which is logged."""

import uuid

import pytest
from django.test import Client
from django.utils import timezone

from conversations.accounts.models import User
from conversations.chat.models import Conversation, Generation, GenerationChunk, Message
from conversations.review.models import ReviewEvent
from tests.admin_urls import admin_of
from tests.factories import REVIEWER, make_answer, make_report, make_staff

pytestmark = pytest.mark.django_db

SEES_ROWS = ("view_conversation", "view_message", "view_generation", "view_generationchunk")


def read_address(conversation: Conversation) -> str:
    return f"/admin/review/reviewcase/conversations/{conversation.uuid}/read/"


@pytest.fixture
def told(alice: User) -> Message:
    return make_answer(alice, "Secret answer", prompt="Secret prompt")


@pytest.mark.parametrize("codenames", [SEES_ROWS, (*SEES_ROWS, "read_conversation")])
def test_admin_lists_show_no_user_text(client: Client, told: Message, codenames: tuple[str, ...]) -> None:
    client.force_login(make_staff("staff", *codenames))
    Message.objects.filter(pk=told.pk).update(hidden_at=timezone.now(), vetted_text="Secret vetted")
    generation = Generation.objects.get()
    chunk = GenerationChunk.objects.create(generation=generation, offset=0, text="Secret chunk")
    rows = {
        "conversation": told.conversation_id,
        "message": told.pk,
        "generation": generation.pk,
        "generationchunk": chunk.pk,
    }
    for name, pk in rows.items():
        for path in (admin_of(name), f"{admin_of(name)}{pk}/change/", f"{admin_of(name)}?q=Secret"):
            response = client.get(path)
            assert response.status_code == 200
            page = response.content.decode().replace('value="Secret"', "").replace("q=Secret", "")
            assert "Secret" not in page, path
            is_offered = read_address(told.conversation) in page
            may_read = "read_conversation" in codenames and name != "generation" and "?q" not in path
            assert is_offered == may_read, path
    assert "Secret" not in client.get(f"/admin/chat/message/{told.pk}/history/").content.decode()


def test_reading_a_conversation_requires_a_reason(client: Client, lead: User, told: Message) -> None:
    Message.objects.filter(pk=told.pk).update(hidden_at=timezone.now(), vetted_text="Put in its place")
    where = read_address(told.conversation)
    page = client.get(where).content.decode()
    assert "Secret" not in page
    empty = client.post(where, {"reason": "  "})
    assert empty.status_code == 422
    assert "Secret" not in empty.content.decode()
    assert not ReviewEvent.objects.exists()
    page = client.post(where, {"reason": "Asked for by the court."}).content.decode()
    for shown in ("Secret prompt", "Secret answer", "Put in its place", "hidden from the user"):
        assert shown in page
    assert "alice" not in page
    event = ReviewEvent.objects.get()
    assert (event.kind, event.actor, event.case, event.text) == (
        "opened",
        lead,
        None,
        "Asked for by the court.",
    )
    assert event.details == {"conversation": str(told.conversation.uuid)}


def test_unfinished_answers_and_other_branches_are_shown(client: Client, lead: User, told: Message) -> None:
    other = make_answer(told.conversation.owner, "", prompt="More", conversation=told.conversation.uuid)
    generation = Generation.objects.get(message=other)
    now = timezone.now()
    running = {"status": "running", "runner": "runner", "started_at": now, "heartbeat_at": now}
    Generation.objects.filter(pk=generation.pk).update(ended_at=None, finish_reason="", **running)
    GenerationChunk.objects.create(generation=generation, offset=0, text="So far")
    Conversation.objects.update(head=told)
    page = client.post(read_address(told.conversation), {"reason": "Why."}).content.decode()
    assert "So far" in page
    assert page.count("in another branch") == 2


def test_a_conversation_can_be_read_only_for_its_own_case(
    client: Client, lead: User, told: Message, charlie: User
) -> None:
    case = make_report(told.conversation.owner, told).case
    foreign = make_report(charlie, make_answer(charlie)).case
    where = read_address(told.conversation)
    for given in (str(foreign.uuid), str(uuid.uuid4()), "nonsense"):
        assert client.post(where, {"reason": "Why.", "case": given}).status_code == 403
    assert not ReviewEvent.objects.filter(kind="opened").exists()
    page = client.post(where, {"reason": "Why.", "case": str(case.uuid)}).content.decode()
    assert "message--reported" in page
    assert ReviewEvent.objects.get(kind="opened").case == case


@pytest.mark.parametrize("codenames", [(), REVIEWER, SEES_ROWS])
def test_reading_a_conversation_requires_the_permission(
    client: Client, told: Message, codenames: tuple[str, ...]
) -> None:
    client.force_login(make_staff("staff", *codenames))
    where = read_address(told.conversation)
    assert client.get(where).status_code == 403
    assert client.post(where, {"reason": "Why."}).status_code == 403
    assert not ReviewEvent.objects.exists()


def test_an_unknown_conversation(client: Client, lead: User) -> None:
    where = f"/admin/review/reviewcase/conversations/{uuid.uuid4()}/read/"
    assert client.get(where).status_code == 404
    assert client.post(where, {"reason": "Why."}).status_code == 404
    assert not ReviewEvent.objects.exists()


def test_suspensions_cannot_be_edited_on_the_user_page(client: Client, alice: User) -> None:
    root = User.objects.create_superuser("root")
    client.force_login(root)
    where = f"/admin/accounts/user/{alice.pk}/change/"
    page = client.get(where).content.decode()
    assert "Suspended at" in page
    assert 'name="suspended' not in page
    joined = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    sent = {"username": "alice", "is_active": "on", "suspended_at": "2026-01-01", **joined}
    client.post(where, {**sent, "suspended_at_0": "2026-01-01", "suspended_at_1": "00:00:00"})
    alice.refresh_from_db()
    assert alice.suspended_at is None


def test_a_user_with_an_open_case_cannot_be_deleted(client: Client, alice: User, told: Message) -> None:
    case = make_report(alice, told).case
    client.force_login(User.objects.create_superuser("root"))
    where = f"/admin/accounts/user/{alice.pk}/delete/"
    page = client.get(where).content.decode()
    assert f"/reviewcase/{case.pk}/change/" in page
    assert "Are you sure" not in page
    client.post(where, {"post": "yes"})
    client.post(
        "/admin/accounts/user/",
        {"action": "delete_selected", "_selected_action": alice.pk, "post": "yes"},
    )
    assert User.objects.filter(pk=alice.pk).exists()
