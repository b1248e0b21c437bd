"""Compute statistics on the review in a period: volumes, durations and decisions.

Days are in TIME_ZONE and durations in hours. The number of queries is constant.
"""

import datetime as dt
import math
import statistics
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from django.db.models import Count, Min, OuterRef, Q, Subquery
from django.db.models.functions import TruncDate
from django.utils import timezone

from conversations.chat.models import Feedback, Generation
from conversations.review.models import POLICIES, Report, ReviewCase, ReviewEvent
from conversations.review.models.reports import CASE_WAITS_SINCE

from .periods import Period

HOUR = dt.timedelta(hours=1)
_KIND = ReviewEvent.Kind
_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Day:
    """The cases opened, reopened and closed on one day, and those waiting at its end."""

    date: dt.date
    opened: int
    reopened: int
    closed: int
    waiting: int


@dataclass(frozen=True, slots=True)
class DurationStats:
    """The count, median and 90th percentile of some durations, in hours."""

    count: int = 0
    median: float | None = None
    p90: float | None = None

    @classmethod
    def of(cls, durations: Iterable[dt.timedelta]) -> Self:
        hours = sorted(duration / HOUR for duration in durations)
        if not hours:
            return cls()
        return cls(len(hours), statistics.median(hours), hours[math.ceil(0.9 * len(hours)) - 1])


@dataclass(frozen=True, slots=True)
class CategoryStats:
    """Statistics on one category."""

    category: str
    opened: int
    decided: int
    upheld: int
    waiting: int
    oldest: float | None
    to_decide: DurationStats


@dataclass(frozen=True, slots=True)
class ReviewerStats:
    """Statistics on one reviewer. `overturned` counts their decisions of any time that were reversed in the period.

    `to_decide` is the time from claim to decision. Decisions made without an earlier claim aren't included.
    """

    name: str
    decisions: int
    upheld: int
    overturned: int
    to_decide: DurationStats


