"""Emails carry the name of the site, if it has one."""

from email.header import decode_header, make_header
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.core import context
from allauth.mfa.adapter import get_adapter
from django.conf import LazySettings
from django.core import mail
from django.test import Client, RequestFactory

from conversations.accounts.models import User
from conversations.branding.models import Branding
from tests.factories import make_invitation

pytestmark = pytest.mark.django_db


def test_emails_carry_the_name(django_capture_on_commit_callbacks: Any) -> None:
    Branding.objects.create(pk=1, name="智言 & Co")
    with django_capture_on_commit_callbacks(execute=True):
        make_invitation(None, emails=["pat@example.org"])
    sent = mail.outbox[-1]
    assert sent.subject == "[智言 & Co] Your invitation to the chat"
    assert "You've been invited to use 智言 & Co." in sent.body
    assert str(sent.body).endswith("\n-- \n智言 & Co\n")
    written = sent.message()
    assert str(make_header(decode_header(str(written["From"])))) == "智言 & Co <chat@localhost>"


def test_emails_of_allauth_carry_the_name(alice: User, settings: LazySettings) -> None:
    EmailAddress.objects.create(user=alice, email="alice@example.org", verified=True, primary=True)
    Client().post("/accounts/login/code/", {"email": "alice@example.org"})
    assert mail.outbox[-1].subject.startswith("[testserver] ")
    Branding.objects.create(pk=1, name="Acme")
    settings.DEFAULT_FROM_EMAIL = "Help desk <help@example.org>"
    Client().post("/accounts/login/code/", {"email": "alice@example.org"})
    sent = mail.outbox[-1]
    assert sent.subject.startswith("[Acme] ")
    assert "Hello from Acme!" in sent.body
    assert sent.from_email == "Help desk <help@example.org>"


def test_without_a_name_emails_have_none(db: None, django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        make_invitation(None, emails=["pat@example.org"])
    sent = mail.outbox[-1]
    assert (sent.subject, sent.from_email) == ("Your invitation to the chat", "chat@localhost")
    assert "-- " not in sent.body


def test_authenticator_apps_and_passkeys_show_the_name() -> None:
    with context.request_context(RequestFactory().get("/")):
        assert get_adapter().get_totp_issuer() == "testserver"
        Branding.objects.create(pk=1, name="Acme")
        assert get_adapter().get_totp_issuer() == "Acme"
        entity = get_adapter().get_public_key_credential_rp_entity()
    assert entity == {"id": "testserver", "name": "Acme"}
