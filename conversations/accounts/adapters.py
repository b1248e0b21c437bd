"""Adapt django-allauth to this site: sign-in, emails, other sign-in providers and second factors."""

import logging
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.adapter import get_adapter as get_account_adapter
from allauth.account.models import EmailAddress
from allauth.account.stages import EmailVerificationStage
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.contrib.sites.requests import RequestSite
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext

from conversations.accounts.rules import supports_passkeys
from conversations.branding.selectors import current_branding
from conversations.common import mails

logger = logging.getLogger(__name__)


def _path_of(cls: type) -> str:
    """Return the dotted path by which allauth refers to a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


class AccountAdapter(DefaultAccountAdapter):
    """Apply the site's rules for accounts. The access app adds the rules about who may have one."""

    def is_safe_url(self, url: str) -> bool:
        """Whether a page may redirect to this URL: only within the requested host."""
        request = context.request
        return url_has_allowed_host_and_scheme(
            url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
        )

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send an email. A failure is only logged, so that the page doesn't reveal whether an account exists."""
        site = RequestSite(self.request)
        # The texts of allauth begin and end with the name, which is the host name by default.
        site.name = current_branding().name or site.name
        try:
            super().send_mail(template_prefix, email, {"current_site": site, **context})
        except OSError as error:
            logger.error("Could not send the email %s: %s", template_prefix, type(error).__qualname__)

    def format_email_subject(self, subject: str) -> str:
        name = current_branding().name
        return (
            mails.with_site_name(subject, name=name) if name else str(super().format_email_subject(subject))
        )

    def get_from_email(self) -> str:
        return mails.sender(name=current_branding().name)

    def get_login_stages(self) -> list[str]:
        theirs, ours = _path_of(EmailVerificationStage), _path_of(AddressStage)
        return [ours if stage == theirs else stage for stage in super().get_login_stages()]

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """Return the ways to confirm one's identity, without passkeys where they don't work, unless there is no other."""
        methods: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        if supports_passkeys(self.request.build_absolute_uri("/")):
            return methods
        others = [method for method in methods if method["url"] != reverse("mfa_reauthenticate_webauthn")]
        return others or methods

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("account")


class AddressStage(EmailVerificationStage):
    """Verify the email address, but only of accounts that have one.

    The first admin, and people who signed up before an address was required, may have none; allauth would redirect them
    in a loop.
    """

    def handle(self) -> tuple[HttpResponse | None, bool]:
        user = self.login.user
        if user is not None and not user.email and not EmailAddress.objects.filter(user=user).exists():
            return None, True
        response: tuple[HttpResponse | None, bool] = super().handle()
        return response


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    """Apply the site's rules for sign-in with other providers."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return bool(get_account_adapter(request).is_open_for_signup(request))

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Treat an address as verified only if the provider clearly says so; some send the string "false"."""
        for address in sociallogin.email_addresses:
            address.verified = address.verified in (True, "true")

    def can_authenticate_by_email(self, login: SocialLogin, email: str) -> bool:
        """Return False: a matching address does not prove that someone owns an account. They must sign in and connect."""
        return False


class MFAAdapter(DefaultMFAAdapter):
    """Name passkeys in the user's language, and name the site in authenticator apps and passkeys."""

    def get_totp_issuer(self) -> str:
        return current_branding().name or str(super().get_totp_issuer())

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        entity: dict[str, str] = super().get_public_key_credential_rp_entity()
        return {**entity, "name": current_branding().name or entity["name"]}

    def generate_authenticator_name(self, user: Any, type: Authenticator.Type) -> str:  # noqa: A002
        number = Authenticator.objects.filter(user=user, type=type).count() + 1
        return gettext("Passkey %(number)s") % {"number": number}
