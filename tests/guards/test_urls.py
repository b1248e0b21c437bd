"""People who aren't signed in reach only the few pages meant for them."""

import re
import uuid
from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

OPEN = {
    "account_complete_password_reset",
    "account_confirm_email",
    "account_confirm_login_code",
    "account_email_verification_sent",
    "account_inactive",
    "account_login",
    "account_password_reset_completed",
    "account_request_login_code",
    "account_reset_password",
    "account_signup",
    "facebook_callback",
    "facebook_login",
    "google_callback",
    "google_login",
    "healthz",
    "join",
    "join_by_link",
    "openid_connect_callback",
    "openid_connect_login",
    "preview",
    "robots",
    "set_language",
    "socialaccount_login_cancelled",
    "socialaccount_login_error",
}
EXAMPLES = {
    "int:pk": "1",
    "slug:provider_id": "oidc",
    "str:key": "nothing",
    "app_label": "review",
    "str:code": "ABCDEFGHJKMN",
    "path:content_type_id": "1",
    "id": "1",
    "int:object_id": "1",
    "object_id": "1",
    "path:object_id": "1",
    "url": "nothing/",
    "uuid:message_id": str(uuid.uuid4()),
    "uuid:public_id": str(uuid.uuid4()),
}


def example(route: str) -> str:
    """Return an address that matches the route, given in Django's syntax or as a regular expression."""
    route = (
        re.sub(r"\(\?P<(\w+)>[^)]*\)", r"<\1>", route).replace("^", "").replace("$", "").replace("\\Z", "")
    )
    unknown = set(re.findall(r"<([\w:]+)>", route)) - set(EXAMPLES)
    assert not unknown, f"{route}: add an example for {unknown}"
    return re.sub(r"<([\w:]+)>", lambda found: EXAMPLES[found[1]], route)


def addresses(patterns: list[URLPattern | URLResolver], before: str = "/") -> Iterator[tuple[str, str]]:
    """Yield the name and an example address of every URL pattern."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, before + example(str(pattern.pattern)))
        else:
            yield pattern.name or "", before + example(str(pattern.pattern))


ADDRESSES = sorted(set(addresses(get_resolver().url_patterns)))
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
