"""`manage.py remind_reviewers`: mail reviewers the cases that have waited too long."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from conversations.operations import mails


class Command(BaseCommand):
    """For a timer, where no server is alive to do it."""

    help = "Mail reviewers the cases that have waited longer than REVIEW_REMINDER_HOURS, each case once."

    def handle(self, *args: Any, **options: Any) -> None:
        count = mails.remind_reviewers(now=timezone.now())
        self.stdout.write(f"cases in the reminder: {count}")
