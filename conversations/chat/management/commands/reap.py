"""`manage.py reap`: end generations whose runner has died."""

import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from conversations.chat.generation import reaper
from conversations.chat.generation.heartbeats import HeartbeatWatch
from conversations.chat.models.generations import Generation


class Command(BaseCommand):
    """End the generations of dead runners. Meant for a timer, in case no runner is alive to do it."""

    help = (
        "Mark the generations of dead runners as interrupted, and keep their text. "
        "If any generations are running, watch their heartbeats for GENERATION_LEASE_SECONDS."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        watch = HeartbeatWatch[int](settings.GENERATION_LEASE_SECONDS)
        begun = at = time.monotonic()
        ended = _reap(watch, at=at)
        while at - begun < watch.lease and Generation.objects.filter(status="running").exists():
            time.sleep(watch.interval / 2)
            at = time.monotonic()
            ended += _reap(watch, at=at)
        self.stdout.write(f"{ended} interrupted")


def _reap(watch: HeartbeatWatch[int], *, at: float) -> int:
    return len(reaper.reap(watch=watch, spared=(), now=timezone.now(), monotonic=at))
