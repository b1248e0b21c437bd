"""Use the person's time zone, and require a second factor for the admin."""

from collections.abc import Callable

from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _

from conversations.accounts import rules, services
from conversations.accounts.models import User
from conversations.common.requests import needs_nobody


class TimeZoneMiddleware:
    """Show dates and times in the person's time zone.

    It is first taken from a cookie that static/common/time_zone.js sets.
    """

    COOKIE = "time_zone"

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            return self.get_response(request)
        finally:
            timezone.deactivate()

    def process_view(
        self, request: HttpRequest, view: Callable[..., object], args: object, kwargs: object
    ) -> HttpResponse | None:
        if needs_nobody(request):
            return None
        user, of_browser = request.user, request.COOKIES.get(self.COOKIE, "")
        if isinstance(user, User):
            if not user.time_zone and rules.is_time_zone(of_browser):
                services.note_time_zone(user=user, name=of_browser)
            timezone.activate(rules.time_zone_of(user))
        elif rules.is_time_zone(of_browser):
            timezone.activate(of_browser)
        return None


class SecondFactorMiddleware:
    """Redirect staff from the admin to set up a second factor, if MFA_REQUIRED_FOR_STAFF is set and they have none."""

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
        messages.warning(request, _("The admin site requires two-step verification. Set it up to continue."))
        return redirect("mfa_index")
