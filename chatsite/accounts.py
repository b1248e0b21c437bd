"""How this site uses django-allauth: who may sign up, what becomes of an invitation, and of what a guest wrote."""

import logging
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.adapter import get_adapter as get_account_adapter
from allauth.account.forms import SignupForm as AllauthSignupForm
from allauth.account.models import EmailAddress
from allauth.account.stages import EmailVerificationStage
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext

from conversations.models import SiteAccess, User
from conversations.operations import access, guests, invitations
from conversations.views.access import INVITATION

logger = logging.getLogger(__name__)

ADOPTED = "adopted"
"""Where the session keeps the public id of the guest that somebody was, so that the page finds that guest's drafts."""


class AccountAdapter(DefaultAccountAdapter):
    """The rules of this site for accounts."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        mode = access.signup_mode()
        if mode in {SiteAccess.SignUp.OPEN, SiteAccess.SignUp.APPROVAL}:
            return True
        return mode == SiteAccess.SignUp.INVITATION and self._has_invitation(request)

    def _has_invitation(self, request: HttpRequest) -> bool:
        try:
            invitations.find(request.session.get(INVITATION, ""), now=timezone.now())
        except access.UseRefused:
            return False
        return True

    def new_user(self, request: HttpRequest) -> User:
        """Return a user who waits for approval, unless whoever comes may sign up. An invitation lets them in later."""
        is_open = access.signup_mode() == SiteAccess.SignUp.OPEN
        return User(standing=User.Standing.MEMBER if is_open else User.Standing.PENDING)

    def login(self, request: HttpRequest, user: Any) -> None:
        """Log in, use the invitation that the person came with, and give them what they wrote as a guest."""
        guest = getattr(request, "guest", None)
        code = request.session.get(INVITATION, "")
        super().login(request, user)
        if guest is not None and guests.adopt(guest=guest, user=user, now=timezone.now()):
            request.session[ADOPTED] = str(guest.uuid)
        if code:
            request.session.pop(INVITATION, None)
            try:
                invitations.redeem(user=user, code=code, now=timezone.now())
            except access.UseRefused as error:
                messages.error(request, str(error))

    def is_safe_url(self, url: str) -> bool:
        """Whether a page may send on to this address: only within the host that was asked."""
        request = context.request
        return url_has_allowed_host_and_scheme(
            url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
        )

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a mail. One that can't be sent is noted; the page that follows looks as it does where there is no account."""
        try:
            super().send_mail(template_prefix, email, context)
        except OSError as error:
            logger.error("A mail (%s) could not be sent: %s", template_prefix, type(error).__qualname__)

    def get_login_stages(self) -> list[str]:
        theirs, ours = "allauth.account.stages.EmailVerificationStage", "chatsite.accounts.AddressStage"
        return [ours if stage == theirs else stage for stage in super().get_login_stages()]

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("account")


class AddressStage(EmailVerificationStage):
    """The verification of an address, for accounts that have one.

    Whoever signed up before it was mandatory, or is the first admin, may have none; allauth would send them in a circle.
    """

    def handle(self) -> tuple[HttpResponse | None, bool]:
        user = self.login.user
        if user is not None and not user.email and not EmailAddress.objects.filter(user=user).exists():
            return None, True
        response: tuple[HttpResponse | None, bool] = super().handle()
        return response


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    """The rules of this site for logins by other providers."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return bool(get_account_adapter(request).is_open_for_signup(request))

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Take only a plain yes for it that an address is verified; some providers send the word "false"."""
        for address in sociallogin.email_addresses:
            address.verified = address.verified in (True, "true")

    def can_authenticate_by_email(self, login: SocialLogin, email: str) -> bool:
        """Never: who logs in first, then connects. An address alone proves nothing to an account that exists."""
        return False


class MFAAdapter(DefaultMFAAdapter):
    """Second factors, in the words of this site."""

    def generate_authenticator_name(self, user: Any, type: Authenticator.Type) -> str:  # noqa: A002
        number = Authenticator.objects.filter(user=user, type=type).count() + 1
        return gettext("Passkey %(number)s") % {"number": number}


class SignupForm(AllauthSignupForm):
    """allauth's form, which makes no account where the invitation it came with was used up meanwhile."""

    def try_save(self, request: HttpRequest) -> tuple[Any, HttpResponse | None]:
        code = request.session.get(INVITATION, "")
        try:
            with transaction.atomic():
                user, response = super().try_save(request)
                if user is not None and code:
                    invitations.redeem(user=user, code=code, now=timezone.now())
        except access.UseRefused as error:
            if access.signup_mode() == SiteAccess.SignUp.OPEN:
                # Whoever comes may sign up, so the code is all that is lost.
                request.session.pop(INVITATION, None)
            messages.error(request, str(error))
            return None, redirect("join")
        return user, response
