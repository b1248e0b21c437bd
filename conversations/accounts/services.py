"""Acknowledge notices from staff, set a person's time zone, and lock a user."""

import datetime as dt
import uuid

from conversations.accounts.models import AccountNotice, User
from conversations.common.statements import Given, SelectInstances

_locked = SelectInstances(
    User, lambda: User.objects.select_for_update().filter(pk=Given("pk", User._meta.pk))
)


def lock_user(pk: int) -> User | None:
    """Lock a user's row until the transaction ends, and return the user as they are now, or None if deleted."""
    return _locked.first(pk=pk)


def set_time_zone(*, user: User, name: str) -> None:
    """Show a person's dates and times in this time zone from now on."""
    user.time_zone = name
    user.save(update_fields=["time_zone"])


def note_time_zone(*, user: User, name: str) -> None:
    """Use the time zone of a person's browser, unless they already have one."""
    if User.objects.filter(pk=user.pk, time_zone="").update(time_zone=name):
        user.time_zone = name


def acknowledge_notice(*, user: User, notice: uuid.UUID, now: dt.datetime) -> None:
    """Record that the user has read a notice, so that it is no longer shown.

    Raises AccountNotice.DoesNotExist if there is no such notice for this user.
    """
    found = AccountNotice.objects.get(user=user, uuid=notice)
    if found.acknowledged_at is None:
        found.acknowledged_at = now
        found.save(update_fields=["acknowledged_at"])
