"""Properties of cases and reports match the equivalent query conditions and database constraints."""

import datetime as dt
import itertools

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from conversations.accounts.models import User
from conversations.review.models import Category, Report, ReviewCase, Snapshot, is_comment_missing
from conversations.review.models.reports import CASE_WAITS_SINCE, claim_is_live
from tests.factories import LEAD, make_staff

pytestmark = pytest.mark.django_db

NOW = timezone.now()
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def lead(db: None) -> User:
    return make_staff("lead", *LEAD)


def make_case(
    status: str = "open",
    *,
    claimed_by: User | None = None,
    expires_at: dt.datetime | None = None,
    reopened_at: dt.datetime | None = None,
) -> ReviewCase:
    is_open = status in {"open", "in_review", "escalated"}
    return ReviewCase.objects.create(
        category="incorrect",
        status=status,
        reports_pending=1 if is_open else 0,
        closed_at=None if is_open else NOW,
        opened_at=NOW - 9 * MINUTE,
        reopened_at=reopened_at,
        queue_key=NOW,
        claimed_by=claimed_by,
        claim_expires_at=expires_at,
    )


def make_report(case: ReviewCase, status: str, appeal: str = "", *, reference: str = "P-1") -> Report:
    snapshot, _created = Snapshot.objects.get_or_create(
        case=case, digest="0" * 64, defaults={"content": {}, "created_at": NOW}
    )
    return Report.objects.create(
        reference=reference,
        case=case,
        snapshot=snapshot,
        category="incorrect",
        status=status,
        decided_at=None if status == "pending" else NOW,
        appeal_status=appeal,
        appealed_at=NOW if appeal else None,
        created_at=NOW,
        updated_at=NOW,
    )


def test_open_cases_match_is_open() -> None:
    cases = [make_case(status) for status in ReviewCase.Status.values]
    found = set(ReviewCase.objects.open())
    assert found == {case for case in cases if case.is_open}
    assert {case.status for case in found} == {"open", "in_review", "escalated"}


def test_live_and_lapsed_claims_match_the_properties(lead: User) -> None:
    ends = [None, NOW - MINUTE, NOW, NOW + MINUTE]
    cases = [make_case(expires_at=end) for end in ends]
    claimed = [make_case(claimed_by=lead, expires_at=end) for end in ends if end]
    cases += claimed
    live = set(ReviewCase.objects.with_live_claim(NOW))
    assert live == {case for case in cases if case.has_live_claim(NOW)} == {claimed[2]}
    assert live == set(ReviewCase.objects.filter(claim_is_live(NOW)))
    lapsed = set(ReviewCase.objects.with_lapsed_claim(NOW))
    assert lapsed == {case for case in cases if case.has_lapsed_claim(NOW)} == set(claimed[:2])


def test_a_live_claim_belongs_to_exactly_one_person(lead: User) -> None:
    other = make_staff("other", *LEAD)
    live = make_case(claimed_by=lead, expires_at=NOW + MINUTE)
    lapsed = make_case(claimed_by=lead, expires_at=NOW)
    free = make_case()
    for case, staff, is_own, is_anothers in (
        (live, lead, True, False),
        (live, other, False, True),
        (lapsed, lead, False, False),
        (lapsed, other, False, False),
        (free, lead, False, False),
    ):
        assert case.is_claimed_by(staff, NOW) == is_own
        assert case.is_claimed_by_another(staff, NOW) == is_anothers


def test_a_case_has_waited_since_it_was_opened_or_last_reopened() -> None:
    cases = [make_case(), make_case(reopened_at=NOW)]
    assert [case.waiting_since for case in cases] == [NOW - 9 * MINUTE, NOW]
    found = dict(ReviewCase.objects.annotate(since=CASE_WAITS_SINCE).values_list("pk", "since"))
    assert found == {case.pk: case.waiting_since for case in cases}


def test_report_conditions_match_the_properties() -> None:
    case = make_case()
    states = [("pending", "")]
    states += itertools.product(["upheld", "not_upheld", "ignored"], Report.Appeal.values)
    reports = [
        make_report(case, status, appeal, reference=f"P-{number}")
        for number, (status, appeal) in enumerate(states)
    ]
    waiting = set(case.reports.to_decide())
    assert waiting == {report for report in reports if report.is_waiting}
    assert {(report.status, report.appeal_status) for report in waiting} == {
        ("pending", ""),
        ("upheld", "pending"),
        ("not_upheld", "pending"),
        ("ignored", "pending"),
    }
    decided = set(case.reports.decided())
    assert decided == {report for report in reports if report.is_decided} == set(reports[1:])


@pytest.mark.parametrize("category", Category.values)
@pytest.mark.parametrize("comment", ["", "Because."])
def test_the_comment_rule_matches_the_database_constraint(category: str, comment: str) -> None:
    report = make_report(make_case(), "pending")
    report.category, report.comment = category, comment
    try:
        with transaction.atomic():
            report.save()
    except IntegrityError:
        assert is_comment_missing(category, comment)
    else:
        assert not is_comment_missing(category, comment)
    assert is_comment_missing(category, comment) == (category == "other" and not comment)


@pytest.mark.parametrize(
    ("question", "clarification", "awaits"),
    [("", "", False), ("Which?", "", True), ("Which?", "That.", False)],
)
def test_a_question_awaits_the_reporter_until_answered(
    question: str, clarification: str, awaits: bool
) -> None:
    assert Report(question=question, clarification=clarification).awaits_reporter == awaits
