"""Middleware of the site as a whole."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import add_never_cache_headers


class NoStoreMiddleware:
    """Keep pages of a signed-in person out of every cache, also out of the browser's after a log-out."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.user.is_authenticated and not response.has_header("Cache-Control"):
            add_never_cache_headers(response)
        return response


class SuspensionMiddleware:
    """Show people whom staff suspended why and until when, in place of every page but the few that they still need."""

    STAYS_OPEN = frozenset(
        {
            "account_logout",
            "healthz",
            "report",
            "report_appeal",
            "report_reply",
            "reports",
            "set_language",
        }
    )

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: object, args: object, kwargs: object
    ) -> HttpResponse | None:
        user = request.user
        match = request.resolver_match
        if not user.is_authenticated or not user.is_suspended(timezone.now()):
            return None
        if match is not None and match.view_name in self.STAYS_OPEN:
            return None
        newest = user.notices.filter(kind="suspension", lifted_at__isnull=True).order_by("-pk").first()
        context = {"notice": newest, "until": user.suspended_until}
        return render(request, "conversations/suspended.html", context, status=403)
