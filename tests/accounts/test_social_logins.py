"""Test sign-in with other providers: available only with keys, and under the same rules as any account."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.conf import LazySettings
from django.test import Client

from conversations.accounts.models import User
from tests.accounts.fake_provider import FakeProvider, running_provider
from tests.accounts.helpers import PASSWORD, give_address, is_logged_in
from tests.guards.project import ROOT

pytestmark = pytest.mark.django_db
ALL_KEYS = {
    f"{provider}_CLIENT_{part}": f"{provider}-{part}"
    for provider in ("GOOGLE", "LINKEDIN", "FACEBOOK", "OIDC")
    for part in ("ID", "SECRET")
} | {"OIDC_NAME": "House", "OIDC_SERVER_URL": "https://id.example.org/realms/house/"}


@pytest.fixture
def provider(settings: LazySettings) -> Iterator[FakeProvider]:
    with running_provider() as running:
        app = {
            "provider_id": "oidc",
            "name": "House",
            "client_id": "id",
            "secret": "secret",
            "settings": {"server_url": running.address, "oauth_pkce_enabled": True},
        }
        settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app]}}
        yield running


def come_back(client: Client, query: str = "") -> Any:
    """Sign in at the provider, and return the site's response to the callback."""
    response = client.post(f"/accounts/oidc/oidc/login/{query}")
    asked = parse_qs(urlsplit(response["Location"]).query)
    callback = urlsplit(asked["redirect_uri"][0]).path
    return client.get(callback, {"state": asked["state"][0], "code": "a-code"})


def settings_with(keys: dict[str, str]) -> Any:
    """Load the settings with these variables in a new process, and return the result or the error."""
    program = (
        "import json, chatsite.settings as s;"
        "print(json.dumps([s.SOCIALACCOUNT_PROVIDERS, s.CONTENT_SECURITY_POLICY['DIRECTIVES']['form-action']]))"
    )
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": os.environ["DATA_DIR"], **keys}
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(result.stdout) if result.returncode == 0 else result.stderr


def test_providers_without_keys_are_not_available() -> None:
    assert settings_with({}) == [{}, ["'self'"]]
    for path in ("login", "signup"):
        page = Client().get(f"/accounts/{path}/").content.decode()
        assert "Continue with" not in page
    for path in ("google", "facebook", "oidc/linkedin", "oidc/oidc"):
        for end in ("login/", "login/callback/"):
            assert Client().get(f"/accounts/{path}/{end}").status_code == 404
            assert Client().post(f"/accounts/{path}/{end}").status_code == 404


def test_providers_with_keys_are_available(settings: LazySettings) -> None:
    providers, form_action = settings_with(ALL_KEYS)
    assert form_action == [
        "'self'",
        "https://accounts.google.com",
        "https://www.linkedin.com",
        "https://www.facebook.com",
        "https://id.example.org",
    ]
    settings.SOCIALACCOUNT_PROVIDERS = providers
    for path in ("login", "signup"):
        page = Client().get(f"/accounts/{path}/").content.decode()
        for name in ("Google", "LinkedIn", "Facebook", "House"):
            assert f"Continue with {name}" in page
    for path, place in {
        "google": "https://accounts.google.com/o/oauth2/v2/auth",
        "facebook": "https://www.facebook.com/",
    }.items():
        assert "Continue" in Client().get(f"/accounts/{path}/login/").content.decode(), (
            "a GET request must not contact the provider"
        )
        location = Client().post(f"/accounts/{path}/login/")["Location"]
        assert location.startswith(place)
        assert "email" in parse_qs(urlsplit(location).query)["scope"][0]


@pytest.mark.parametrize("name", [name for name in ALL_KEYS if "CLIENT" in name])
def test_the_site_does_not_start_with_half_of_a_provider_key(name: str) -> None:
    provider = name.partition("_")[0]
    keys = {name: "x", "OIDC_SERVER_URL": "https://id.example.org"}
    assert f"{provider}_CLIENT_ID and {provider}_CLIENT_SECRET" in settings_with(keys)


def test_the_site_does_not_start_without_the_oidc_server_url() -> None:
    assert "OIDC_SERVER_URL" in settings_with({"OIDC_CLIENT_ID": "x", "OIDC_CLIENT_SECRET": "y"})


