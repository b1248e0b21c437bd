"""People who aren't signed in reach only the few pages meant for them."""

import pytest
from django.test import Client
from django.urls import get_resolver, reverse

from tests.guards.addresses import ADDRESSES, OPEN

CLOSED = [(name, address) for name, address in ADDRESSES if name not in OPEN]


def test_all_url_patterns_are_found() -> None:
    names = {name for name, _address in ADDRESSES}
    assert names > OPEN
    assert {"chat", "conversation", "send", "index", "chat_message_changelist"} <= names
    # Each example resolves to its own pattern, so the tests below request the intended views.
    assert {get_resolver().resolve(address).url_name or "" for name, address in ADDRESSES} >= names - {""}


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(("name", "address"), CLOSED)
def test_all_other_pages_require_sign_in(
    client: Client, db: None, name: str, address: str, method: str
) -> None:
    response = getattr(client, method)(address, follow=True)
    if response.redirect_chain:
        # Django admin redirects to its own sign-in page first, which redirects to the site's.
        assert response.redirect_chain[-1][0].split("?")[0] == reverse("account_login")
    else:
        assert response.status_code in {401, 403, 404}


def test_unknown_addresses_are_not_found(client: Client, db: None) -> None:
    assert client.get("/nothing/of/the/kind/").status_code == 404
