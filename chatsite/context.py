"""What every template may use."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from conversations.operations import access


def site(request: HttpRequest) -> dict[str, Any]:
    """Return the facts about this installation that pages show: how people sign up, and which environment it is."""
    return {
        "signup": SimpleLazyObject(access.signup_mode),
        "environment": "" if settings.IS_PRODUCTION else settings.ENVIRONMENT,
    }
