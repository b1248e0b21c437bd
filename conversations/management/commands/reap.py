"""`manage.py reap`: end generations whose runner died."""

import datetime as dt
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from conversations.generation import journal


class Command(BaseCommand):
    """For a timer, where no runner may be alive to do it."""

    help = "Mark generations as interrupted whose runner died, keeping what they had written."

    def handle(self, *args: Any, **options: Any) -> None:
        lease = dt.timedelta(seconds=settings.GENERATION_LEASE_SECONDS)
        ended = journal.reap(now=timezone.now(), lease=lease)
        self.stdout.write(f"{len(ended)} interrupted")
