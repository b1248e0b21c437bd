"""Find and end generations whose runner died."""

import datetime as dt
from collections.abc import Collection

from conversations.chat.models.generations import Generation

from . import ending
from .heartbeats import HeartbeatWatch
from .journal import is_dead


def reap(
    *, watch: HeartbeatWatch[int], spared: Collection[int], now: dt.datetime, monotonic: float
) -> list[int]:
    """Interrupt generations whose runner died, keeping the text in the journal. Returns the IDs of their conversations.

    A runner counts as dead if its heartbeat hasn't changed for the length of the watch's lease, or at once if it was a
    process on this machine that no longer exists. `monotonic` is the observer's monotonic time in seconds, and `spared`
    are the generations that the observer itself writes.
    """
    others = Generation.objects.filter(status=Generation.Status.RUNNING).exclude(pk__in=spared)
    running = list(others.select_related("model", "message", "conversation__owner"))
    stale = watch.stale({found.pk: found.heartbeat_at for found in running}, at=monotonic)
    return [
        found.conversation_id
        for found in running
        if (found.pk in stale or is_dead(found.runner)) and ending.interrupt(found, now=now)
    ]
