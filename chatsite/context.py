"""Template context about the site as a whole."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, Any]:
    """Return the name of the environment, or an empty text in production."""
    return {"environment": "" if settings.IS_PRODUCTION else settings.ENVIRONMENT}
