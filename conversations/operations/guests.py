"""Guests: people without an account, who look in for a few messages and may then make one."""

import datetime as dt
import uuid

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from conversations.models import Conversation, Feedback, Generation, Message, Preview, Report, User

from . import quotas
from .access import UseRefused
from .invitations import join


@transaction.atomic
def begin_guest(*, preview: uuid.UUID, address: str, now: dt.datetime) -> User:
    """Return a new guest of a preview that allows them. Raises UseRefused.

    `address` is where the person comes from: from one address only GUESTS_PER_ADDRESS may begin in a day.
    """
    found = Preview.objects.running(now).filter(uuid=preview, allows_guests=True).first()
    if found is None:
        raise UseRefused(_("This preview is not open to guests."))
    key = quotas.key_of_address("guest", address)
    day = quotas.start_of_day(now)
    if not quotas.take(key, limit=settings.GUESTS_PER_ADDRESS, period_start=day):
        raise UseRefused(
            _("There were many guests from where you are today. Sign up, or come back tomorrow.")
        )
    public_id = uuid.uuid4()
    guest = User(username=f"guest-{public_id}", uuid=public_id, standing=User.Standing.GUEST)
    guest.set_unusable_password()
    guest.save()
    join(found, user=guest, now=now)
    return guest


@transaction.atomic
def adopt(*, guest: User, user: User, now: dt.datetime) -> bool:
    """Give a person what they wrote as a guest, and drop the guest. False where the guest was adopted already.

    What is just being written for the guest goes on.
    """
    # In the order of their ids, as anybody else who locks two people would.
    locked = {found.pk: found for found in _locked(guest.pk, user.pk)}
    old, new = locked.get(guest.pk), locked.get(user.pk)
    if old is None or new is None or old.standing != User.Standing.GUEST or old == new:
        return False
    list(Generation.objects.active().filter(conversation__owner=old).select_for_update().values_list("pk"))
    places = Conversation.objects.filter(owner=old).select_for_update()
    ids = list(places.values_list("pk", flat=True))
    Conversation.objects.filter(pk__in=ids).update(owner=new)
    Message.objects.filter(author=old).update(author=new)
    Feedback.objects.filter(user=old).update(user=new)
    Report.objects.filter(reporter=old).update(reporter=new)
    old.cases_about.update(subject=new)
    old.delete()
    return True


def _locked(*ids: int) -> list[User]:
    return list(User.objects.select_for_update().filter(pk__in=ids).order_by("pk"))


def forget_guests(*, before: dt.datetime) -> int:
    """Delete guests who began before this and have nothing that an open case is about. Returns their number."""
    count = 0
    old = User.objects.filter(standing=User.Standing.GUEST, date_joined__lt=before)
    for guest in old.exclude(
        conversations__messages__review_case__status__in=["open", "in_review", "escalated"]
    ):
        guest.delete()
        count += 1
    return count
