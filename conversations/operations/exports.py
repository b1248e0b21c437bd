"""What leaves the review as a file: who took it is noted in the log before the first line. No texts of users in tables."""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Count, QuerySet

from conversations.models import EvaluationItem, Report, ReviewCase, ReviewEvent, User

from . import review_log
from .figures import Figures, Period
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
    """Note who takes what. Raises PermissionDenied."""
    require(staff, "export_reviewcase")
    return review_log.append(
        kind=ReviewEvent.Kind.EXPORTED, now=now, actor=staff, details={"what": what, **details}
    )


def details_of(period: Period) -> dict[str, str]:
    """Return what the log keeps of the period of an export."""
    return {"from": period.first.isoformat(), "to": period.last.isoformat()}


def case_rows(period: Period) -> Iterator[Row]:
    """Yield the cases that were opened, reopened or closed in the period, by number; reporters by their pseudonyms.

    Read piece by piece, each by a fixed number of queries, so that nothing is kept open while somebody downloads slowly.
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
    """Yield the figures one by one: of which table and row, what it is, and its value."""
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


def evaluation_items(items: QuerySet[EvaluationItem]) -> Iterator[dict[str, Any]]:
    """Yield items of the evaluation set as they are written to a file, oldest first. Who added them is not in it."""
    last = 0
    of_file = items.select_related("case").order_by("pk")
    while found := list(of_file.filter(pk__gt=last)[:_AT_ONCE]):
        last = found[-1].pk
        for item in found:
            yield {
                "id": str(item.uuid),
                "case": str(item.case.uuid),
                "category": item.category,
                "turns": item.turns,
                "answer": item.answer,
                "vetted_answer": item.vetted_answer,
                "note": item.note,
                "created_at": item.created_at.astimezone(dt.UTC).isoformat(timespec="seconds"),
            }
