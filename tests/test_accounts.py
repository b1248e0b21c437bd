"""Codes by mail, addresses, and where a login leads to: django-allauth as this site set it up."""

import re
import time
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.conf import LazySettings
from django.core import mail
from django.test import Client

from conversations.models import User
from tests.accounts import (
    PASSWORD,
    ask_for_code,
    confirm,
    give_address,
    is_logged_in,
    logged_in,
    mailed_code,
    show_password_again,
)

pytestmark = pytest.mark.django_db
NEVER = {"next": "https://evil.example/"}


@pytest.fixture
def alice(alice: User) -> User:
    """Alice with an address."""
    give_address(alice)
    return alice


@pytest.fixture
def hers(alice: User) -> Client:
    """A browser in which Alice is logged in."""
    return logged_in()


# --- A code by mail ---


def test_a_code_that_was_mailed_lets_in(alice: User) -> None:
    client = Client()
    response = ask_for_code(client)
    assert response["Location"] == "/accounts/login/code/confirm/"
    assert mail.outbox[0].to == ["alice@example.org"]
    response = confirm(client, code=mailed_code().lower().replace("-", " "))
    assert response["Location"] == "/"
    assert is_logged_in(client)


def test_a_code_works_once(alice: User) -> None:
    client = Client()
    ask_for_code(client)
    confirm(client, code=mailed_code())
    client.post("/accounts/logout/")
    confirm(client, code=mailed_code())
    assert not is_logged_in(client)


def test_a_code_works_in_the_browser_that_asked_for_it(alice: User) -> None:
    ask_for_code(Client())
    other = Client()
    confirm(other, code=mailed_code())
    assert not is_logged_in(other)


def test_after_three_wrong_codes_the_right_one_is_too_late(alice: User) -> None:
    client = Client()
    ask_for_code(client)
    for _attempt in range(2):
        assert b"Incorrect code" in confirm(client, code="BBBB-BBBB").content
    assert confirm(client, code="BBBB-BBBB")["Location"] == "/accounts/login/code/"
    confirm(client, code=mailed_code())
    assert not is_logged_in(client)


def test_a_code_expires(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    ask_for_code(client)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 601)
    assert confirm(client, code=mailed_code())["Location"] == "/accounts/login/code/"
    assert not is_logged_in(client)


def test_a_new_code_replaces_the_old_one(alice: User) -> None:
    client = Client()
    ask_for_code(client)
    confirm(client, action="resend")
    assert len(mail.outbox) == 2
    assert b"Incorrect code" in confirm(client, code=mailed_code(0)).content
    confirm(client, code=mailed_code(1))
    assert is_logged_in(client)


def test_codes_are_mailed_only_so_often(alice: User) -> None:
    for _attempt in range(5):
        ask_for_code(Client())
    response = ask_for_code(Client())
    assert response.status_code == 200
    assert b"Too many" in response.content
    assert len(mail.outbox) == 5


@pytest.mark.parametrize("path", ["/accounts/login/code/", "/accounts/password/reset/"])
def test_nothing_tells_whether_there_is_an_account(alice: User, path: str) -> None:
    pages = []
    for address in ("alice@example.org", "nobody@example.org"):
        client = Client()
        response = client.post(path, {"email": address}, follow=True)
        page = response.content.decode().replace(address, "…")
        pages.append(re.sub(r'value="\w{64}"', "", page))
    assert pages[0] == pages[1]
    assert [message.to for message in mail.outbox] == [["alice@example.org"]]


