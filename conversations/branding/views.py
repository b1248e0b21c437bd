"""Serve the logos."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from .models import Logo

CACHE_SECONDS = 31_536_000


@login_not_required
@require_safe
@cache_control(public=True, max_age=CACHE_SECONDS, immutable=True)
def logo(request: HttpRequest, digest: str) -> HttpResponse:
    """Return a logo, which browsers may keep, because another image has another address."""
    found = get_object_or_404(Logo, digest=digest)
    # SecurityMiddleware adds nosniff, so a browser never treats it as anything but this type.
    return HttpResponse(bytes(found.data), content_type=found.content_type)
