"""Emails to a user about their account."""

import datetime as dt

from conversations.common.mails import send_on_commit

from .models import User
from .rules import time_zone_of


def notify_of_notice(user: User, *, text: str, kind: str, ends_at: dt.datetime | None = None) -> None:
    """Email a user about a warning or a suspension, and when it ends."""
    context = {"user": user, "text": text, "kind": kind, "ends_at": ends_at}
    send_on_commit(
        "accounts/mails/notice.txt", to=[user.email], context=context, time_zone=time_zone_of(user)
    )
