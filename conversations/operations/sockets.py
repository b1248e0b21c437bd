"""How many pages a person has open, over all processes."""

import datetime as dt

from django.conf import settings
from django.db import transaction

from conversations.generation import journal
from conversations.models import SocketLease, User

LEASE = dt.timedelta(seconds=10)
"""How long a page counts as open after its process was last heard of."""


@transaction.atomic
def open_socket(*, user: User, process: str, now: dt.datetime) -> int | None:
    """Count a page that connects, and return the id of its lease; None where CHAT_SOCKETS_PER_USER are open already.

    Pages of a process that is dead do not count: at once where that can be seen from here, else after LEASE.
    """
    # Locked, so that of many at once only as many get through as there is room for.
    User.objects.select_for_update().get(pk=user.pk)
    mine = SocketLease.objects.filter(user=user)
    mine.filter(seen_at__lte=now - LEASE).delete()
    if mine.count() >= settings.CHAT_SOCKETS_PER_USER:
        others = mine.exclude(process=process).values_list("process", flat=True).distinct()
        mine.filter(process__in=[name for name in others if journal.is_dead(name)]).delete()
        if mine.count() >= settings.CHAT_SOCKETS_PER_USER:
            return None
    return SocketLease.objects.create(user=user, process=process, seen_at=now).pk


def close_socket(lease: int) -> None:
    """Count a page no longer."""
    SocketLease.objects.filter(pk=lease).delete()


def keep_sockets(*, process: str, now: dt.datetime) -> None:
    """Say that this process, and so every page that is connected to it, is there."""
    SocketLease.objects.filter(process=process).update(seen_at=now)
