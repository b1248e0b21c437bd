"""The addresses of the site, with an example of each."""

import re
import uuid
from collections.abc import Iterator

from django.urls import URLPattern, URLResolver, get_resolver

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
    "logo",
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
    "str:digest": "0" * 64,
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
