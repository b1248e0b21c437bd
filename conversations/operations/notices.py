"""What a user does with what staff told them."""

import datetime as dt
import uuid

from conversations.models import AccountNotice, User


def acknowledge_notice(*, user: User, notice: uuid.UUID, now: dt.datetime) -> None:
    """Note that the user has read a notice, which is then no longer shown.

    Raises AccountNotice.DoesNotExist where it is not there or not theirs.
    """
    found = AccountNotice.objects.get(user=user, uuid=notice)
    if found.acknowledged_at is None:
        found.acknowledged_at = now
        found.save(update_fields=["acknowledged_at"])
