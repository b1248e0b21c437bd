"""Tests of the pages over HTTP: access, use without script, and the number of queries."""

import re
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.models import Conversation, Generation, GenerationChunk, Message
from conversations.chat.services import turns
from tests.admin_urls import admin_of
from tests.factories import make_answer, make_model, make_report, make_turn

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(alice: User) -> Client:
    client = Client()
    client.force_login(alice)
    return client


@pytest.fixture
def thief(charlie: User) -> Client:
    client = Client()
    client.force_login(charlie)
    return client


def make_answered_turn(
    user: User, conversation: Conversation | None = None, *, answer: str = "An *answer*."
) -> turns.Turn:
    turn = make_turn(user, "A question", conversation=conversation)
    if answer:
        end(turn.generation, answer)
    return turn


def end(generation: Generation, text: str) -> None:
    Message.objects.filter(pk=generation.message_id).update(text=text)
    Generation.objects.filter(pk=generation.pk).update(
        status="complete", finish_reason="stop", ended_at=timezone.now()
    )


def make_long(user: User, turns_: int) -> Conversation:
    """Return a conversation with this many turns, created in bulk."""
    first = make_answered_turn(user)
    conversation, parent = first.conversation, first.generation.message
    for number in range(1, turns_):
        for role in ("user", "assistant"):
            parent = Message.objects.create(
                conversation=conversation,
                parent=parent,
                depth=parent.depth + 1,
                role=role,
                author=user if role == "user" else None,
                text=f"{role} {number}",
                created_at=timezone.now(),
            )
    conversation.head = parent
    conversation.save()
    return conversation


def test_anonymous_users_are_sent_to_the_sign_in_page(model: ChatModel) -> None:
    response = Client().get("/")
    assert response.status_code == 302
    assert response["Location"].startswith("/accounts/login/")


# The health check tests whether it can write, which it can't inside the transaction of a test.
@pytest.mark.django_db(transaction=True)
def test_the_health_check_needs_no_account() -> None:
    response = Client().get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_the_empty_page_names_the_model(client: Client, model: ChatModel) -> None:
    page = client.get("/").content.decode()
    assert "<strong>Fake</strong>" in page
    assert "16,000" in page


def chosen_model(client: Client, path: str = "/") -> str:
    found = re.search(r'<option value="([^"]*)"[^>]*?\sselected>', client.get(path).content.decode())
    assert found
    return found.group(1)


def test_the_last_model_used_is_chosen_again(
    client: Client, alice: User, charlie: User, model: ChatModel
) -> None:
    other = make_model("other")
    assert chosen_model(client) == "fake"
    with_other = make_turn(alice, model_slug="other").conversation
    make_turn(charlie, model_slug="fake")
    assert chosen_model(client) == "other"
    with_default = make_turn(alice, model_slug="fake").conversation
    assert chosen_model(client) == "fake"
    # An older conversation keeps its own model.
    assert chosen_model(client, f"/c/{with_other.uuid}/") == "other"
    assert chosen_model(client, f"/c/{with_default.uuid}/") == "fake"
    make_model("third")
    ChatModel.objects.filter(pk=other.pk).update(enabled=False)
    assert chosen_model(client, f"/c/{with_other.uuid}/") == "fake"


def test_without_a_model_the_page_says_how_to_set_one_up(client: Client) -> None:
    assert "Set OPENAI_API_KEY" in client.get("/").content.decode()


def test_a_conversation_looks_the_same_as_when_it_was_streamed(
    client: Client, alice: User, model: ChatModel
) -> None:
    turn = make_answered_turn(alice)
    page = client.get(f"/c/{turn.conversation.uuid}/").content.decode()
    assert "<em>answer</em>" in page
    assert "prose open" not in page
    assert f'value="{turn.generation.message.uuid}"' in page


