"""Export cases and statistics as rows. Exports are logged before the first row, and contain no text written by users."""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Count

from conversations.accounts.models import User
from conversations.review.models import Report, ReviewCase, ReviewEvent
from conversations.review.selectors.figures import Figures
from conversations.review.selectors.periods import Period

from . import review_log
from .reviewing import require

Row = tuple[str | int | float | dt.datetime | dt.date | None, ...]

_AT_ONCE = 500
CASE_COLUMNS: Row = (
    "case",
    "uuid",
    "category",
    "status",
    "opened_at",
    "first_claimed_at",
    "closed_at",
    "reports",
    "reporters",
    "outcome",
    "reviewer",
)
FIGURE_COLUMNS: Row = ("table", "row", "figure", "value")
_OF_PERIOD = (
    "reports",
    "opened",
    "reopened",
    "closed",
    "decided",
    "upheld",
    "overturned",
    "appeals_granted",
    "appeals_denied",
    "appeals_pending",
    "waiting",
)


def begin(*, staff: User, what: str, details: dict[str, Any], now: dt.datetime) -> ReviewEvent:
    """Log that a member of staff exports data. Raises PermissionDenied."""
    require(staff, "export_reviewcase")
    return review_log.append(
        kind=ReviewEvent.Kind.EXPORTED, now=now, actor=staff, details={"what": what, **details}
    )


def details_of(period: Period) -> dict[str, str]:
    """Return the period of an export as details for the log."""
    return {"from": period.first.isoformat(), "to": period.last.isoformat()}


def case_rows(period: Period) -> Iterator[Row]:
    """Yield a row for each case that was opened, reopened or closed in the period. Reporters appear by pseudonym.

    Reads in batches with a fixed number of queries each, so that a slow download doesn't keep a cursor open.
    """
    yield CASE_COLUMNS
    of_period = ReviewCase.objects.filter(
        period.within("opened_at") | period.within("reopened_at") | period.within("closed_at")
    ).order_by("pk")
    last = 0
    while cases := list(of_period.filter(pk__gt=last)[:_AT_ONCE]):
        last = cases[-1].pk
        reports = _reports_of(cases)
        decisions = _last_decisions_of(cases)
        for case in cases:
            count, pseudonyms = reports.get(case.pk, (0, []))
            outcome, reviewer = decisions.get(case.pk, ("", ""))
            yield (
                case.pk,
                str(case.uuid),
                case.category,
                case.status,
                case.opened_at,
                case.first_claimed_at,
                case.closed_at,
                count,
                " ".join(sorted(set(pseudonyms))),
                outcome,
                reviewer,
            )


def _reports_of(cases: Iterable[ReviewCase]) -> dict[int, tuple[int, list[str]]]:
    found: dict[int, tuple[int, list[str]]] = {}
    rows = Report.objects.filter(case__in=cases).values_list("case_id", "pseudonym").annotate(Count("pk"))
    for case_id, pseudonym, filed in rows:
        count, pseudonyms = found.get(case_id, (0, []))
        found[case_id] = count + filed, [*pseudonyms, pseudonym]
    return found


def _last_decisions_of(cases: Iterable[ReviewCase]) -> dict[int, tuple[str, str]]:
    decided = ReviewEvent.objects.filter(case__in=cases, kind=ReviewEvent.Kind.DECIDED).order_by("sequence")
    rows = decided.values_list("case_id", "outcome", "actor_name")
    return {case_id: (outcome, name) for case_id, outcome, name in rows if case_id}


def figure_rows(figures: Figures) -> Iterator[Row]:
    """Yield one row per figure: its table, row, name and value."""
    yield FIGURE_COLUMNS
    period = f"{figures.period.first}/{figures.period.last}"
    for name in _OF_PERIOD:
        yield "period", period, name, getattr(figures, name)
    yield "period", period, "oldest_waiting_hours", _rounded(figures.oldest)
    yield "period", period, "median_waiting_hours", _rounded(figures.median_age)
    for name, spread in (("to_claim", figures.to_claim), ("to_decide", figures.to_decide)):
        yield "period", period, f"{name}_hours_median", _rounded(spread.median)
        yield "period", period, f"{name}_hours_p90", _rounded(spread.p90)
    for day in figures.days:
        for name in ("opened", "reopened", "closed", "waiting"):
            yield "days", day.date, name, getattr(day, name)
    for one in figures.categories:
        for name in ("opened", "decided", "upheld", "waiting"):
            yield "categories", one.category, name, getattr(one, name)
        yield "categories", one.category, "to_decide_hours_median", _rounded(one.to_decide.median)
        yield "categories", one.category, "to_decide_hours_p90", _rounded(one.to_decide.p90)
    for reviewer in figures.reviewers:
        for name in ("decisions", "upheld", "overturned"):
            yield "reviewers", reviewer.name, name, getattr(reviewer, name)
        yield (
            "reviewers",
            reviewer.name,
            "claim_to_decision_hours_median",
            _rounded(reviewer.to_decide.median),
        )
    for model in figures.models:
        yield "models", model.label, "thumbs_up", model.up
        yield "models", model.label, "thumbs_down", model.down


def _rounded(hours: float | None) -> float | None:
    return None if hours is None else round(hours, 2)
