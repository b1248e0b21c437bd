"""The rules of the review as pure functions: how a case stands, and how soon it is looked at."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from .models import POLICIES, ReviewCase

POINTS_PER_SEVERITY = 12
POINTS_PER_REPORTER = 6
MAX_REPORTERS_COUNTED = 10
POINTS_OF_RECORD = 12
"""What a reporter whose reports were all upheld adds, and one whose reports never were takes away."""
REPORTS_FOR_A_RECORD = 5
HOUR = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Record:
    """How a reporter's earlier reports were decided."""

    decided: int
    upheld: int

    @property
    def share(self) -> float | None:
        """The share that was upheld, from 0 to 1; None while there are too few to say."""
        return self.upheld / self.decided if self.decided >= REPORTS_FOR_A_RECORD else None


def status_of(*, pending: int, is_escalated: bool, is_claimed: bool, any_upheld: bool) -> ReviewCase.Status:
    """Return how a case stands, from what is known of it: reports and appeals to decide, claim, and earlier verdicts."""
    if pending:
        if is_escalated:
            return ReviewCase.Status.ESCALATED
        return ReviewCase.Status.IN_REVIEW if is_claimed else ReviewCase.Status.OPEN
    return ReviewCase.Status.RESOLVED if any_upheld else ReviewCase.Status.DISMISSED


def gravest(categories: Iterable[str]) -> str:
    """Return the category with the highest severity, the first of equals in the order they are offered."""
    given = set(categories)
    return max((name for name in POLICIES if name in given), key=lambda name: POLICIES[name].severity)


def points_of(*, category: str, reporters: int, records: Iterable[Record]) -> int:
    """Return the priority of a case without its age. One point is worth an hour of waiting.

    The best record among the reporters counts, so that nobody can push a case down by joining in.
    """
    points = POLICIES[category].severity * POINTS_PER_SEVERITY
    points += min(max(reporters - 1, 0), MAX_REPORTERS_COUNTED) * POINTS_PER_REPORTER
    shares = [record.share for record in records if record.share is not None]
    if shares:
        points += round((max(shares) - 0.5) * 2 * POINTS_OF_RECORD)
    return max(points, 0)


def place_in_queue(*, waiting_since: dt.datetime, points: int) -> dt.datetime:
    """Return what the queue is sorted by: the earlier, the sooner. Time alone never changes the order of two cases."""
    return waiting_since - points * HOUR


def priority_at(*, sorts_at: dt.datetime, now: dt.datetime) -> int:
    """Return the priority as people read it: points, and one more for each hour of waiting."""
    return int((now - sorts_at) / HOUR)
