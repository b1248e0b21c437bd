"""The number of pages that a user has open, across all processes."""

import datetime as dt
from collections.abc import Collection, Mapping

from django.conf import settings
from django.db import transaction

from conversations.accounts.models import User
from conversations.chat.generation import journal
from conversations.chat.models.sockets import SocketLease

LEASE = dt.timedelta(seconds=10)
"""How long a page counts as open after its process last renewed the lease."""


@transaction.atomic
def open_socket(*, user: User, process: str, now: dt.datetime) -> int | None:
    """Count a page that connects and return the id of its lease, or None at the limit of CHAT_SOCKETS_PER_USER.

    Pages of a dead process stop counting at once if this machine can see that it is dead, and otherwise after LEASE.
    """
    # The lock keeps many simultaneous connections from exceeding the limit.
    User.objects.select_for_update().get(pk=user.pk)
    mine = SocketLease.objects.filter(user=user)
    mine.filter(seen_at__lte=now - LEASE).delete()
    if mine.count() >= settings.CHAT_SOCKETS_PER_USER:
        others = mine.exclude(process=process).values_list("process", flat=True).distinct()
        mine.filter(process__in=[name for name in others if journal.is_dead(name)]).delete()
        if mine.count() >= settings.CHAT_SOCKETS_PER_USER:
            return None
    return SocketLease.objects.create(user=user, process=process, seen_at=now).pk


def close_sockets(leases: Collection[int]) -> None:
    """Stop counting these pages."""
    SocketLease.objects.filter(pk__in=leases).delete()


@transaction.atomic
def keep_sockets(leases: Mapping[int, int], *, process: str, now: dt.datetime) -> None:
    """Renew the leases of this process's open pages and delete expired ones.

    `leases` maps the ids of leases to the ids of users. A lease is recreated if another process has deleted it, which
    happens when this process was busy or the database was unavailable.
    """
    SocketLease.objects.filter(pk__in=leases).update(seen_at=now)
    SocketLease.objects.filter(seen_at__lte=now - LEASE).delete()
    kept = set(SocketLease.objects.filter(pk__in=leases).values_list("pk", flat=True))
    if lost := leases.keys() - kept:
        # Leases of accounts that have been deleted in the meantime are left out.
        users = set(User.objects.filter(pk__in={leases[pk] for pk in lost}).values_list("pk", flat=True))
        SocketLease.objects.bulk_create(
            [
                SocketLease(pk=pk, user_id=leases[pk], process=process, seen_at=now)
                for pk in lost
                if leases[pk] in users
            ],
            ignore_conflicts=True,
        )