def test_a_new_user_gets_an_account(provider: FakeProvider) -> None:
    client = Client()
    assert come_back(client)["Location"] == "/"
    assert is_logged_in(client)
    address = EmailAddress.objects.get()
    assert (address.email, address.verified) == ("dora@example.org", True)
    assert not User.objects.get().has_usable_password()
    again = Client()
    come_back(again)
    assert is_logged_in(again)
    assert User.objects.count() == 1


def test_providers_are_contacted_only_after_the_button_is_pressed(provider: FakeProvider) -> None:
    Client().get("/accounts/login/")
    Client().get("/accounts/oidc/oidc/login/")
    assert not provider.requests


def test_closed_sign_up_applies_to_providers_too(provider: FakeProvider, settings: LazySettings) -> None:
    settings.SIGNUP = "closed"
    client = Client()
    assert "Sign-up is closed" in come_back(client).content.decode()
    assert not is_logged_in(client)
    assert not User.objects.exists()


@pytest.mark.parametrize("verified", [True, False, "false", "true"])
def test_a_matching_address_never_connects_to_an_existing_account(
    provider: FakeProvider, alice: User, verified: bool | str
) -> None:
    give_address(alice)
    provider.person = {"sub": "2", "email": "alice@example.org", "email_verified": verified}
    client = Client()
    response = come_back(client)
    assert response["Location"] == "/accounts/connections/signup/"
    form = {"username": "eve", "email": "alice@example.org"}
    page = client.post("/accounts/connections/signup/", form).content.decode()
    assert "An account already exists with this email address" in page
    assert not is_logged_in(client)
    assert not SocialAccount.objects.exists()


@pytest.mark.parametrize(
    ("said", "verified"), [(True, True), ("true", True), (False, False), ("false", False)]
)
def test_an_address_is_verified_only_if_the_provider_says_so(
    provider: FakeProvider, said: bool | str, verified: bool
) -> None:
    provider.person["email_verified"] = said
    come_back(Client())
    assert EmailAddress.objects.get().verified is verified


def test_signed_in_users_can_connect_and_remove_a_provider(provider: FakeProvider, alice: User) -> None:
    client = Client()
    client.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    assert "Connect House" in client.get("/accounts/connections/").content.decode()
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    assert come_back(client, "?process=connect")["Location"] == "/accounts/connections/"
    account = SocialAccount.objects.get(user=alice)
    assert "Connected accounts" in client.get("/account/").content.decode()
    other = Client()
    come_back(other)
    assert is_logged_in(other)
    client.post("/accounts/connections/", {"account": account.pk})
    assert not SocialAccount.objects.exists()


def test_connecting_a_provider_requires_reauthentication(provider: FakeProvider, alice: User) -> None:
    client = Client()
    client.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    response = come_back(client, "?process=connect")
    assert response["Location"].startswith("/accounts/reauthenticate/")
    assert not SocialAccount.objects.exists()


def test_a_state_from_another_browser_is_refused(provider: FakeProvider) -> None:
    response = Client().post("/accounts/oidc/oidc/login/")
    state = parse_qs(urlsplit(response["Location"]).query)["state"][0]
    client = Client()
    page = client.get(
        "/accounts/oidc/oidc/login/callback/", {"state": state, "code": "a-code"}
    ).content.decode()
    assert "Sign-in failed" in page
    assert not is_logged_in(client)


def test_cancelling_at_the_provider_changes_nothing(provider: FakeProvider) -> None:
    client = Client()
    response = client.post("/accounts/oidc/oidc/login/")
    state = parse_qs(urlsplit(response["Location"]).query)["state"][0]
    back = {"state": state, "error": "access_denied"}
    response = client.get("/accounts/oidc/oidc/login/callback/", back, follow=True)
    assert "Sign-in cancelled" in response.content.decode()


def test_an_unreachable_provider_causes_no_server_error(provider: FakeProvider) -> None:
    client = Client()
    provider.shutdown()
    provider.socket.close()
    response = client.post("/accounts/oidc/oidc/login/", follow=True)
    assert "Sign-in failed" in response.content.decode()


def test_the_callback_never_redirects_to_another_site(provider: FakeProvider) -> None:
    assert come_back(Client(), "?next=https://evil.example/")["Location"] == "/"
