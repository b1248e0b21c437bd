"""Helpers that read HTTP requests."""

from django.http import HttpRequest


def is_fragment(request: HttpRequest) -> bool:
    """Return whether htmx requested part of a page."""
    return bool(request.headers.get("HX-Request"))
