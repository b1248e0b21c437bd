"""Connect sign-up and sign-in in django-allauth with invitations, approval and guest data."""

from typing import Any

from allauth.account.forms import SignupForm as AllauthSignupForm
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from conversations.access import selectors
from conversations.access.models import SiteAccess
from conversations.access.services import guests, invitations
from conversations.accounts import adapters as accounts
from conversations.accounts.models import User
from conversations.common.refusals import Refused


class AccountAdapter(accounts.AccountAdapter):
    """Apply the site's sign-up mode, and use invitations and guest data at sign-in."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        mode = selectors.signup_mode()
        if mode in {SiteAccess.SignUp.OPEN, SiteAccess.SignUp.APPROVAL}:
            return True
        return mode == SiteAccess.SignUp.INVITATION and self._has_invitation(request)

    def _has_invitation(self, request: HttpRequest) -> bool:
        try:
            invitations.find(request.session.get(invitations.SESSION_KEY, ""), now=timezone.now())
        except Refused:
            return False
        return True

    def new_user(self, request: HttpRequest) -> User:
        """Return a new user: a member if sign-up is open, else pending until approved or invited."""
        is_open = selectors.signup_mode() == SiteAccess.SignUp.OPEN
        return User(account_type=User.AccountType.MEMBER if is_open else User.AccountType.PENDING)

    def login(self, request: HttpRequest, user: Any) -> None:
        """Sign the user in, redeem their invitation, and move their guest conversations to the account."""
        guest = getattr(request, "guest", None)
        code = request.session.get(invitations.SESSION_KEY, "")
        super().login(request, user)
        if guest is not None and guests.claim_guest_data(guest=guest, user=user, now=timezone.now()):
            request.session[guests.SESSION_KEY] = str(guest.uuid)
        if code:
            request.session.pop(invitations.SESSION_KEY, None)
            try:
                invitations.redeem(user=user, code=code, now=timezone.now())
            except Refused as error:
                messages.error(request, str(error))


class SignupForm(AllauthSignupForm):
    """allauth's form, but without creating an account if the invitation can no longer be used."""

    def try_save(self, request: HttpRequest) -> tuple[Any, HttpResponse | None]:
        code = request.session.get(invitations.SESSION_KEY, "")
        try:
            with transaction.atomic():
                user, response = super().try_save(request)
                if user is not None and code:
                    invitations.redeem(user=user, code=code, now=timezone.now())
        except Refused as error:
            if selectors.signup_mode() == SiteAccess.SignUp.OPEN:
                # Anyone can sign up, so forget the code and let the user continue without it.
                request.session.pop(invitations.SESSION_KEY, None)
            messages.error(request, str(error))
            return None, redirect("join")
        return user, response