def test_a_running_answer_shows_the_text_so_far(client: Client, alice: User, model: ChatModel) -> None:
    turn = make_answered_turn(alice, answer="")
    now = timezone.now()
    Generation.objects.update(status="running", runner="x", started_at=now, heartbeat_at=now)
    GenerationChunk.objects.create(generation=turn.generation, offset=0, text="First.\n\nSec")
    GenerationChunk.objects.create(generation=turn.generation, offset=11, text="ond\nline")
    page = client.get(f"/c/{turn.conversation.uuid}/").content.decode()
    assert re.search(
        r'<div class="prose done"[^>]*><p dir="auto">First.</p>\s*</div>'
        r'<div class="prose open"[^>]*><p dir="auto">Second\nline</p>',
        page,
    )
    assert 'name="offset" value="8"' in page
    assert 'name="open" value="1"' in page


def test_pages_of_a_user_are_never_cached(client: Client, model: ChatModel) -> None:
    assert "no-store" in client.get("/")["Cache-Control"]


def test_the_content_security_policy_allows_nothing_inline(client: Client, model: ChatModel) -> None:
    policy = client.get("/")["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example"])
def test_unknown_hosts_are_refused(client: Client, host: str) -> None:
    for path in ("/", "/accounts/login/", "/admin/"):
        assert client.get(path, headers={"host": host}).status_code == 400


def test_other_users_get_nothing(thief: Client, alice: User, model: ChatModel) -> None:
    turn = make_answered_turn(alice)
    place, message = turn.conversation.uuid, turn.generation.message.uuid
    assert thief.get(f"/c/{place}/").status_code == 404
    assert thief.get(f"/c/{place}/?before={message}").status_code == 404
    assert thief.post(f"/c/{place}/rename/", {"title": "Mine"}).status_code == 404
    assert thief.post(f"/c/{place}/delete/").status_code == 404
    assert thief.post("/stop/", {"message": message}).status_code == 404
    assert thief.post("/continue/", {"message": message, "client_id": uuid.uuid4()}).status_code == 404
    answer = thief.post("/send/", {"conversation": place, "client_id": uuid.uuid4(), "text": "Hi"})
    assert answer.status_code == 422
    assert "A question" not in answer.content.decode()
    assert "A question" not in thief.get("/").content.decode()
    turn.conversation.refresh_from_db()
    assert turn.conversation.title == "A question"
    assert turn.conversation.messages.count() == 2


def test_a_message_can_be_sent_without_script(client: Client, model: ChatModel) -> None:
    response = client.post(
        "/send/", {"conversation": "", "client_id": uuid.uuid4(), "text": "Hello\r\nthere"}
    )
    conversation = Conversation.objects.get()
    assert response["Location"] == f"/c/{conversation.uuid}/"
    assert conversation.messages.get(role="user").text == "Hello\nthere"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"text": ""}, "message is empty"),
        ({"text": "Keep me", "max_tokens": "-1"}, "at least one token"),
        ({"text": "Keep me", "max_tokens": "1000000000"}, "at most"),
        ({"text": "Keep me", "model": "nobody"}, "Choose another"),
    ],
)
def test_a_refused_message_stays_in_the_composer(
    client: Client, model: ChatModel, values: dict[str, Any], reason: str
) -> None:
    response = client.post("/send/", {"conversation": "", "client_id": uuid.uuid4(), **values})
    page = response.content.decode()
    assert response.status_code == 422
    assert reason in page
    assert f">{values['text']}</textarea>" in page


def test_an_answer_can_be_stopped_and_continued_without_script(
    client: Client, alice: User, model: ChatModel
) -> None:
    turn = make_answered_turn(alice, answer="")
    message = turn.generation.message.uuid
    client.post("/stop/", {"message": message})
    assert Generation.objects.get().status == "stopped"
    client.post("/continue/", {"message": message, "client_id": ""})
    assert Generation.objects.filter(status="queued").count() == 1
    refused = client.post("/continue/", {"message": message, "client_id": ""})
    assert refused.status_code == 422
    assert "still being written" in refused.content.decode()


