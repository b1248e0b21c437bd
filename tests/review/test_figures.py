"""Review statistics, compared with values computed by hand."""

import datetime as dt
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import LazySettings
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.services import feedback
from conversations.review.models import Report, ReviewCase, ReviewEvent
from conversations.review.selectors import figures
from conversations.review.selectors.figures import DurationStats
from conversations.review.selectors.periods import Period
from conversations.review.services import decisions, exports, reports, reviewing
from tests.factories import LEAD, REVIEWER, make_answer, make_report, make_staff

pytestmark = pytest.mark.django_db

HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)
# A Monday, at noon in UTC.
MONDAY = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
WEEK = Period(dt.date(2026, 3, 2), dt.date(2026, 3, 8))
AFTER = MONDAY + 7 * DAY


@pytest.fixture(autouse=True)
def _model(model: ChatModel, settings: LazySettings) -> None:
    settings.TIME_ZONE = "UTC"
    settings.REPORTS_PER_HOUR = 1_000


@pytest.fixture
def lead(db: None) -> User:
    return make_staff("lead", *LEAD)


@pytest.fixture
def reviewer(db: None) -> User:
    return make_staff("reviewer", *REVIEWER)


@pytest.fixture
def filed(alice: User) -> Callable[..., Report]:
    """Return a function that files a report of a new answer of Alice's."""

    def file(at: dt.datetime, category: str = "incorrect") -> Report:
        return make_report(alice, make_answer(alice), category, now=at)

    return file


def decide(filed: Report, staff: User, outcome: str, at: dt.datetime) -> None:
    decision = decisions.Decision(outcome=outcome, reason="Because.")
    decisions.decide(staff=staff, case=filed.case.uuid, version=None, decision=decision, now=at)


def claim(filed: Report, staff: User, at: dt.datetime) -> None:
    reviewing.claim(staff=staff, case=filed.case.uuid, version=None, now=at)


def collect(period: Period = WEEK, now: dt.datetime = AFTER) -> figures.Figures:
    return figures.collect(period=period, now=now)


def test_statistics_without_any_data() -> None:
    found = collect()
    assert [day.date for day in found.days] == [dt.date(2026, 3, number) for number in range(2, 9)]
    assert {(day.opened, day.reopened, day.closed, day.waiting) for day in found.days} == {(0, 0, 0, 0)}
    assert (found.waiting, found.oldest, found.median_age) == (0, None, None)
    assert found.to_claim == found.to_decide == DurationStats(0, None, None)
    assert (found.decided, found.upheld, found.overturned, found.reports) == (0, 0, 0, 0)
    assert (found.categories, found.reviewers, found.models) == ([], [], [])
    assert len(list(exports.figure_rows(found))) > len(found.days)


def test_the_statistics_of_a_week(
    alice: User, lead: User, reviewer: User, filed: Callable[..., Report]
) -> None:
    # Opened before the week: one still waiting, and one decided during the week.
    filed(MONDAY - 10 * DAY, "biased")
    old = filed(MONDAY - 2 * DAY)
    claim(old, lead, MONDAY)
    decide(old, lead, "upheld", MONDAY + HOUR)
    # Opened on Monday, claimed after 2 hours, dismissed after 3.
    first = filed(MONDAY)
    claim(first, reviewer, MONDAY + 2 * HOUR)
    decide(first, reviewer, "dismissed", MONDAY + 3 * HOUR)
    # Reopened by an appeal on Wednesday, and overturned 4 hours later by someone else.
    reports.appeal(reporter=alice, report=first.uuid, text="Look again.", now=MONDAY + 2 * DAY)
    claim(first, lead, MONDAY + 2 * DAY + 2 * HOUR)
    decide(first, lead, "upheld", MONDAY + 2 * DAY + 4 * HOUR)
    # Dismissed on Tuesday without an earlier claim. On Thursday the appeal is denied after an hour.
    second = filed(MONDAY + DAY, "harmful")
    decide(second, reviewer, "dismissed", MONDAY + DAY + 5 * HOUR)
    reports.appeal(reporter=alice, report=second.uuid, text="Look again.", now=MONDAY + 3 * DAY)
    decide(second, lead, "dismissed", MONDAY + 3 * DAY + HOUR)
    # Opened on Sunday and still waiting, and one opened after the week.
    filed(MONDAY + 6 * DAY, "harmful")
    filed(AFTER)

    found = collect(now=AFTER + DAY)
    assert [(day.opened, day.reopened, day.closed, day.waiting) for day in found.days] == [
        (1, 0, 2, 1),
        (1, 0, 1, 1),
        (0, 1, 1, 1),
        (0, 1, 1, 1),
        (0, 0, 0, 1),
        (0, 0, 0, 1),
        (1, 0, 0, 2),
    ]
    assert (found.opened, found.reopened, found.closed, found.reports) == (3, 2, 5, 3)
    # The three cases waiting now have waited for 18, 2 and 1 days.
    assert (found.waiting, found.oldest, found.median_age) == (3, 18 * 24, 48)
    # 48 (old), 2 (first), 5 (second, by deciding).
    assert found.to_claim == DurationStats(3, 5, 48)
    # 49 (old), 3 and 4 (first), 5 and 1 (second).
    assert found.to_decide == DurationStats(5, 4, 49)
    assert (found.decided, found.upheld, found.overturned) == (5, 2, 1)
    assert (found.appeals_granted, found.appeals_denied, found.appeals_pending) == (1, 1, 0)
    harmful, incorrect, biased = found.categories
    assert harmful == figures.CategoryStats("harmful", 2, 2, 0, 1, 48, DurationStats(2, 3, 5))
    assert incorrect == figures.CategoryStats("incorrect", 1, 3, 2, 1, 24, DurationStats(3, 4, 49))
    assert biased == figures.CategoryStats("biased", 0, 0, 0, 1, 18 * 24, DurationStats())
    assert found.reviewers == [
        figures.ReviewerStats(
            "lead", decisions=3, upheld=2, overturned=0, to_decide=DurationStats(2, 1.5, 2)
        ),
        figures.ReviewerStats(
            "reviewer", decisions=2, upheld=0, overturned=1, to_decide=DurationStats(1, 1, 1)
        ),
    ]


