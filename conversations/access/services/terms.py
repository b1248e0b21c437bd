"""Publish the terms of use, and record who accepts them."""

import datetime as dt

from conversations.access.models import NoticeAcceptance, UseNotice
from conversations.access.rules import FIRST_NOTICE
from conversations.access.selectors import notice_in_force
from conversations.accounts.models import User


def accept_notice(*, user: User, version: int, now: dt.datetime) -> None:
    """Record that a user accepts a version of the terms. Raises UseNotice.DoesNotExist if there is no such version."""
    notice = UseNotice.objects.get(version=version)
    NoticeAcceptance.objects.get_or_create(user=user, notice=notice, defaults={"accepted_at": now})


def publish_notice(*, text: str, now: dt.datetime) -> UseNotice:
    """Publish a new version of the terms, which everyone must accept."""
    newest = notice_in_force()
    return UseNotice.objects.create(version=newest.version + 1 if newest else 1, text=text, published_at=now)


def ensure_notice(*, now: dt.datetime) -> None:
    """Publish the default terms if there are none yet."""
    if notice_in_force() is None:
        publish_notice(text=FIRST_NOTICE, now=now)
