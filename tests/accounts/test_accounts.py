"""Test this site's setup of django-allauth: emailed codes, redirects after sign-in, and email addresses."""

import re
import time
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.conf import LazySettings
from django.core import mail
from django.test import Client

from conversations.accounts.models import User
from tests.accounts.helpers import (
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
    """Give Alice an email address."""
    give_address(alice)
    return alice


@pytest.fixture
def hers(alice: User) -> Client:
    """Return a client in which Alice is signed in."""
    return logged_in()


# --- Emailed codes ---


def test_users_sign_in_with_an_emailed_code(alice: User) -> None:
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


def test_a_code_works_only_in_the_browser_that_requested_it(alice: User) -> None:
    ask_for_code(Client())
    other = Client()
    confirm(other, code=mailed_code())
    assert not is_logged_in(other)


def test_the_right_code_is_refused_after_three_wrong_ones(alice: User) -> None:
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


def test_emailed_codes_are_rate_limited(alice: User) -> None:
    for _attempt in range(5):
        ask_for_code(Client())
    response = ask_for_code(Client())
    assert response.status_code == 200
    assert b"Too many" in response.content
    assert len(mail.outbox) == 5


@pytest.mark.parametrize("path", ["/accounts/login/code/", "/accounts/password/reset/"])
def test_pages_do_not_reveal_whether_an_account_exists(alice: User, path: str) -> None:
    pages = []
    for address in ("alice@example.org", "nobody@example.org"):
        client = Client()
        response = client.post(path, {"email": address}, follow=True)
        page = response.content.decode().replace(address, "…")
        pages.append(re.sub(r'value="\w{64}"', "", page))
    assert pages[0] == pages[1]
    assert [message.to for message in mail.outbox] == [["alice@example.org"]]


def test_a_failed_email_causes_no_error_page(alice: User, settings: LazySettings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_PORT = 9
    assert ask_for_code(Client())["Location"] == "/accounts/login/code/confirm/"


def test_inactive_accounts_get_no_code(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)
    client = Client()
    ask_for_code(client)
    assert not mail.outbox


def test_a_forgotten_password_is_reset_with_a_code(alice: User) -> None:
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


def test_three_wrong_codes_cancel_a_password_reset(alice: User) -> None:
    client = Client()
    client.post("/accounts/password/reset/", {"email": "alice@example.org"})
    for _attempt in range(3):
        client.post("/accounts/password/reset/code/", {"code": "BBBB-BBBB"})
    response = client.post("/accounts/password/reset/code/", {"code": mailed_code()})
    assert response["Location"] == "/accounts/login/"
    assert client.get("/accounts/password/reset/new/")["Location"] == "/accounts/password/reset/"


# --- Redirects after sign-in ---


def test_sign_in_never_redirects_to_another_site(alice: User) -> None:
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
def test_sign_in_redirects_only_within_the_same_host(alice: User, elsewhere: str) -> None:
    response = Client().post("/accounts/login/", {"login": "alice", "password": PASSWORD, "next": elsewhere})
    assert response["Location"] == "/"


def test_sign_in_returns_users_to_the_page_they_wanted(alice: User) -> None:
    client = Client()
    ask_for_code(client, next="/reports/")
    assert confirm(client, code=mailed_code(), next="/reports/")["Location"] == "/reports/"


# --- The email address ---


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
def test_sign_up_requires_the_emailed_code() -> None:
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
def test_sign_up_requires_an_address_if_verification_is_mandatory() -> None:
    assert sign_up(Client()).status_code == 200
    assert not User.objects.exists()


@pytest.mark.usefixtures("_mandatory")
def test_signing_up_with_a_taken_address_reveals_nothing(alice: User) -> None:
    client = Client()
    response = sign_up(client, email="alice@example.org")
    assert response["Location"] == "/accounts/email/verify/"
    assert not User.objects.filter(username="dora").exists()
    assert "already exists" in mail.outbox[0].body


@pytest.mark.usefixtures("_mandatory")
def test_a_mistyped_address_can_be_corrected_during_sign_up() -> None:
    client = Client()
    sign_up(client, email="doar@example.org")
    # Browsers accept this address, but Django doesn't.
    refused = client.post("/accounts/email/verify/", {"action": "change", "email": "dora@example"})
    assert "Enter a valid email address." in refused.text
    client.post("/accounts/email/verify/", {"action": "change", "email": "dora@example.org"})
    client.post("/accounts/email/verify/", {"code": mailed_code()})
    assert is_logged_in(client)
    assert list(EmailAddress.objects.values_list("email", "verified")) == [("dora@example.org", True)]


@pytest.mark.usefixtures("_mandatory")
def test_a_new_address_takes_effect_once_its_code_is_entered(alice: User, hers: Client) -> None:
    show_password_again(hers)
    response = hers.post("/accounts/email/", {"action_add": "1", "email": "new@example.org"})
    assert response["Location"] == "/accounts/email/verify/"
    alice.refresh_from_db()
    assert alice.email == "alice@example.org"
    assert hers.post("/accounts/email/verify/", {"code": mailed_code()})["Location"] == "/account/"
    alice.refresh_from_db()
    assert alice.email == "new@example.org"
    assert mail.outbox[-1].to == ["alice@example.org"], "the old address is notified"


@pytest.mark.usefixtures("_mandatory")
def test_an_account_without_an_address_is_not_locked_out(charlie: User) -> None:
    assert is_logged_in(logged_in("charlie"))
    User.objects.filter(pk=charlie.pk).update(email="charlie@example.org")
    client = logged_in("charlie")
    assert not is_logged_in(client)
    client.post("/accounts/email/verify/", {"code": mailed_code()})
    assert is_logged_in(client)


def test_a_new_address_takes_effect_once_its_link_is_confirmed(alice: User, hers: Client) -> None:
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


def test_changing_the_address_requires_reauthentication(hers: Client) -> None:
    response = hers.post("/accounts/email/", {"action_add": "1", "email": "new@example.org"})
    assert response["Location"].startswith("/accounts/reauthenticate/")
    assert not mail.outbox


def test_sign_up_needs_no_address_by_default(settings: LazySettings) -> None:
    assert settings.EMAIL_VERIFICATION == "none"
    client = Client()
    assert sign_up(client)["Location"] == "/"
    assert not mail.outbox


# --- The overview ---


def test_the_overview_shows_the_current_settings(alice: User, hers: Client) -> None:
    page = hers.get("/account/").content.decode()
    assert "alice@example.org" in page
    assert "not verified" not in page
    assert "Connected accounts" not in page
    assert 'href="/account/"' in hers.get("/").content.decode()
    EmailAddress.objects.update(verified=False)
    assert "not verified" in hers.get("/account/").content.decode()


def test_guests_are_sent_to_sign_in(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(account_type=User.AccountType.GUEST)
    client = Client()
    client.force_login(alice)
    for path in ("/account/", "/account/devices/", "/accounts/second-factor/"):
        assert client.get(path)["Location"].startswith("/accounts/login/")
