"""What a server does now and then, so that no cron is needed: reminders, claims that lapsed, guests who never came back.

Several processes may do it at once: each case is in one mail, and each claim is opened once.
"""

import asyncio
import contextvars
import datetime as dt
import logging
import random
from collections.abc import Callable

from channels.db import database_sync_to_async
from django.utils import timezone

from conversations.operations import guests, mails, quotas, reviewing

logger = logging.getLogger(__name__)

EVERY_SECONDS = 300.0
GUESTS_ARE_KEPT = dt.timedelta(days=30)
COUNTERS_ARE_KEPT = dt.timedelta(days=3)


def _remind(now: dt.datetime) -> None:
    mails.remind_reviewers(now=now)


def _expire(now: dt.datetime) -> None:
    reviewing.expire_claims(now)


def _forget(now: dt.datetime) -> None:
    guests.forget_guests(before=now - GUESTS_ARE_KEPT)
    quotas.forget_before(now - COUNTERS_ARE_KEPT)


_CHORES: tuple[Callable[[dt.datetime], None], ...] = (_remind, _expire, _forget)


async def tend() -> None:
    """Do everything once. What goes wrong is noted, and keeps nothing else from being done."""
    for chore in _CHORES:
        try:
            # In a thread of its own: a mail server may take seconds, for which sockets and streams must not wait.
            await database_sync_to_async(chore, thread_sensitive=False)(timezone.now())
        except Exception as error:
            logger.error("Housekeeping (%s) failed: %s", chore.__name__.strip("_"), type(error).__qualname__)


async def _run() -> None:
    while True:
        # Processes that were started together do not all come at the same time.
        await asyncio.sleep(EVERY_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311  (nothing to guess)
        await tend()


def start() -> "asyncio.Task[None]":
    """Begin, in the running event loop, until the task is cancelled. The caller keeps it."""
    return asyncio.get_running_loop().create_task(_run(), context=contextvars.Context())