@dataclass(frozen=True, slots=True)
class OfModel:
    """Thumbs up and down for one model's answers. The label is empty if the model is no longer known."""

    label: str
    up: int
    down: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Statistics on a period.

    `waiting`, `oldest` and `median_age` describe the current backlog. `to_claim` is the time from the opening of a case to
    its first claim, for first claims in the period. `to_decide` is the time from the opening or last reopening of a case
    to a decision, for decisions in the period.
    """

    period: Period
    days: list[Day]
    reports: int
    waiting: int
    oldest: float | None
    median_age: float | None
    to_claim: DurationStats
    to_decide: DurationStats
    decided: int
    upheld: int
    overturned: int
    appeals_granted: int
    appeals_denied: int
    appeals_pending: int
    categories: list[CategoryStats]
    reviewers: list[ReviewerStats]
    models: list[OfModel]

    @property
    def opened(self) -> int:
        return sum(day.opened for day in self.days)

    @property
    def reopened(self) -> int:
        return sum(day.reopened for day in self.days)

    @property
    def closed(self) -> int:
        return sum(day.closed for day in self.days)


def collect(*, period: Period, now: dt.datetime) -> Figures:
    """Return the statistics on this period."""
    opened_by, opened_of = _opened(period)
    filed, reopened = _came(period)
    made = _decisions(period)
    backlog = _backlog(now)
    appeals = _appeals(period)
    claimed = ReviewCase.objects.filter(period.within("first_claimed_at"))
    return Figures(
        period=period,
        days=_days(
            period, opened=opened_by, reopened=reopened, closed=made.closed, waiting=_waiting_at_end(period)
        ),
        reports=filed,
        waiting=backlog.waiting.total(),
        oldest=max(backlog.oldest.values(), default=None),
        median_age=backlog.median_age,
        to_claim=DurationStats.of(
            claimed_at - opened_at
            for opened_at, claimed_at in claimed.values_list("opened_at", "first_claimed_at").iterator(
                _AT_ONCE
            )
            if claimed_at is not None
        ),
        to_decide=DurationStats.of(
            duration for durations in made.durations_of_category.values() for duration in durations
        ),
        decided=made.decided.total(),
        upheld=made.upheld.total(),
        overturned=made.overturned,
        appeals_granted=appeals[Report.Appeal.GRANTED],
        appeals_denied=appeals[Report.Appeal.DENIED],
        appeals_pending=appeals[Report.Appeal.PENDING],
        categories=[
            CategoryStats(
                category=category,
                opened=opened_of[category],
                decided=made.decided[category],
                upheld=made.upheld[category],
                waiting=backlog.waiting[category],
                oldest=backlog.oldest.get(category),
                to_decide=DurationStats.of(made.durations_of_category.get(category, ())),
            )
            for category in POLICIES
            if opened_of[category] or made.decided[category] or backlog.waiting[category]
        ],
        reviewers=made.of_reviewers(),
        models=_feedback(period),
    )


def _day_of(name: str) -> TruncDate:
    return TruncDate(name, tzinfo=timezone.get_default_timezone())


def _opened(period: Period) -> tuple[Counter[dt.date], Counter[str]]:
    """Return how many cases were opened on each day, and in each category."""
    by_day: Counter[dt.date] = Counter()
    by_category: Counter[str] = Counter()
    opened = ReviewCase.objects.filter(period.within("opened_at"))
    for date, category, count in opened.values_list(_day_of("opened_at"), "category").annotate(Count("pk")):
        by_day[date] += count
        by_category[category] += count
    return by_day, by_category


def _came(period: Period) -> tuple[int, Counter[dt.date]]:
    """Return how many reports were filed, and how many cases were reopened on each day."""
    filed, by_day = 0, Counter[dt.date]()
    events = ReviewEvent.objects.filter(period.within("at"), kind__in=[_KIND.FILED, _KIND.REOPENED])
    for date, kind, count in events.values_list(_day_of("at"), "kind").annotate(Count("pk")):
        if kind == _KIND.FILED:
            filed += count
        else:
            by_day[date] += count
    return filed, by_day


@dataclass(slots=True)
class _OneReviewer:
    name: str = ""
    decisions: int = 0
    upheld: int = 0
    overturned: int = 0
    durations: list[dt.timedelta] = field(default_factory=list)


@dataclass(slots=True)
class _Decisions:
    closed: Counter[dt.date] = field(default_factory=Counter)
    decided: Counter[str] = field(default_factory=Counter)
    upheld: Counter[str] = field(default_factory=Counter)
    overturned: int = 0
    durations_of_category: dict[str, list[dt.timedelta]] = field(default_factory=lambda: defaultdict(list))
    reviewers: dict[uuid.UUID | None, _OneReviewer] = field(default_factory=lambda: defaultdict(_OneReviewer))

    def of_reviewers(self) -> list[ReviewerStats]:
        found = [
            ReviewerStats(
                one.name, one.decisions, one.upheld, one.overturned, DurationStats.of(one.durations)
            )
            for one in self.reviewers.values()
        ]
        return sorted(found, key=lambda one: (-one.decisions, one.name))


@dataclass(slots=True)
class _CaseSoFar:
    """The state of a case while its events are being read in order."""

    waiting_since: dt.datetime
    claimed_by: uuid.UUID | None = None
    claimed_at: dt.datetime | None = None
    decided_by: uuid.UUID | None = None
    name_of_decider: str = ""


def _decisions(period: Period) -> _Decisions:
    """Return statistics on the decisions made in the period.

    Every decision closes its case, so `closed` counts decisions. Also reads earlier events of the decided cases, because
    durations and overturned decisions depend on them.
    """
    made = _Decisions()
    zone, starts_at = timezone.get_default_timezone(), period.starts_at
    in_period = ReviewEvent.objects.filter(period.within("at"), kind=_KIND.DECIDED, case__isnull=False)
    events = (
        ReviewEvent.objects.filter(
            case__in=in_period.values("case"),
            kind__in=[_KIND.CLAIMED, _KIND.REOPENED, _KIND.DECIDED],
            at__lt=period.ends_at,
        )
        .order_by("sequence")
        .values_list(
            "case_id",
            "case__opened_at",
            "case__category",
            "kind",
            "at",
            "actor_uuid",
            "actor_name",
            "outcome",
            "is_overturn",
        )
    )
    cases: dict[int, _CaseSoFar] = {}
    for pk, opened_at, category, kind, at, actor, name, outcome, is_overturn in events.iterator(_AT_ONCE):
        case = cases.setdefault(pk or 0, _CaseSoFar(opened_at))
        if kind == _KIND.REOPENED:
            case.waiting_since = at
            continue
        if kind == _KIND.CLAIMED:
            case.claimed_by, case.claimed_at = actor, at
            continue
        if at >= starts_at:
            is_upheld = outcome == ReviewEvent.Outcome.UPHELD
            made.closed[at.astimezone(zone).date()] += 1
            made.decided[category] += 1
            made.upheld[category] += is_upheld
            made.durations_of_category[category].append(at - case.waiting_since)
            reviewer = made.reviewers[actor]
            reviewer.name = name
            reviewer.decisions += 1
            reviewer.upheld += is_upheld
            if case.claimed_by == actor and case.claimed_at is not None and case.claimed_at < at:
                reviewer.durations.append(at - case.claimed_at)
            if is_overturn:
                made.overturned += 1
                before = made.reviewers[case.decided_by]
                before.name = before.name or case.name_of_decider
                before.overturned += 1
        case.decided_by, case.name_of_decider = actor, name
    return made


@dataclass(frozen=True, slots=True)
class _Backlog:
    waiting: Counter[str]
    oldest: dict[str, float]
    median_age: float | None


def _backlog(now: dt.datetime) -> _Backlog:
    """Return the number of cases waiting now by category, and how long they have waited, in hours."""
    cases = ReviewCase.objects.open().annotate(since=CASE_WAITS_SINCE)
    waiting: Counter[str] = Counter()
    oldest: dict[str, float] = {}
    for category, count, since in cases.values_list("category").annotate(Count("pk"), Min("since")):
        waiting[category] = count
        oldest[category] = (now - since) / HOUR
    count = waiting.total()
    # The middle case, or the middle two if the number is even.
    middle = cases.order_by("since").values_list("since", flat=True)[
        max(0, (count - 1) // 2) : count // 2 + 1
    ]
    ages = [(now - since) / HOUR for since in middle]
    return _Backlog(waiting, oldest, statistics.mean(ages) if ages else None)


def _waiting_at_end(period: Period) -> int:
    """Return how many cases were waiting at the end of the period, by undoing later changes to today's number."""
    came = ReviewCase.objects.filter(opened_at__gte=period.ends_at).count()
    events = ReviewEvent.objects.filter(at__gte=period.ends_at)
    since = events.aggregate(
        reopened=Count("pk", filter=Q(kind=_KIND.REOPENED)), decided=Count("pk", filter=Q(kind=_KIND.DECIDED))
    )
    return ReviewCase.objects.open().count() - came - int(since["reopened"]) + int(since["decided"])


