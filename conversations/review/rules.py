"""Pure functions that compute the status, category and priority of review cases."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _

from .models import POLICIES, Report, ReviewCase

POINTS_PER_SEVERITY = 12
POINTS_PER_REPORTER = 6
MAX_REPORTERS_COUNTED = 10
MAX_TRACK_RECORD_POINTS = 12
"""Points added if all of a reporter's reports were upheld, and subtracted if none were."""
MIN_DECIDED_REPORTS = 5
HOUR = dt.timedelta(hours=1)
COMMENT_NEEDED = _("Describe the problem in a few words.")
"""The error for a report without a required comment."""


@dataclass(frozen=True, slots=True)
class Record:
    """A reporter's track record: how many earlier reports were decided, and how many of those upheld."""

    decided: int
    upheld: int

    @property
    def share(self) -> float | None:
        """Return the share of reports upheld, from 0 to 1, or None if too few have been decided."""
        return self.upheld / self.decided if self.decided >= MIN_DECIDED_REPORTS else None


def has_news(report: Report) -> bool:
    """Return whether staff have decided the report, or asked a question, since the reporter last looked."""
    seen_until = report.seen_at or report.created_at
    return any(at is not None and at > seen_until for at in (report.decided_at, report.asked_at))


def status_of(*, pending: int, is_escalated: bool, is_claimed: bool, any_upheld: bool) -> ReviewCase.Status:
    """Return the status of a case.

    `pending` counts the reports and appeals to decide. `any_upheld` says whether any earlier verdict was upheld.
    """
    if pending:
        if is_escalated:
            return ReviewCase.Status.ESCALATED
        return ReviewCase.Status.IN_REVIEW if is_claimed else ReviewCase.Status.OPEN
    return ReviewCase.Status.RESOLVED if any_upheld else ReviewCase.Status.DISMISSED


def most_severe(categories: Iterable[str]) -> str:
    """Return the most severe category. Ties go to the one listed first in POLICIES."""
    given = set(categories)
    return max((name for name in POLICIES if name in given), key=lambda name: POLICIES[name].severity)


def base_priority(*, category: str, reporters: int, records: Iterable[Record]) -> int:
    """Return the priority of a case, not counting its waiting time. One point equals one hour of waiting.

    Only the best track record counts, so that joining in with a poor one can't lower the priority.
    """
    points = POLICIES[category].severity * POINTS_PER_SEVERITY
    points += min(max(reporters - 1, 0), MAX_REPORTERS_COUNTED) * POINTS_PER_REPORTER
    shares = [record.share for record in records if record.share is not None]
    if shares:
        points += round((max(shares) - 0.5) * 2 * MAX_TRACK_RECORD_POINTS)
    return max(points, 0)


def queue_key(*, waiting_since: dt.datetime, points: int) -> dt.datetime:
    """Return the time by which the queue is sorted, earliest first. The order of two cases doesn't change over time."""
    return waiting_since - points * HOUR


def priority_at(*, queue_key: dt.datetime, now: dt.datetime) -> int:
    """Return the priority as shown to staff: the points, plus one for each hour of waiting."""
    return int((now - queue_key) / HOUR)