def test_an_earlier_decision_overturned_in_the_period_is_counted(
    alice: User, lead: User, reviewer: User, filed: Callable[..., Report]
) -> None:
    early = filed(MONDAY - 5 * DAY)
    decide(early, reviewer, "dismissed", MONDAY - 4 * DAY)
    reports.appeal(reporter=alice, report=early.uuid, text="Look again.", now=MONDAY - DAY)
    decide(early, lead, "upheld", MONDAY)
    found = collect()
    assert (found.overturned, found.appeals_granted) == (1, 1)
    assert [(one.name, one.decisions, one.overturned) for one in found.reviewers] == [
        ("lead", 1, 0),
        ("reviewer", 0, 1),
    ]
    assert found.to_decide == DurationStats(1, 24, 24)


def test_a_pending_appeal_returns_the_case_to_the_backlog(
    alice: User, reviewer: User, filed: Callable[..., Report]
) -> None:
    one = filed(MONDAY)
    decide(one, reviewer, "dismissed", MONDAY + HOUR)
    reports.appeal(reporter=alice, report=one.uuid, text="Look again.", now=MONDAY + DAY)
    found = collect(now=MONDAY + DAY + 3 * HOUR)
    assert (found.appeals_pending, found.waiting, found.oldest) == (1, 1, 3)
    assert [day.waiting for day in found.days] == [0, 1, 1, 1, 1, 1, 1]


def test_a_deleted_reviewer_stays_in_the_statistics(reviewer: User, filed: Callable[..., Report]) -> None:
    decide(filed(MONDAY), reviewer, "upheld", MONDAY + HOUR)
    reviewer.delete()
    assert [(one.name, one.decisions) for one in collect().reviewers] == [("reviewer", 1)]


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("UTC", {"2026-03-03": 2, "2026-03-04": 1}),
        ("Asia/Tokyo", {"2026-03-03": 1, "2026-03-04": 2}),
        ("America/New_York", {"2026-03-02": 1, "2026-03-03": 2}),
    ],
)
def test_days_are_in_the_site_time_zone(
    zone: str, days: dict[str, int], lead: User, settings: LazySettings, filed: Callable[..., Report]
) -> None:
    settings.TIME_ZONE = zone
    for hours in (3, 20, 26):
        one = filed(dt.datetime(2026, 3, 3, tzinfo=dt.UTC) + hours * HOUR)
        decide(one, lead, "upheld", one.created_at)
    found = collect()
    assert {str(day.date): day.opened for day in found.days if day.opened} == days
    assert {str(day.date): day.closed for day in found.days if day.closed} == days


