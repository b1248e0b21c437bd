"""Views for machines: health, and what search engines may index."""

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from conversations.common.outages import database_answers


@login_not_required
@require_GET
def robots(request: HttpRequest) -> HttpResponse:
    """Tell search engines what to index: the sign-in page in production, otherwise nothing."""
    rules = "Allow: /accounts/login/\nDisallow: /\n" if settings.IS_PRODUCTION else "Disallow: /\n"
    return HttpResponse(f"User-agent: *\n{rules}", content_type="text/plain")


@never_cache
@login_not_required
@require_GET
def healthz(request: HttpRequest) -> JsonResponse:
    """Return 200 if this process can write to the database, or 503 within a few seconds."""
    if database_answers():
        return JsonResponse({"status": "ok"})
    return JsonResponse({"status": "unavailable", "database": "unavailable"}, status=503)
