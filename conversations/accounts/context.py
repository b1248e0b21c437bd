"""Template context about accounts."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from . import rules


def passkeys(request: HttpRequest) -> dict[str, Any]:
    """Return whether passkeys work at the address of this request, and an address at which they do, if one is known."""

    def describe() -> dict[str, Any]:
        requested = request.build_absolute_uri("/").rstrip("/")
        return {
            "work_here": rules.supports_passkeys(requested),
            "address": rules.address_for_passkeys(requested=requested, public=settings.PUBLIC_URL),
        }

    return {"passkeys": SimpleLazyObject(describe)}
