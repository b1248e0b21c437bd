"""Test that a form that is shown again opens with the focus in the first field with an error."""

import re
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client

from conversations.accounts.models import User
from tests.accounts.helpers import PASSWORD, logged_in

pytestmark = pytest.mark.django_db


def focused(page: Any) -> list[str]:
    """Return the names of the fields that take the focus when the page opens."""
    controls = re.findall(r"<(?:input|select)[^>]*\sautofocus[^>]*>", page.text)
    return [name[1] for control in controls if (name := re.search(r'name="([^"]*)"', control))]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, "username"),
        ({"email": "no address"}, "email"),
        ({"password1": "short", "password2": "short"}, "password1"),
        ({"password2": "another password"}, "password2"),
        ({"username": "alice", "password2": "another password"}, "username"),
    ],
)
def test_sign_up(alice: User, values: dict[str, str], field: str) -> None:
    form = {"username": "bob", "password1": PASSWORD, "password2": PASSWORD, **values}
    page = Client().post("/accounts/signup/", form) if values else Client().get("/accounts/signup/")
    assert page.status_code == 200
    assert focused(page) == [field]


@pytest.mark.parametrize(
    ("address", "values", "field"),
    [
        ("/accounts/login/", {"login": "alice", "password": "wrong"}, "login"),
        ("/accounts/login/", {"login": "alice"}, "password"),
        ("/accounts/login/code/", {"email": "no address"}, "email"),
        ("/accounts/password/reset/", {"email": "no address"}, "email"),
        ("/join/", {"code": "WRONG"}, "code"),
    ],
)
def test_pages_for_everyone(alice: User, address: str, values: dict[str, str], field: str) -> None:
    assert focused(Client().post(address, values)) == [field]


@pytest.mark.parametrize(
    ("address", "values", "field"),
    [
        (
            "/accounts/password/change/",
            {"oldpassword": "wrong", "password1": "a", "password2": "b"},
            "oldpassword",
        ),
        (
            "/accounts/password/change/",
            {"oldpassword": PASSWORD, "password1": "a", "password2": "a"},
            "password1",
        ),
        ("/accounts/email/", {"email": "no address", "action_add": "1"}, "email"),
        ("/account/time-zone/", {"time_zone": "Nowhere"}, "time_zone"),
    ],
)
def test_pages_of_the_account(alice: User, address: str, values: dict[str, str], field: str) -> None:
    hers = logged_in()
    assert focused(hers.get(address)) == []
    assert focused(hers.post(address, values)) == [field]


def test_the_page_for_a_code_with_a_wrong_new_address(settings: LazySettings) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    settings.ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
    settings.ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
    client = Client()
    form = {"username": "bob", "email": "bob@example.org", "password1": PASSWORD, "password2": PASSWORD}
    there = client.post("/accounts/signup/", form)["Location"]
    assert focused(client.get(there)) == ["code"]
    assert focused(client.post(there, {"code": "wrong"})) == ["code"]
    assert focused(client.post(there, {"action": "change", "email": "no address"})) == ["email"]
