"""URLs for accounts. Only the django-allauth views that this site uses are included."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account import views as account
from allauth.decorators import rate_limit
from allauth.mfa.base import views as mfa
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as webauthn
from allauth.socialaccount import views as social
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.facebook import views as facebook
from allauth.socialaccount.providers.google import views as google
from allauth.socialaccount.providers.openid_connect import views as openid_connect
from django.contrib.auth.decorators import login_not_required, login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from requests import RequestException

from .views import notices, pages

View = Callable[..., HttpResponse]
logger = logging.getLogger(__name__)


def limited(view: View, action: str) -> View:
    """Return the view restricted to signed-in users, with the rate limit for this action (ACCOUNT_RATE_LIMITS)."""
    counted: View = rate_limit(action=action)(view)
    return login_required(counted)


def of_provider(view: View) -> View:
    """Return a sign-in provider's view with a rate limit. It gives a 404 unless the provider's keys are set."""

    @wraps(view)
    def found(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return counted(request, *args, **kwargs)
        except SocialApp.DoesNotExist as error:
            raise Http404 from error
        except RequestException as error:
            logger.warning("A sign-in provider did not respond: %s", type(error).__qualname__)
            return redirect("socialaccount_login_error")

    counted: View = rate_limit(action="login")(view)
    return found


urlpatterns = [
    path("notices/<uuid:public_id>/acknowledge/", notices.acknowledge, name="notice_acknowledge"),
    path("account/", pages.overview, name="account"),
    path("account/time-zone/", pages.time_zone, name="account_time_zone"),
    path("account/devices/", limited(pages.devices, "manage_devices"), name="usersessions_list"),
    path(
        "account/devices/<int:pk>/end/",
        limited(pages.end_device, "manage_devices"),
        name="device_end",
    ),
    path("accounts/login/", account.login, name="account_login"),
    path("accounts/login/code/", account.request_login_code, name="account_request_login_code"),
    path("accounts/login/code/confirm/", account.confirm_login_code, name="account_confirm_login_code"),
    path("accounts/login/passkey/", webauthn.login_webauthn, name="mfa_login_webauthn"),
    path("accounts/login/second-factor/", mfa.authenticate, name="mfa_authenticate"),
    path("accounts/logout/", account.logout, name="account_logout"),
    path("accounts/signup/", account.signup, name="account_signup"),
    path("accounts/inactive/", account.account_inactive, name="account_inactive"),
    path("accounts/email/", account.email, name="account_email"),
    path("accounts/email/verify/", pages.verify_address, name="account_email_verification_sent"),
    path("accounts/email/verify/<str:key>/", account.confirm_email, name="account_confirm_email"),
    path("accounts/password/change/", account.password_change, name="account_change_password"),
    path("accounts/password/set/", account.password_set, name="account_set_password"),
    path("accounts/password/reset/", account.password_reset, name="account_reset_password"),
    path(
        "accounts/password/reset/code/",
        account.confirm_password_reset_code,
        name="account_confirm_password_reset_code",
    ),
    path(
        "accounts/password/reset/new/",
        account.complete_password_reset,
        name="account_complete_password_reset",
    ),
    path(
        "accounts/password/reset/done/",
        account.password_reset_from_key_done,
        name="account_password_reset_completed",
    ),
    path("accounts/reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
    path("accounts/reauthenticate/code/", mfa.reauthenticate, name="mfa_reauthenticate"),
    path(
        "accounts/reauthenticate/passkey/",
        webauthn.reauthenticate_webauthn,
        name="mfa_reauthenticate_webauthn",
    ),
    path("accounts/second-factor/", mfa.index, name="mfa_index"),
    path(
        "accounts/second-factor/app/", limited(totp.activate_totp, "manage_factors"), name="mfa_activate_totp"
    ),
    path(
        "accounts/second-factor/app/remove/",
        limited(totp.deactivate_totp, "manage_factors"),
        name="mfa_deactivate_totp",
    ),
    path(
        "accounts/second-factor/recovery-codes/",
        recovery_codes.view_recovery_codes,
        name="mfa_view_recovery_codes",
    ),
    path(
        "accounts/second-factor/recovery-codes/new/",
        limited(recovery_codes.generate_recovery_codes, "manage_factors"),
        name="mfa_generate_recovery_codes",
    ),
    path(
        "accounts/second-factor/recovery-codes/download/",
        recovery_codes.download_recovery_codes,
        name="mfa_download_recovery_codes",
    ),
    path("accounts/second-factor/passkeys/", webauthn.list_webauthn, name="mfa_list_webauthn"),
    path(
        "accounts/second-factor/passkeys/add/",
        limited(webauthn.add_webauthn, "manage_factors"),
        name="mfa_add_webauthn",
    ),
    path(
        "accounts/second-factor/passkeys/<int:pk>/",
        limited(webauthn.edit_webauthn, "manage_factors"),
        name="mfa_edit_webauthn",
    ),
    path(
        "accounts/second-factor/passkeys/<int:pk>/remove/",
        limited(webauthn.remove_webauthn, "manage_factors"),
        name="mfa_remove_webauthn",
    ),
    path(
        "accounts/connections/",
        limited(social.connections, "manage_factors"),
        name="socialaccount_connections",
    ),
    path(
        "accounts/connections/signup/",
        rate_limit(action="signup")(social.signup),
        name="socialaccount_signup",
    ),
    path("accounts/connections/cancelled/", social.login_cancelled, name="socialaccount_login_cancelled"),
    path(
        "accounts/connections/error/",
        login_not_required(social.login_error),
        name="socialaccount_login_error",
    ),
    path("accounts/google/login/", of_provider(google.oauth2_login), name="google_login"),
    path("accounts/google/login/callback/", of_provider(google.oauth2_callback), name="google_callback"),
    path("accounts/facebook/login/", of_provider(facebook.oauth2_login), name="facebook_login"),
    path(
        "accounts/facebook/login/callback/", of_provider(facebook.oauth2_callback), name="facebook_callback"
    ),
    path(
        "accounts/oidc/<slug:provider_id>/login/",
        of_provider(openid_connect.login),
        name="openid_connect_login",
    ),
    path(
        "accounts/oidc/<slug:provider_id>/login/callback/",
        of_provider(openid_connect.callback),
        name="openid_connect_callback",
    ),
]