def _days(
    period: Period,
    *,
    opened: Counter[dt.date],
    reopened: Counter[dt.date],
    closed: Counter[dt.date],
    waiting: int,
) -> list[Day]:
    days = []
    for date in reversed(period.dates):
        days.append(Day(date, opened[date], reopened[date], closed[date], waiting))
        waiting += closed[date] - opened[date] - reopened[date]
    return days[::-1]


def _appeals(period: Period) -> Counter[str]:
    """Return how many appeals were granted and denied in the period, and how many are pending now."""
    found = Report.objects.filter(
        Q(period.within("decided_at"), appeal_status__in=[Report.Appeal.GRANTED, Report.Appeal.DENIED])
        | Q(appeal_status=Report.Appeal.PENDING)
    )
    return Counter(dict(found.order_by().values_list("appeal_status").annotate(Count("pk"))))


def _feedback(period: Period) -> list[OfModel]:
    """Return the thumbs per model. An answer counts for the model that last worked on it."""
    newest = Generation.objects.filter(message=OuterRef("message")).order_by("-pk")
    rows: Any = (
        Feedback.objects.filter(period.within("created_at"))
        .values(label=Subquery(newest.values("model__label")[:1]))
        .annotate(
            up=Count("pk", filter=Q(rating=Feedback.Rating.UP)),
            down=Count("pk", filter=Q(rating=Feedback.Rating.DOWN)),
        )
    )
    found = [OfModel(row["label"] or "", row["up"], row["down"]) for row in rows]
    return sorted(found, key=lambda one: (-(one.up + one.down), one.label))
