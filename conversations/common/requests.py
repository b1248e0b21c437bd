"""Helpers that read HTTP requests."""

from django.http import HttpRequest

_NEEDS_NOBODY = frozenset({"healthz", "logo", "robots"})


def needs_nobody(request: HttpRequest) -> bool:
    """Return whether the view reads neither the session nor the database, so that middleware must not read them either."""
    return request.resolver_match is not None and request.resolver_match.view_name in _NEEDS_NOBODY


def is_fragment(request: HttpRequest) -> bool:
    """Return whether htmx requested part of a page."""
    return bool(request.headers.get("HX-Request"))
