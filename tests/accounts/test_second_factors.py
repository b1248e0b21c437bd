"""Test authenticator apps, recovery codes and passkeys, and who must have a second factor."""

import re

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.conf import LazySettings
from django.test import Client

from conversations.accounts.models import User
from tests.accounts.helpers import (
    PASSWORD,
    SECRET,
    ask_for_code,
    confirm,
    give_address,
    is_logged_in,
    logged_in,
    mailed_code,
    show_password_again,
    totp_code,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice(alice: User) -> User:
    """Give Alice an email address."""
    give_address(alice)
    return alice


@pytest.fixture
def hers(alice: User) -> Client:
    """Return a client in which Alice is signed in."""
    return logged_in()


def add_totp(user: User) -> None:
    TOTP.activate(user, SECRET)


def test_an_authenticator_app_is_required_once_added(alice: User, hers: Client) -> None:
    show_password_again(hers)
    page = hers.get("/accounts/second-factor/app/").content.decode()
    assert 'src="data:image/svg+xml;base64,' in page
    found = re.search(r'<code class="key" dir="ltr">([A-Z2-7]+)</code>', page)
    assert found
    response = hers.post("/accounts/second-factor/app/", {"code": totp_code(found.group(1))})
    assert response["Location"] == "/accounts/second-factor/recovery-codes/"
    assert len(re.findall(r"<li>\d{8}</li>", hers.get(response["Location"]).content.decode())) == 10

    client = logged_in()
    assert not is_logged_in(client)
    assert client.get("/")["Location"].startswith("/accounts/login/")


def test_an_app_code_completes_sign_in_once(alice: User) -> None:
    add_totp(alice)
    client = logged_in()
    assert not is_logged_in(client)
    assert b"Incorrect code" in client.post("/accounts/login/second-factor/", {"code": "000000"}).content
    code = totp_code()
    client.post("/accounts/login/second-factor/", {"code": code})
    assert is_logged_in(client)
    other = logged_in()
    other.post("/accounts/login/second-factor/", {"code": code})
    assert not is_logged_in(other), "a code works once"


def test_attempts_at_app_codes_are_limited(alice: User) -> None:
    add_totp(alice)
    client = logged_in()
    for _attempt in range(5):
        client.post("/accounts/login/second-factor/", {"code": "000000"})
    response = client.post("/accounts/login/second-factor/", {"code": totp_code()})
    assert b"Too many" in response.content
    assert not is_logged_in(client)


def test_an_emailed_code_does_not_replace_the_second_factor(alice: User) -> None:
    add_totp(alice)
    client = Client()
    ask_for_code(client)
    assert confirm(client, code=mailed_code())["Location"] == "/accounts/login/second-factor/"
    assert not is_logged_in(client)


def test_a_recovery_code_works_once(alice: User) -> None:
    add_totp(alice)
    code = RecoveryCodes.activate(alice).get_unused_codes()[0]
    client = logged_in()
    client.post("/accounts/login/second-factor/", {"code": code})
    assert is_logged_in(client)
    client = logged_in()
    client.post("/accounts/login/second-factor/", {"code": code})
    assert not is_logged_in(client)


@pytest.mark.parametrize(
    "path",
    ["app/", "app/remove/", "passkeys/add/", "recovery-codes/new/"],
)
def test_changing_second_factors_requires_reauthentication(alice: User, hers: Client, path: str) -> None:
    if path == "app/remove/":
        add_totp(alice)
    for response in (
        hers.get(f"/accounts/second-factor/{path}"),
        hers.post(f"/accounts/second-factor/{path}"),
    ):
        assert response["Location"].startswith("/accounts/reauthenticate/")


def test_passkeys_of_other_users_are_not_found(alice: User, charlie: User) -> None:
    key = Authenticator.objects.create(user=charlie, type=Authenticator.Type.WEBAUTHN, data={"name": "His"})
    client = logged_in()
    show_password_again(client)
    assert b"His" not in client.get("/accounts/second-factor/passkeys/").content
    for path in (f"passkeys/{key.pk}/", f"passkeys/{key.pk}/remove/"):
        assert client.post(f"/accounts/second-factor/{path}", {"name": "Mine"}).status_code == 404
    assert Authenticator.objects.filter(pk=key.pk, data__name="His").exists()


def test_staff_must_set_up_a_second_factor_before_the_admin(alice: User, settings: LazySettings) -> None:
    User.objects.filter(pk=alice.pk).update(is_staff=True, is_superuser=True)
    client = logged_in()
    assert client.get("/admin/").status_code == 200
    settings.MFA_REQUIRED_FOR_STAFF = True
    assert client.get("/admin/")["Location"] == "/accounts/second-factor/"
    assert client.post("/admin/accounts/user/add/")["Location"] == "/accounts/second-factor/"
    assert client.get("/").status_code == 200
    RecoveryCodes.activate(alice)
    assert client.get("/admin/")["Location"] == "/accounts/second-factor/", (
        "recovery codes alone are not a second factor"
    )
    add_totp(alice)
    assert client.get("/admin/").status_code == 200


def test_staff_with_an_app_must_use_it_to_reach_the_admin(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_staff=True, is_superuser=True)
    add_totp(alice)
    client = Client()
    login = client.get("/admin/", follow=True).redirect_chain[-1][0]
    response = client.post(login, {"login": "alice", "password": PASSWORD})
    assert response["Location"] == "/accounts/login/second-factor/"
    assert client.get("/admin/", follow=True).redirect_chain
    response = client.post("/accounts/login/second-factor/", {"code": totp_code()})
    assert response["Location"] == "/admin/"


def test_the_admin_shows_no_secret_of_a_second_factor(alice: User, admin_client: Client) -> None:
    add_totp(alice)
    factor = Authenticator.objects.get(user=alice)
    page = admin_client.get(f"/admin/mfa/authenticator/{factor.pk}/change/").content.decode()
    assert "alice" in page
    assert SECRET not in page
    for path in ("socialaccount/socialapp", "socialaccount/socialtoken"):
        assert admin_client.get(f"/admin/{path}/").status_code == 404