def test_a_mail_that_cannot_be_sent_is_no_error_page(alice: User, settings: LazySettings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_PORT = 9
    assert ask_for_code(Client())["Location"] == "/accounts/login/code/confirm/"


def test_a_suspended_account_is_not_let_in_by_a_code(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)
    client = Client()
    ask_for_code(client)
    assert not mail.outbox


def test_a_forgotten_password_is_set_anew_by_a_code(alice: User) -> None:
    client = Client()
    response = client.post("/accounts/password/reset/", {"email": "alice@example.org"})
    assert response["Location"] == "/accounts/password/reset/code/"
    assert client.get("/accounts/password/reset/new/")["Location"] == "/accounts/password/reset/code/"
    client.post("/accounts/password/reset/code/", {"code": mailed_code()})
    new = "another long password"
    response = client.post("/accounts/password/reset/new/", {"password1": new, "password2": new})
    assert response["Location"] == "/accounts/password/reset/done/"
    alice.refresh_from_db()
    assert alice.check_password(new)
    assert mail.outbox[-1].subject.endswith("Password Reset")


def test_a_new_password_is_not_set_after_three_wrong_codes(alice: User) -> None:
    client = Client()
    client.post("/accounts/password/reset/", {"email": "alice@example.org"})
    for _attempt in range(3):
        client.post("/accounts/password/reset/code/", {"code": "BBBB-BBBB"})
    response = client.post("/accounts/password/reset/code/", {"code": mailed_code()})
    assert response["Location"] == "/accounts/login/"
    assert client.get("/accounts/password/reset/new/")["Location"] == "/accounts/password/reset/"


# --- Where a login leads to ---


def test_no_login_leads_to_another_site(alice: User) -> None:
    client = Client()
    response = client.post("/accounts/login/", {"login": "alice", "password": PASSWORD, **NEVER})
    assert response["Location"] == "/"
    client = Client()
    ask_for_code(client, **NEVER)
    assert confirm(client, code=mailed_code(), **NEVER)["Location"] == "/"
    assert client.post("/accounts/logout/", NEVER)["Location"] == "/accounts/login/"


@pytest.mark.parametrize(
    "elsewhere",
    ["http://localhost:9/", "//127.0.0.1/", "https:///evil.example", "/\\evil.example", "javascript:1"],
)
def test_other_names_of_this_machine_are_other_sites(alice: User, elsewhere: str) -> None:
    response = Client().post("/accounts/login/", {"login": "alice", "password": PASSWORD, "next": elsewhere})
    assert response["Location"] == "/"


def test_a_login_leads_to_where_somebody_was_going(alice: User) -> None:
    client = Client()
    ask_for_code(client, next="/reports/")
    assert confirm(client, code=mailed_code(), next="/reports/")["Location"] == "/reports/"


# --- The address ---


@pytest.fixture
def _mandatory(settings: LazySettings) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    settings.ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
    settings.ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
    settings.MFA_ALLOW_UNVERIFIED_EMAIL = False


def sign_up(client: Client, **values: str) -> Any:
    form = {"username": "dora", "password1": PASSWORD, "password2": PASSWORD, **values}
    return client.post("/accounts/signup/", form)


@pytest.mark.usefixtures("_mandatory")
def test_whoever_signs_up_enters_the_code_that_was_mailed_first() -> None:
    client = Client()
    response = sign_up(client, email="dora@example.org")
    assert response["Location"] == "/accounts/email/verify/"
    assert not is_logged_in(client)
    page = client.get("/accounts/email/verify/").content.decode()
    assert "dora@example.org" in page
    client.post("/accounts/email/verify/", {"code": mailed_code()})
    assert is_logged_in(client)
    assert EmailAddress.objects.get(email="dora@example.org").verified


@pytest.mark.usefixtures("_mandatory")
def test_without_an_address_there_is_no_account_where_one_is_asked_for() -> None:
    assert sign_up(Client()).status_code == 200
    assert not User.objects.exists()


@pytest.mark.usefixtures("_mandatory")
def test_signing_up_with_the_address_of_another_tells_nothing(alice: User) -> None:
    client = Client()
    response = sign_up(client, email="alice@example.org")
    assert response["Location"] == "/accounts/email/verify/"
    assert not User.objects.filter(username="dora").exists()
    assert "already exists" in mail.outbox[0].body


@pytest.mark.usefixtures("_mandatory")
def test_a_mistyped_address_can_be_corrected_while_signing_up() -> None:
    client = Client()
    sign_up(client, email="doar@example.org")
    client.post("/accounts/email/verify/", {"action": "change", "email": "dora@example.org"})
    client.post("/accounts/email/verify/", {"code": mailed_code()})
    assert is_logged_in(client)
    assert list(EmailAddress.objects.values_list("email", "verified")) == [("dora@example.org", True)]


@pytest.mark.usefixtures("_mandatory")
def test_a_changed_address_counts_once_its_code_is_entered(alice: User, hers: Client) -> None:
    show_password_again(hers)
    response = hers.post("/accounts/email/", {"action_add": "1", "email": "new@example.org"})
    assert response["Location"] == "/accounts/email/verify/"
    alice.refresh_from_db()
    assert alice.email == "alice@example.org"
    assert hers.post("/accounts/email/verify/", {"code": mailed_code()})["Location"] == "/account/"
    alice.refresh_from_db()
    assert alice.email == "new@example.org"
    assert mail.outbox[-1].to == ["alice@example.org"], "the old address is told"


@pytest.mark.usefixtures("_mandatory")
def test_an_account_without_an_address_is_not_locked_out(charlie: User) -> None:
    assert is_logged_in(logged_in("charlie"))
    User.objects.filter(pk=charlie.pk).update(email="charlie@example.org")
    client = logged_in("charlie")
    assert not is_logged_in(client)
    client.post("/accounts/email/verify/", {"code": mailed_code()})
    assert is_logged_in(client)


def test_a_changed_address_counts_once_its_link_is_confirmed(alice: User, hers: Client) -> None:
    show_password_again(hers)
    hers.post("/accounts/email/", {"action_add": "1", "email": "new@example.org"})
    found = re.search(r"http://testserver(/accounts/email/verify/\S+)", str(mail.outbox[-1].body))
    assert found
    page = hers.get(found.group(1)).content.decode()
    assert "new@example.org" in page
    alice.refresh_from_db()
    assert alice.email == "alice@example.org"
    hers.post(found.group(1))
    alice.refresh_from_db()
    assert alice.email == "new@example.org"


def test_an_address_is_changed_only_by_whoever_shows_once_more_who_they_are(hers: Client) -> None:
    response = hers.post("/accounts/email/", {"action_add": "1", "email": "new@example.org"})
    assert response["Location"].startswith("/accounts/reauthenticate/")
    assert not mail.outbox


def test_the_first_run_asks_for_no_address(settings: LazySettings) -> None:
    assert settings.EMAIL_VERIFICATION == "none"
    client = Client()
    assert sign_up(client)["Location"] == "/"
    assert not mail.outbox


# --- The overview ---


def test_the_overview_says_how_things_are(alice: User, hers: Client) -> None:
    page = hers.get("/account/").content.decode()
    assert "alice@example.org" in page
    assert "not verified" not in page
    assert "Connected accounts" not in page
    assert 'href="/account/"' in hers.get("/").content.decode()
    EmailAddress.objects.update(verified=False)
    assert "not verified" in hers.get("/account/").content.decode()


def test_a_guest_has_no_account(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(standing=User.Standing.GUEST)
    client = Client()
    client.force_login(alice)
    for path in ("/account/", "/account/devices/", "/accounts/second-factor/"):
        assert client.get(path)["Location"].startswith("/accounts/login/")
