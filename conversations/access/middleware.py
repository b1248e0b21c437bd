"""Check access before each page, and show people without access the reason."""

from collections.abc import Callable

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from conversations.access import selectors
from conversations.access.rules import Reason, Verdict
from conversations.accounts.models import AccountNotice, User
from conversations.accounts.views import pages as account_pages
from conversations.common.rendering.markdown import render_markdown
from conversations.common.requests import needs_nobody


class AccessMiddleware:
    """Block people whom the access verdict refuses, and show its text.

    The verdict is available as `request.verdict` on every checked page. On account pages a guest counts as signed out, so
    that they can sign up or sign in; `request.guest` is the guest's user.
    """

    ACCOUNT_PAGES = ("allauth.", account_pages.__name__)
    STAYS_OPEN = frozenset(
        {
            "account_logout",
            "join",
            "join_by_link",
            "accept_terms",
            "preview",
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
        self, request: HttpRequest, view: Callable[..., object], args: object, kwargs: object
    ) -> HttpResponse | None:
        match = request.resolver_match
        if needs_nobody(request):
            return None
        user = request.user
        if not isinstance(user, User):
            return None
        is_account_page = view.__module__.startswith(self.ACCOUNT_PAGES)
        if user.account_type == User.AccountType.GUEST and is_account_page:
            if match is not None and match.view_name != "account_logout":
                request.guest = user  # type: ignore[attr-defined]
                request.user = AnonymousUser()
            return None
        if match is not None and match.view_name in self.STAYS_OPEN:
            return None
        verdict = selectors.verdict_for(user, now=timezone.now())
        request.verdict = verdict  # type: ignore[attr-defined]
        # People who await approval or have not accepted the terms can still manage how they sign in.
        if is_account_page and verdict.reason is not Reason.SUSPENDED:
            return None
        return self._gate(request, user, verdict, is_admin=match is not None and match.app_name == "admin")

    def _gate(
        self, request: HttpRequest, user: User, verdict: Verdict, *, is_admin: bool
    ) -> HttpResponse | None:
        context: dict[str, object] = {"verdict": verdict}
        if verdict.reason is Reason.SUSPENDED:
            newest = (
                user.notices.in_force().filter(kind=AccountNotice.Kind.SUSPENSION).order_by("-pk").first()
            )
            context |= {"notice": newest, "until": user.suspended_until}
            return render(request, "access/suspended.html", context, status=403)
        if verdict.reason is Reason.PENDING:
            return render(request, "access/pending.html", context, status=403)
        if verdict.terms is None or is_admin or request.method not in {"GET", "HEAD"}:
            return None
        context |= {"terms": verdict.terms, "terms_html": render_markdown(selectors.text_of(verdict.terms))}
        return render(request, "access/terms.html", context)
