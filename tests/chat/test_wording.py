"""Tests of the texts about models and limits in each language, and of the error pages."""

import html
import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone, translation

from conversations.accounts.models import User
from conversations.catalogue import selectors as catalogue
from conversations.catalogue.models import ChatModel
from conversations.chat.models import Generation
from conversations.chat.models.generations import ErrorCode
from conversations.common.rendering.markdown import render_markdown
from tests.factories import DAY, make_answer

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(alice: User) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def text_of(client: Client, language: str = "en") -> str:
    page = client.get("/", headers={"Accept-Language": language}).content.decode()
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", "", page)))


@pytest.mark.parametrize(("site_cap", "shown"), [(500, "500"), (2_048, "1,024")])
def test_the_smaller_cap_limits_the_answer(
    client: Client, model: ChatModel, settings: Any, site_cap: int, shown: str
) -> None:
    settings.CHAT_MAX_OUTPUT_TOKENS = site_cap
    page = client.get("/").content.decode()
    text = text_of(client)
    assert f"up to {shown} tokens" in text
    assert f"Up to {shown}." in text
    assert f'max="{shown.replace(",", "")}"' in page
    assert f'placeholder="{shown}"' in page


def test_each_model_has_its_own_cap(client: Client, model: ChatModel) -> None:
    other = ChatModel.objects.get()
    other.pk, other.slug, other.label, other.is_default, other.max_output_tokens = None, "b", "B", False, 64
    other.save()
    page = client.get("/").content.decode()
    assert re.findall(r'data-longest-answer="(\d+)"', page) == ["1024", "64"]
    assert "Up to 1,024." in text_of(client)
    assert "Up to 64." in text_of(client)
    # If a message to the other model is refused, the page still shows that model.
    refused = client.post("/send/", {"conversation": "", "client_id": "x", "text": "Hi", "model": "b"})
    assert 'max="64"' in refused.content.decode()


@pytest.mark.parametrize("language", ["en", "zh-hans", "zh-hant"])
def test_large_numbers_are_grouped(client: Client, model: ChatModel, language: str) -> None:
    assert "16,000" in text_of(client, language)


def test_only_the_default_note_is_translated(client: Client, model: ChatModel) -> None:
    ChatModel.objects.update(note=catalogue.DEMO_NOTE)
    assert catalogue.DEMO_NOTE in text_of(client)
    for language in ("zh-hans", "zh-hant"):
        text = text_of(client, language)
        assert catalogue.DEMO_NOTE not in text
        assert "Fake：" in text
    # This text happens to have a translation.
    ChatModel.objects.update(note="Appearance")
    assert "Appearance" in text_of(client, "zh-hans")


@pytest.mark.parametrize(("language", "colon"), [("en", ": "), ("zh-hans", "："), ("zh-hant", "：")])
def test_the_note_for_an_image_uses_the_colon_of_the_language(language: str, colon: str) -> None:
    with translation.override(language):
        assert f"{colon}evil.example" in render_markdown("![x](https://evil.example/p.png)")


@pytest.mark.parametrize("code", ErrorCode.values)
@pytest.mark.parametrize(("text", "action"), [("Half of", "Continue"), ("", "Try again")])
def test_an_error_never_names_another_action_than_its_button(
    client: Client, alice: User, model: ChatModel, code: str, text: str, action: str
) -> None:
    message = make_answer(alice, text)
    Generation.objects.update(status="failed", error_code=code)
    page = client.get(f"/c/{message.conversation.uuid}/").content.decode()
    status = page.partition(f'id="s-{message.uuid}"')[2].partition('id="composer"')[0]
    words = re.findall(r"Continue|Try again", re.sub(r"<[^>]*>", "", status))
    assert words == ([] if code == ErrorCode.CONTEXT_LENGTH else [action])


def test_the_button_says_how_long_to_wait(client: Client, alice: User, model: ChatModel) -> None:
    message = make_answer(alice, "")
    now = timezone.now()
    Generation.objects.update(status="failed", error_code="rate_limited", retry_at=now + DAY)
    page = client.get(f"/c/{message.conversation.uuid}/").content.decode()
    found = re.search(r'data-wait-seconds="(\d+)" data-text-waiting="Try again in {time}">Try again<', page)
    assert found
    assert 86_000 < int(found.group(1)) <= 86_400
    Generation.objects.update(retry_at=now)
    assert "data-wait-seconds" not in client.get(f"/c/{message.conversation.uuid}/").content.decode()


def test_an_invalid_request_gets_an_error_page_of_the_site() -> None:
    response = Client().get("/", headers={"Host": "evil.example"})
    assert response.status_code == 400
    assert 'class="account__card"' in response.content.decode()


def test_the_reauthentication_page_looks_like_the_others(client: Client) -> None:
    client.logout()
    client.post("/accounts/login/", {"login": "alice", "password": "correct horse battery"})
    page = client.get("/accounts/reauthenticate/?next=/").content.decode()
    assert '<input class="input"' in page
    assert 'autocomplete="current-password"' in page
    response = client.post("/accounts/reauthenticate/", {"password": "correct horse battery", "next": "/"})
    assert response["Location"] == "/"