def test_days_follow_daylight_saving_time(settings: LazySettings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    spring = Period(dt.date(2026, 3, 29), dt.date(2026, 3, 29))
    assert spring.ends_at.astimezone(dt.UTC) - spring.starts_at.astimezone(dt.UTC) == 23 * HOUR
    assert spring.starts_at.astimezone(ZoneInfo("Europe/Berlin")).hour == 0


def test_the_last_day_is_included_and_the_next_midnight_is_not(filed: Callable[..., Report]) -> None:
    midnight = dt.datetime(2026, 3, 9, tzinfo=dt.UTC)
    filed(midnight - dt.timedelta(microseconds=1))
    filed(midnight)
    assert collect().opened == 1
    assert collect().days[-1].waiting == 1
    assert Period.ending(dt.date(2026, 3, 8), days=7) == WEEK


def test_median_and_90th_percentile() -> None:
    assert DurationStats.of([]) == DurationStats(0, None, None)
    assert DurationStats.of([HOUR]) == DurationStats(1, 1, 1)
    assert DurationStats.of([HOUR * number for number in range(1, 11)]) == DurationStats(10, 5.5, 9)
    assert DurationStats.of([HOUR * number for number in range(100, 0, -1)]) == DurationStats(100, 50.5, 90)


def test_feedback_counts_for_the_model_that_wrote_the_answer(alice: User, model: ChatModel) -> None:
    ratings = [(MONDAY, 1), (MONDAY, 1), (MONDAY, -1), (MONDAY - DAY, 1), (AFTER, -1)]
    for at, rating in ratings:
        feedback.rate(user=alice, message=make_answer(alice).uuid, rating=rating, now=at)
    assert collect().models == [figures.OfModel("Fake", up=2, down=1)]


def test_the_number_of_queries_is_constant(
    alice: User, lead: User, reviewer: User, filed: Callable[..., Report]
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            collect()
        return len(captured)

    none = queries()
    for number, category in enumerate(["harmful", "biased", "legal", "harmful", "refused"]):
        one = filed(MONDAY + number * HOUR, category)
        if number % 2:
            decide(one, [lead, reviewer][number % 3 % 2], "dismissed", MONDAY + DAY)
            reports.appeal(reporter=alice, report=one.uuid, text="Look again.", now=MONDAY + 2 * DAY)
    feedback.rate(user=alice, message=make_answer(alice).uuid, rating=1, now=MONDAY)
    assert queries() == none <= 12


# --- Exports ---


def exported(period: Period = WEEK) -> list[dict[str, Any]]:
    columns, *rows = exports.case_rows(period)
    return [dict(zip(map(str, columns), row, strict=True)) for row in rows]


def test_case_rows(alice: User, lead: User, filed: Callable[..., Report]) -> None:
    filed(MONDAY - 10 * DAY)
    closed = filed(MONDAY - 2 * DAY)
    decide(closed, lead, "upheld", MONDAY)
    waiting = filed(MONDAY + DAY)
    filed(AFTER)
    assert [row["case"] for row in exported()] == [closed.case_id, waiting.case_id]
    case = ReviewCase.objects.get(pk=closed.case_id)
    assert exported()[0] == {
        "case": case.pk,
        "uuid": str(case.uuid),
        "category": "incorrect",
        "status": "resolved",
        "opened_at": MONDAY - 2 * DAY,
        "first_claimed_at": MONDAY,
        "closed_at": MONDAY,
        "reports": 1,
        "reporters": closed.pseudonym,
        "outcome": "upheld",
        "reviewer": "lead",
    }


def test_case_rows_contain_no_user_text(alice: User, lead: User) -> None:
    one = make_report(alice, make_answer(alice, "The answer."), comment="A comment.", now=MONDAY)
    decide(one, lead, "dismissed", MONDAY + HOUR)
    reports.appeal(reporter=alice, report=one.uuid, text="An appeal.", now=MONDAY + DAY)
    written = str(exported()) + str(list(exports.figure_rows(collect())))
    for text in ("alice", "The answer", "The prompt", "A comment", "An appeal", "Because"):
        assert text not in written


def test_rows_are_read_in_batches(
    lead: User, filed: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_AT_ONCE", 2)
    numbers = [filed(MONDAY + number * HOUR).case_id for number in range(5)]
    assert [row["case"] for row in exported()] == numbers


def test_an_export_is_logged(lead: User, reviewer: User) -> None:
    details = exports.details_of(WEEK)
    exports.begin(staff=lead, what="cases", details=details, now=MONDAY)
    event = ReviewEvent.objects.get()
    assert (event.kind, event.actor, event.case) == ("exported", lead, None)
    assert event.details == {"what": "cases", "from": "2026-03-02", "to": "2026-03-08"}
    with pytest.raises(PermissionDenied):
        exports.begin(staff=reviewer, what="cases", details=details, now=MONDAY)
    assert ReviewEvent.objects.count() == 1
