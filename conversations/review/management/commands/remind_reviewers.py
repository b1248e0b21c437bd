"""`manage.py remind_reviewers`: mail reviewers a list of overdue cases."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from conversations.review import mails


class Command(BaseCommand):
    """Remind reviewers of overdue cases, for use from a scheduler when no server is running."""

    help = "Email reviewers a list of the cases that have waited longer than REVIEW_REMINDER_HOURS."

    def handle(self, *args: Any, **options: Any) -> None:
        count = mails.remind_reviewers(now=timezone.now())
        self.stdout.write(f"Cases in the reminder: {count}")
