"""Template context about access."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from conversations.access import selectors


def signup(request: HttpRequest) -> dict[str, Any]:
    """Return the sign-up mode for templates."""
    return {"signup": SimpleLazyObject(selectors.signup_mode)}
