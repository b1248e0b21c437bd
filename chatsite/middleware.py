"""Middleware for the site as a whole."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import add_never_cache_headers


class AddressMiddleware:
    """Refuse requests for other hosts, and addresses with a null character, which databases reject in text."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.get_host()
        if "\0" in request.path or "%00" in request.META["QUERY_STRING"]:
            raise BadRequest("The address contains a null character.")
        return self.get_response(request)


class NoStoreMiddleware:
    """Keep the pages of signed-in users out of every cache, so the browser can't show them after sign-out."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        # Checked last, because it may query the database, which some responses must not do.
        if not response.has_header("Cache-Control") and request.user.is_authenticated:
            add_never_cache_headers(response)
        return response


class LoginMiddleware(LoginRequiredMiddleware):
    """Require users to sign in, without querying the database for views that are open to all."""

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., Any], view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        if not getattr(view_func, "login_required", True):
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)


class EnvironmentMiddleware:
    """Keep search engines away unless this is production."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not settings.IS_PRODUCTION:
            response["X-Robots-Tag"] = "noindex, nofollow"
        return response
