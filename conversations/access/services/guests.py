"""Manage guests: people without an account who may send a few messages and then sign up."""

import datetime as dt
import uuid
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import ForeignObjectRel
from django.utils.translation import gettext as _

from conversations.access import rules
from conversations.access.models import Preview, TermsAcceptance
from conversations.accounts.models import User
from conversations.common.codes import make_code
from conversations.common.refusals import Refused
from conversations.limits import rules as limits
from conversations.limits import services as quotas

from .invitations import join

SESSION_KEY = "guest_id"
"""Session key for the public ID of the guest a user was before, so that the page finds the guest's drafts."""


@transaction.atomic
def create_guest(*, preview: uuid.UUID, address: str, now: dt.datetime) -> User:
    """Create a guest of a preview that allows guests.

    Raises Refused if the preview allows none, or if GUESTS_PER_ADDRESS guests joined from this IP address today.
    """
    found = Preview.objects.running(now).filter(uuid=preview, allows_guests=True).first()
    if found is None:
        raise Refused(_("This preview doesn't allow guests."))
    key = quotas.key_of_address("guest", address)
    day = limits.start_of_day(now)
    if not quotas.take(key, limit=settings.GUESTS_PER_ADDRESS, period_start=day):
        text = _("Too many guests have joined from your network today.")
        raise Refused(rules.say_reset(text, preview=found, now=now))
    # The name by which staff can tell guests apart.
    guest = User(username=f"guest-{make_code(10)}", account_type=User.AccountType.GUEST)
    guest.set_unusable_password()
    guest.save()
    join(found, user=guest, now=now)
    return guest


@transaction.atomic
def claim_guest_data(*, guest: User, user: User, now: dt.datetime) -> bool:
    """Move a guest's data to a user's account and delete the guest. Return False if the guest no longer exists.

    Answers still being generated for the guest continue.
    """
    # Users are always locked in ID order, to avoid deadlocks.
    locked = {found.pk: found for found in _locked(guest.pk, user.pk)}
    old, new = locked.get(guest.pk), locked.get(user.pk)
    if old is None or new is None or old.account_type != User.AccountType.GUEST or old == new:
        return False
    # An acceptance can be moved only once, so those of terms that the account has accepted too go with the guest.
    TermsAcceptance.objects.filter(user=old, terms__acceptances__user=new).delete()
    for field in fields_that_move():
        field.model._base_manager.filter(**{field.name: old}).update(**{field.name: new})
    old.delete()
    return True


def fields_that_move() -> list[Any]:
    """Return the foreign keys that move to the account when a guest signs up.

    Each model lists its own in MOVES_TO_ACCOUNT, so this module need not know them.
    """
    relations = (found for found in User._meta.get_fields(include_hidden=True) if found.auto_created)
    fields = [found.field for found in relations if isinstance(found, ForeignObjectRel)]
    return [field for field in fields if field.name in getattr(field.model, "MOVES_TO_ACCOUNT", ())]


def _locked(*ids: int) -> list[User]:
    return list(User.objects.select_for_update().filter(pk__in=ids).order_by("pk"))


def delete_old_guests(*, before: dt.datetime) -> int:
    """Delete guests who joined before this time and have no conversation on hold, and return their number."""
    count = 0
    old = User.objects.filter(account_type=User.AccountType.GUEST, date_joined__lt=before)
    for guest in old.exclude(conversations__is_held=True):
        guest.delete()
        count += 1
    return count
