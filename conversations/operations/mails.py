"""The mails of the review: to those who report, and to those who review."""

import datetime as dt
import logging
from collections.abc import Sequence

from django.conf import settings
from django.contrib.auth.models import Permission
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import Q
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation

from conversations.models import Invitation, Report, ReviewCase, User

logger = logging.getLogger(__name__)


def _send(name: str, *, to: Sequence[str], context: dict[str, object], language: str = "") -> None:
    """Send the mail of this name after the commit. One that can't be sent is noted, and undoes nothing.

    Its subject is the first line of the template. Nothing that a user or a model wrote is ever in the subject.
    """
    addresses = [address for address in to if address]
    if not addresses:
        return
    with translation.override(language or settings.LANGUAGE_CODE):
        written = render_to_string(
            f"conversations/mails/{name}.txt", {"site": settings.PUBLIC_URL, **context}
        )
    subject, _separator, body = written.strip().partition("\n")

    def send() -> None:
        try:
            for address in addresses:
                send_mail(subject.strip(), body.strip() + "\n", None, [address])
        except Exception as error:
            logger.warning("A mail (%s) could not be sent: %s", name, type(error).__qualname__)

    transaction.on_commit(send)


def tell_of_decision(report: Report) -> None:
    """Tell the person who reported what came of it."""
    _send_to_reporter("decided", report)


def tell_of_question(report: Report) -> None:
    """Tell the person who reported that staff want to know something."""
    _send_to_reporter("asked", report)


def tell_of_notice(user: User, *, text: str, kind: str, ends_at: dt.datetime | None = None) -> None:
    """Tell a user of a warning or a suspension, and until when that lasts."""
    context = {"user": user, "text": text, "kind": kind, "ends_at": ends_at}
    _send("notice", to=[user.email], context=context)


def tell_of_approval(user: User) -> None:
    """Tell somebody who waited that they may come in."""
    _send("approved", to=[user.email], context={"user": user, "path": reverse("chat")})


def invite(invitation: Invitation) -> None:
    """Mail an invitation to the address that it is for, and note when."""
    path = reverse("join_by_link", args=[invitation.code])
    _send("invitation", to=[invitation.email], context={"invitation": invitation, "path": path})
    Invitation.objects.filter(pk=invitation.pk).update(sent_at=timezone.now())


def _send_to_reporter(name: str, report: Report) -> None:
    if report.reporter is not None:
        path = reverse("report", args=[report.uuid])
        context: dict[str, object] = {"report": report, "path": path}
        _send(name, to=[report.reporter.email], context=context, language=report.language)


def remind_reviewers(*, now: dt.datetime) -> int:
    """Mail all reviewers one list of the cases that have waited too long, and return their number.

    A case is in no second list before it has waited that long again.
    """
    if not settings.REVIEW_REMINDER_HOURS:
        return 0
    before = now - dt.timedelta(hours=settings.REVIEW_REMINDER_HOURS)
    waiting = ReviewCase.objects.open().filter(
        Q(reopened_at__lte=before) | Q(reopened_at__isnull=True, opened_at__lte=before),
        Q(reminded_at__isnull=True) | Q(reminded_at__lte=before),
    )
    with transaction.atomic():
        # Whoever comes first marks them; with two processes at it, each case is in one list.
        found = list(waiting.select_for_update(of=("self",), skip_locked=True).order_by("sorts_at"))
        if not found:
            return 0
        ReviewCase.objects.filter(pk__in=[case.pk for case in found]).update(reminded_at=now)
        _send(
            "reminder",
            to=_addresses_of_reviewers(),
            context={
                "cases": found[:20],
                "more": max(0, len(found) - 20),
                "count": len(found),
                "hours": settings.REVIEW_REMINDER_HOURS,
                "path": reverse("admin:conversations_reviewcase_changelist"),
            },
        )
    return len(found)


def _addresses_of_reviewers() -> list[str]:
    permission = Permission.objects.filter(
        codename="decide_reviewcase", content_type__app_label="conversations"
    ).first()
    by_permission = Q(groups__permissions=permission) | Q(user_permissions=permission)
    staff = User.objects.filter(is_active=True, is_staff=True).exclude(email="")
    named = set(staff.filter(by_permission).values_list("email", flat=True))
    # Where nobody was made a reviewer, the administrators are those who review.
    return sorted(named or set(staff.filter(is_superuser=True).values_list("email", flat=True)))
