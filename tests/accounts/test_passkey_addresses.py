"""Passkeys are offered only at addresses where browsers allow them; other pages say where they work."""

import pytest
from allauth.mfa.models import Authenticator
from django.conf import LazySettings
from django.test import Client

from conversations.accounts.models import User
from conversations.accounts.rules import address_for_passkeys, supports_passkeys
from tests.accounts.helpers import logged_in, show_password_again

BY_IP_ADDRESS = {"host": "127.0.0.1:8000"}
ON_LOCALHOST = {"host": "localhost:8000"}
WHERE = '<a href="http://localhost:8000{path}">http://localhost:8000</a>'


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://localhost:8000", True),
        ("http://chat.localhost", True),
        ("https://chat.example.org", True),
        ("https://intranet", True),
        ("http://chat.example.org", False),
        ("http://127.0.0.1:8000", False),
        ("https://127.0.0.1", False),
        ("https://[::1]:8000", False),
        ("https://192.0.2.7", False),
        ("http://localhost.example.org", False),
        ("", False),
    ],
)
def test_passkeys_need_a_domain_name_and_https_or_localhost(address: str, expected: bool) -> None:
    assert supports_passkeys(address) is expected


@pytest.mark.parametrize(
    ("requested", "public", "expected"),
    [
        ("https://chat.example.org", "", "https://chat.example.org"),
        ("http://127.0.0.1:8000", "", "http://localhost:8000"),
        ("http://[::1]", "", "http://localhost"),
        ("http://127.0.0.1:8000", "https://chat.example.org", "https://chat.example.org"),
        ("http://192.0.2.7:8000", "http://chat.example.org", ""),
    ],
)
def test_where_passkeys_work(requested: str, public: str, expected: str) -> None:
    assert address_for_passkeys(requested=requested, public=public) == expected


def test_the_sign_in_page_offers_passkeys_only_where_they_work(db: None) -> None:
    assert "Use a passkey" in Client(headers=ON_LOCALHOST).get("/accounts/login/").text
    assert "Use a passkey" not in Client(headers=BY_IP_ADDRESS).get("/accounts/login/").text


def test_the_security_pages_say_where_passkeys_work(alice: User, settings: LazySettings) -> None:
    client = logged_in()
    show_password_again(client)
    for path in ("", "passkeys/", "passkeys/add/"):
        address = f"/accounts/second-factor/{path}"
        page = client.get(address, headers=BY_IP_ADDRESS).text
        assert WHERE.format(path=address) in page
        assert 'href="/accounts/second-factor/passkeys/add/"' not in page
        assert "data-webauthn" not in page
        assert "Passkeys don't work" not in client.get(address, headers=ON_LOCALHOST).text
    settings.ALLOWED_HOSTS = ["chat.example.org"]
    page = client.get("/accounts/second-factor/", headers={"host": "chat.example.org"}).text
    assert "They need a site with HTTPS and a domain name." in page


@pytest.mark.parametrize(("host", "is_offered"), [(ON_LOCALHOST, True), (BY_IP_ADDRESS, False)])
def test_people_confirm_their_identity_with_passkeys_only_where_they_work(
    alice: User, host: dict[str, str], is_offered: bool
) -> None:
    key = {"name": "Key", "credential": {}}
    Authenticator.objects.create(user=alice, type=Authenticator.Type.WEBAUTHN, data=key)
    client = Client(headers=host)
    client.force_login(alice)
    page = client.get("/accounts/second-factor/app/", follow=True).text
    assert "Confirm it&#x27;s you" in page or "Confirm it's you" in page
    assert ("Use a security key" in page) is is_offered
