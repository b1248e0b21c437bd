"""Housekeeping: send reminders, end expired claims, delete guests who never returned.

Several processes can run it at once: each case is in one email, and each claim ends once.
"""

import asyncio
import contextvars
import datetime as dt
import logging
import random
from collections.abc import Callable

from channels.db import database_sync_to_async
from django.utils import timezone

from conversations.access.services import guests
from conversations.limits import services as quotas
from conversations.review import mails
from conversations.review.services import reviewing

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 300.0
GUEST_RETENTION = dt.timedelta(days=30)
COUNTER_RETENTION = dt.timedelta(days=3)


def _remind(now: dt.datetime) -> None:
    mails.remind_reviewers(now=now)


def _expire(now: dt.datetime) -> None:
    reviewing.expire_claims(now)


def _forget(now: dt.datetime) -> None:
    guests.delete_old_guests(before=now - GUEST_RETENTION)
    quotas.delete_old_counters(now - COUNTER_RETENTION)


_JOBS: tuple[Callable[[dt.datetime], None], ...] = (_remind, _expire, _forget)


async def run_once() -> None:
    """Run each job once. A job that fails is logged and doesn't stop the others."""
    for job in _JOBS:
        try:
            # Use a separate thread, because a mail server can take seconds, and websockets and streams must not wait for it.
            await database_sync_to_async(job, thread_sensitive=False)(timezone.now())
        except Exception as error:
            logger.error("Housekeeping (%s) failed: %s", job.__name__.strip("_"), type(error).__qualname__)


async def _run() -> None:
    while True:
        # Random, so that processes started together don't all run at the same time.
        await asyncio.sleep(INTERVAL_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311  (not a secret)
        await run_once()


def start() -> "asyncio.Task[None]":
    """Start housekeeping in the running event loop and return its task, which the caller must keep."""
    return asyncio.get_running_loop().create_task(_run(), context=contextvars.Context())
