"""Template context about branding."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from . import selectors


def branding(request: HttpRequest) -> dict[str, Any]:
    """Return the name and logo of the site, which are read when a page first shows them."""
    return {"branding": SimpleLazyObject(selectors.current_branding)}
