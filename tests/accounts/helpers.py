"""Helpers for sign-in tests: clients that are signed in, emailed codes and app codes."""

import re
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.core import mail
from django.test import Client

from conversations.accounts.models import User

PASSWORD = "correct horse battery"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def give_address(user: User, address: str = "alice@example.org") -> None:
    User.objects.filter(pk=user.pk).update(email=address)
    EmailAddress.objects.create(user=user, email=address, primary=True, verified=True)
    user.refresh_from_db()


def logged_in(name: str = "alice", **options: Any) -> Client:
    client = Client(**options)
    response = client.post("/accounts/login/", {"login": name, "password": PASSWORD})
    assert response.status_code == 302, response.content.decode()
    return client


def is_logged_in(client: Client) -> bool:
    return client.get("/account/").status_code == 200


def show_password_again(client: Client) -> None:
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})


def ask_for_code(client: Client, address: str = "alice@example.org", **more: str) -> Any:
    return client.post("/accounts/login/code/", {"email": address, **more})


def confirm(client: Client, **values: str) -> Any:
    return client.post("/accounts/login/code/confirm/", values)


def mailed_code(number: int = -1) -> str:
    found = re.search(r"^([A-Z]{4}-[A-Z]{4})$", str(mail.outbox[number].body), re.MULTILINE)
    assert found, mail.outbox[number].body
    return found.group(1)


def totp_code(secret: str = SECRET) -> str:
    """Return the code that an authenticator app with this key shows now."""
    return str(format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time())))))
