"""Require a second factor for the admin."""

from collections.abc import Callable

from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _


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
