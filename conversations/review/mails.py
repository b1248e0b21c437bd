"""Mail to reporters and reviewers."""

import datetime as dt

from django.conf import settings
from django.contrib.auth.models import Permission
from django.db import transaction
from django.db.models import Q
from django.urls import reverse

from conversations.accounts.models import User
from conversations.accounts.rules import time_zone_of
from conversations.common.mails import send_on_commit
from conversations.review.models import Report, ReviewCase
from conversations.review.models.reports import CASE_WAITS_SINCE


def notify_of_decision(report: Report) -> None:
    """Mail the reporter the outcome of their report."""
    _send_to_reporter("review/mails/decided.txt", report)


def notify_of_question(report: Report) -> None:
    """Mail the reporter that staff have a question."""
    _send_to_reporter("review/mails/asked.txt", report)


def _send_to_reporter(template: str, report: Report) -> None:
    if report.reporter is not None:
        path = reverse("report", args=[report.uuid])
        context: dict[str, object] = {"report": report, "path": path}
        send_on_commit(
            template,
            to=[report.reporter.email],
            context=context,
            language=report.language,
            time_zone=time_zone_of(report.reporter),
        )


def remind_reviewers(*, now: dt.datetime) -> int:
    """Mail all reviewers a list of the overdue cases, and return how many there are.

    A case is overdue after waiting for REVIEW_REMINDER_HOURS. It isn't listed again until that time has passed once more.
    """
    if not settings.REVIEW_REMINDER_HOURS:
        return 0
    before = now - dt.timedelta(hours=settings.REVIEW_REMINDER_HOURS)
    waiting = (
        ReviewCase.objects.open()
        .annotate(since=CASE_WAITS_SINCE)
        .filter(Q(reminded_at__isnull=True) | Q(reminded_at__lte=before), since__lte=before)
    )
    with transaction.atomic():
        # Locking and marking the cases keeps two processes from listing the same case.
        found = list(waiting.select_for_update(of=("self",), skip_locked=True).order_by("queue_key"))
        if not found:
            return 0
        ReviewCase.objects.filter(pk__in=[case.pk for case in found]).update(reminded_at=now)
        send_on_commit(
            "review/mails/reminder.txt",
            to=_addresses_of_reviewers(),
            context={
                "cases": found[:20],
                "more": max(0, len(found) - 20),
                "count": len(found),
                "hours": settings.REVIEW_REMINDER_HOURS,
                "path": reverse("admin:review_reviewcase_changelist"),
            },
        )
    return len(found)


def _addresses_of_reviewers() -> list[str]:
    permission = Permission.objects.filter(
        codename="decide_reviewcase", content_type__app_label="review"
    ).first()
    by_permission = Q(groups__permissions=permission) | Q(user_permissions=permission)
    staff = User.objects.filter(is_active=True, is_staff=True).exclude(email="")
    named = set(staff.filter(by_permission).values_list("email", flat=True))
    # If no one has been made a reviewer, administrators do the reviewing.
    return sorted(named or set(staff.filter(is_superuser=True).values_list("email", flat=True)))