def test_a_conversation_can_be_renamed_and_deleted(client: Client, alice: User, model: ChatModel) -> None:
    turn = make_answered_turn(alice)
    client.post(f"/c/{turn.conversation.uuid}/rename/", {"title": "<b>Better</b>"})
    assert "&lt;b&gt;Better&lt;/b&gt;" in client.get("/").content.decode()
    assert client.post(f"/c/{turn.conversation.uuid}/rename/", {"title": "x" * 81}).status_code == 422
    client.post(f"/c/{turn.conversation.uuid}/delete/")
    assert not Message.objects.exists()


def test_a_page_stays_where_it_is_when_another_conversation_is_renamed_or_deleted(
    client: Client, alice: User, model: ChatModel
) -> None:
    shown, other = (make_turn(alice, text).conversation for text in ("Shown", "Other"))
    values = {"conversation": shown.uuid}
    page = {"HX-Request": "true"}
    answer = client.post(f"/c/{other.uuid}/rename/", {**values, "title": "<b>New</b>"}, headers=page)
    frame = answer.content.decode()
    assert answer.status_code == 200
    assert frame.startswith('<hx-partial hx-target="#conversation-list"')
    assert "&lt;b&gt;New&lt;/b&gt;" in frame
    assert re.findall(r'aria-current="page">([^<]*)<', frame) == ["Shown"]
    assert "#location" not in frame
    frame = client.post(
        f"/c/{shown.uuid}/rename/", {**values, "title": "Mine"}, headers=page
    ).content.decode()
    assert f'<span data-url="/c/{shown.uuid}/" data-title="Mine">' in frame
    refused = client.post(f"/c/{other.uuid}/rename/", {**values, "title": " "}, headers=page)
    assert refused.status_code == 422
    assert refused.content.decode().startswith('<hx-partial hx-target="#composer-error"')
    frame = client.post(f"/c/{other.uuid}/delete/", values, headers=page).content.decode()
    assert re.findall(r'class="conversations__link"\s+href="/c/([^/]*)/"', frame) == [str(shown.uuid)]
    answer = client.post(f"/c/{shown.uuid}/delete/", values, headers=page)
    assert answer["HX-Redirect"] == "/"
    assert not Conversation.objects.exists()


def test_the_message_about_a_held_conversation_is_shown_where_the_page_is(
    client: Client, alice: User, model: ChatModel
) -> None:
    shown, held = make_answer(alice), make_answer(alice)
    make_report(alice, held)
    values = {"conversation": shown.conversation.uuid}
    answer = client.post(f"/c/{held.conversation.uuid}/delete/", values, headers={"HX-Request": "true"})
    assert answer["HX-Refresh"] == "true"
    assert "was removed from your list" in client.get(f"/c/{shown.conversation.uuid}/").content.decode()


def test_earlier_messages_are_one_click_away(client: Client, alice: User, model: ChatModel) -> None:
    conversation = make_long(alice, 50)
    page = client.get(f"/c/{conversation.uuid}/").content.decode()
    assert "user 30" in page
    assert "user 29" not in page
    found = re.search(r"\?before=([0-9a-f-]+)", page)
    assert found
    for headers, is_fragment in (({"HX-Request": "true"}, True), ({}, False)):
        more = client.get(
            f"/c/{conversation.uuid}/?before={found.group(1)}", headers=headers
        ).content.decode()
        assert "user 29" in more
        assert "user 30" not in more
        assert ("<html" not in more) is is_fragment


@pytest.mark.parametrize("before", ["", "x", str(uuid.uuid4())])
def test_an_unknown_message_has_no_earlier_ones(
    client: Client, alice: User, model: ChatModel, before: str
) -> None:
    turn = make_answered_turn(alice)
    assert client.get(f"/c/{turn.conversation.uuid}/?before={before}").status_code == 404


