"""Account pages that django-allauth lacks: an overview, and the devices that are signed in."""

import re
from typing import Any

from allauth.account import app_settings as account_settings
from allauth.account.adapter import get_adapter
from allauth.account.forms import ChangeEmailForm
from allauth.account.models import EmailAddress
from allauth.account.views import ConfirmEmailVerificationCodeView, EmailVerificationSentView
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from allauth.usersessions.views import ListUserSessionsView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required, login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from conversations.accounts import services
from conversations.accounts.forms import TimeZoneForm
from conversations.accounts.models import User

# The first match wins, because Edge and Opera also claim to be Chrome, and Chrome claims to be Safari.
BROWSERS = {
    r"Edg(e|A|iOS)?/": "Edge",
    r"OPR/|Opera": "Opera",
    r"SamsungBrowser/": "Samsung Internet",
    r"Firefox/|FxiOS/": "Firefox",
    r"Chrome/|CriOS/|Chromium/": "Chrome",
    r"Safari/": "Safari",
}
SYSTEMS = {
    r"iPhone": "iPhone",
    r"iPad": "iPad",
    r"Android": "Android",
    r"CrOS": "ChromeOS",
    r"Windows": "Windows",
    r"Mac OS X|Macintosh": "macOS",
    r"Linux|X11": "Linux",
}


def describe_browser(user_agent: str) -> str:
    """Return the common name of the browser and system behind a User-Agent header."""

    def first(names: dict[str, str]) -> str:
        return next((name for pattern, name in names.items() if re.search(pattern, user_agent)), "")

    browser, system = first(BROWSERS), first(SYSTEMS)
    if browser and system:
        return _("%(browser)s on %(system)s") % {"browser": browser, "system": system}
    return browser or system or _("Unknown browser")


@login_required
@never_cache
@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """Show the account's settings and their current values."""
    user = request.user
    address = EmailAddress.objects.filter(user=user).order_by("-primary", "-verified", "pk").first()
    context = {
        "email": address.email if address else getattr(user, "email", ""),
        "is_verified": address is not None and address.verified,
        "has_second_factor": is_mfa_enabled(user, [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]),
        "connections": SocialAccount.objects.filter(user=user).count(),
        "time_zone": timezone.get_current_timezone_name().replace("_", " "),
        "has_providers": bool(settings.SOCIALACCOUNT_PROVIDERS),
    }
    return render(request, "account/account.html", context)


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def time_zone(request: HttpRequest) -> HttpResponse:
    """Show and handle the form for the person's time zone."""
    user = request.user
    assert isinstance(user, User)
    form = TimeZoneForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        services.set_time_zone(user=user, name=form.cleaned_data["time_zone"])
        get_adapter(request).add_message(
            request, messages.SUCCESS, message=_("Your time zone has been changed.")
        )
        return redirect("account")
    return render(request, "account/time_zone.html", {"form": form}, status=422 if form.errors else 200)


class ConfirmAddressView(ConfirmEmailVerificationCodeView):
    """Ask for the code that was sent to a new address, or for another address."""

    def _change_form_invalid(self, form: ChangeEmailForm) -> HttpResponse:
        # allauth calls this method, but doesn't define it.
        response: HttpResponse = self.render_to_response(self.get_context_data(form=form))
        return response


@login_not_required
def verify_address(request: HttpRequest) -> HttpResponse:
    """Ask for the code that was sent to a new address or, if a link was sent, say so."""
    by_code = account_settings.EMAIL_VERIFICATION_BY_CODE_ENABLED
    view = ConfirmAddressView if by_code else EmailVerificationSentView
    response: HttpResponse = view.as_view()(request)
    return response


class DevicesView(ListUserSessionsView):
    """List the devices where the account is signed in. A POST signs out all other devices."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        # A session that started before devices were recorded would be missing from the list.
        UserSession.objects.create_from_request(self.request)
        context: dict[str, Any] = super().get_context_data(**kwargs)
        devices = [(session, describe_browser(session.user_agent)) for session in context["sessions"]]
        # Show the current device first, then the newest.
        devices.reverse()
        devices.sort(key=lambda device: not device[0].is_current())
        return {**context, "devices": devices}


devices = DevicesView.as_view()


@login_required
@require_POST
def end_device(request: HttpRequest, pk: int) -> HttpResponse:
    """Sign out one of the user's own devices. Its open pages close within seconds."""
    session = get_object_or_404(UserSession, pk=pk, user=request.user)
    if session.is_current():
        return redirect("account_logout")
    session.end()
    get_adapter(request).add_message(request, messages.SUCCESS, message=_("That device has been signed out."))
    return redirect("usersessions_list")
