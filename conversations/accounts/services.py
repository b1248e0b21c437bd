"""Acknowledge notices from staff."""

import datetime as dt
import uuid

from conversations.accounts.models import AccountNotice, User


def acknowledge_notice(*, user: User, notice: uuid.UUID, now: dt.datetime) -> None:
    """Record that the user has read a notice, so that it is no longer shown.

    Raises AccountNotice.DoesNotExist if there is no such notice for this user.
    """
    found = AccountNotice.objects.get(user=user, uuid=notice)
    if found.acknowledged_at is None:
        found.acknowledged_at = now
        found.save(update_fields=["acknowledged_at"])