def test_a_long_conversation_takes_no_more_queries_than_a_short_one(
    client: Client, alice: User, model: ChatModel, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    short, long = make_answered_turn(alice).conversation, make_long(alice, 300)
    for conversation in (short, long):
        with django_assert_num_queries(11):
            client.get(f"/c/{conversation.uuid}/")


def test_sign_up_and_sign_in(db: None, settings: Any, model: ChatModel) -> None:
    client = Client()
    form = {"username": "bob", "password1": "correct horse battery", "password2": "correct horse battery"}
    assert client.post("/accounts/signup/", form)["Location"] == "/"
    assert client.get("/").status_code == 200
    client.post("/accounts/logout/")
    assert client.get("/").status_code == 302
    assert (
        client.post("/accounts/login/", {"login": "bob", "password": "correct horse battery"})["Location"]
        == "/"
    )


@pytest.mark.parametrize("password", ["short", "1234567890123", "password1234", "bobbobbob1"])
def test_weak_passwords_are_refused(db: None, password: str) -> None:
    form = {"username": "bobbobbob", "password1": password, "password2": password}
    Client().post("/accounts/signup/", form)
    assert not User.objects.exists()


def test_sign_up_can_be_closed(db: None, settings: Any) -> None:
    settings.SIGNUP = "closed"
    form = {"username": "bob", "password1": "correct horse battery", "password2": "correct horse battery"}
    Client().post("/accounts/signup/", form)
    assert not User.objects.exists()
    assert "/accounts/signup/" not in Client().get("/accounts/login/").content.decode()


@pytest.mark.parametrize("path", ["/accounts/login/", "/admin/login/"])
def test_sign_in_attempts_are_limited(alice: User, path: str) -> None:
    client = Client()
    for _ in range(5):
        client.post("/accounts/login/", {"login": "alice", "password": "wrong"})
    right = {"login": "alice", "username": "alice", "password": "correct horse battery"}
    client.post(path, right, follow=True)
    assert "_auth_user_id" not in client.session


def test_signing_in_never_redirects_to_another_site(alice: User) -> None:
    client = Client()
    response = client.post(
        "/accounts/login/?next=//evil.example/", {"login": "alice", "password": "correct horse battery"}
    )
    assert response["Location"] == "/"


ADMIN_PAGES = ["user", "conversation", "message", "generation", "generationchunk", "chatmodel"]


@pytest.mark.parametrize("name", ADMIN_PAGES)
def test_staff_see_the_lists_and_pages_of_the_admin(
    admin_client: Client, alice: User, model: ChatModel, name: str
) -> None:
    turn = make_answered_turn(alice)
    GenerationChunk.objects.create(generation=turn.generation, offset=0, text="x")
    page = admin_client.get(f"{admin_of(name)}?q=a")
    assert page.status_code == 200
    pk = {
        "user": alice.pk,
        "conversation": turn.conversation.pk,
        "message": turn.generation.message.pk,
        "generation": turn.generation.pk,
        "generationchunk": GenerationChunk.objects.get().pk,
        "chatmodel": model.pk,
    }[name]
    assert admin_client.get(f"{admin_of(name)}{pk}/change/").status_code == 200


@pytest.mark.parametrize("name", ["conversation", "message", "generation"])
def test_the_admin_cannot_change_what_was_said(
    admin_client: Client, alice: User, model: ChatModel, name: str
) -> None:
    turn = make_answered_turn(alice)
    row = {
        "conversation": turn.conversation,
        "message": turn.generation.message,
        "generation": turn.generation,
    }[name]
    address = f"{admin_of(name)}{row.pk}"
    assert admin_client.post(f"{address}/change/", {"text": "Another"}).status_code == 403
    assert admin_client.post(f"{address}/delete/", {"post": "yes"}).status_code == 403
    assert admin_client.get(f"{admin_of(name)}add/").status_code == 403


@pytest.mark.parametrize("name", ADMIN_PAGES)
def test_staff_without_the_permission_see_nothing(
    charlie: User, alice: User, model: ChatModel, name: str
) -> None:
    charlie.is_staff = True
    charlie.save()
    client = Client()
    client.force_login(charlie)
    assert client.get(admin_of(name)).status_code == 403
    charlie.user_permissions.add(Permission.objects.get(codename=f"view_{name}"))
    assert client.get(admin_of(name)).status_code == 200
