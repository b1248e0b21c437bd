"""Middleware of the site as a whole."""

from collections.abc import Callable

from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext as _

from conversations.models import User
from conversations.operations import access
from conversations.rendering.markdown import render_markdown


class NoStoreMiddleware:
    """Keep pages of a signed-in person out of every cache, also out of the browser's after a log-out."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.user.is_authenticated and not response.has_header("Cache-Control"):
            add_never_cache_headers(response)
        return response


class AccessMiddleware:
    """Keep those out who may not come in now, and say why: suspended, not approved yet, or the notice not accepted.

    On the pages of django-allauth a guest is nobody, so that they can sign up or log in; `request.guest` is who they were.
    """

    ACCOUNT_PAGES = ("allauth.", "chatsite.account_pages")
    STAYS_OPEN = frozenset(
        {
            "account_logout",
            "healthz",
            "join",
            "join_by_link",
            "notice_accept",
            "preview",
            "report",
            "report_appeal",
            "report_reply",
            "reports",
            "robots",
            "set_language",
        }
    )

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., object], args: object, kwargs: object
    ) -> HttpResponse | None:
        user = request.user
        match = request.resolver_match
        if not isinstance(user, User):
            return None
        if user.standing == User.Standing.GUEST and view.__module__.startswith(self.ACCOUNT_PAGES):
            if match is not None and match.view_name != "account_logout":
                request.guest = user  # type: ignore[attr-defined]
                request.user = AnonymousUser()
            return None
        if match is not None and (
            match.view_name in self.STAYS_OPEN or self._is_about_the_account(view, user)
        ):
            return None
        return self._gate(request, user, is_admin=match is not None and match.app_name == "admin")

    def _is_about_the_account(self, view: Callable[..., object], user: User) -> bool:
        """Whether this page changes how one logs in, which whoever waits for approval may already do."""
        return view.__module__.startswith(self.ACCOUNT_PAGES) and not user.is_suspended(timezone.now())

    def _gate(self, request: HttpRequest, user: User, *, is_admin: bool) -> HttpResponse | None:
        if user.is_suspended(timezone.now()):
            newest = user.notices.filter(kind="suspension", lifted_at__isnull=True).order_by("-pk").first()
            context: dict[str, object] = {"notice": newest, "until": user.suspended_until}
            return render(request, "conversations/suspended.html", context, status=403)
        if user.standing == User.Standing.PENDING:
            return render(request, "conversations/access/pending.html", status=403)
        if is_admin or request.method not in {"GET", "HEAD"}:
            return None
        notice = access.notice_to_accept(user)
        if notice is None:
            return None
        context = {"notice": notice, "notice_html": render_markdown(access.text_of(notice))}
        return render(request, "conversations/access/notice.html", context)


class SecondFactorMiddleware:
    """Send staff without a second factor to set one up before they reach the admin, where that is asked for."""

    FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., object], args: object, kwargs: object
    ) -> HttpResponse | None:
        match = request.resolver_match
        if (
            not settings.MFA_REQUIRED_FOR_STAFF
            or match is None
            or match.app_name != "admin"
            or match.url_name == "logout"
            or not request.user.is_authenticated
            or is_mfa_enabled(request.user, self.FACTORS)
        ):
            return None
        messages.warning(request, _("The administration asks for a second factor. Please set one up first."))
        return redirect("mfa_index")


class EnvironmentMiddleware:
    """Keep search engines away from everything but production."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not settings.IS_PRODUCTION:
            response["X-Robots-Tag"] = "noindex, nofollow"
        return response
