"""What every template may use."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, Any]:
    """Return the facts about this installation that pages show: whether sign-up is open."""
    return {"signup_open": settings.SIGNUP_OPEN}
