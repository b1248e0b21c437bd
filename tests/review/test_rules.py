"""Status, category and priority of cases."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.review import rules
from conversations.review.models import POLICIES, Category, ReviewCase

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
CATEGORIES = st.sampled_from(Category.values)


def test_every_category_has_a_policy() -> None:
    assert set(POLICIES) == set(Category.values)
    assert all(1 <= policy.severity <= 5 and str(policy.text) for policy in POLICIES.values())


@pytest.mark.parametrize(
    ("pending", "is_escalated", "is_claimed", "any_upheld", "status"),
    [
        (1, False, False, False, "open"),
        (1, False, True, False, "in_review"),
        (1, True, True, False, "escalated"),
        (1, False, False, True, "open"),
        (0, False, False, True, "resolved"),
        (0, False, False, False, "dismissed"),
        (0, True, True, False, "dismissed"),
    ],
)
def test_status_of_a_case(
    pending: int, is_escalated: bool, is_claimed: bool, any_upheld: bool, status: str
) -> None:
    computed = rules.status_of(
        pending=pending, is_escalated=is_escalated, is_claimed=is_claimed, any_upheld=any_upheld
    )
    assert computed == status


@given(pending=st.integers(0, 9), flags=st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_a_case_is_open_only_while_reports_are_pending(pending: int, flags: tuple[bool, bool, bool]) -> None:
    status = rules.status_of(pending=pending, is_escalated=flags[0], is_claimed=flags[1], any_upheld=flags[2])
    assert (status in ReviewCase.OPEN) == (pending > 0)


@given(categories=st.lists(CATEGORIES, min_size=1))
def test_the_most_severe_category_is_one_of_those_given(categories: list[str]) -> None:
    most_severe = rules.most_severe(categories)
    assert most_severe in categories
    assert POLICIES[most_severe].severity == max(POLICIES[name].severity for name in categories)


@given(
    category=CATEGORIES,
    reporters=st.integers(1, 50),
    records=st.lists(
        st.builds(lambda d, u: rules.Record(d, min(d, u)), st.integers(0, 30), st.integers(0, 30))
    ),
)
def test_an_additional_reporter_never_lowers_the_priority(
    category: str, reporters: int, records: list[rules.Record]
) -> None:
    before = rules.base_priority(category=category, reporters=reporters, records=records)
    bad = rules.Record(decided=20, upheld=0)
    joined = rules.base_priority(category=category, reporters=reporters + 1, records=[*records, bad])
    if any(record.share is not None for record in records):
        assert joined >= before
    assert before >= 0


def test_a_track_record_counts_from_five_decisions() -> None:
    few, good, bad = rules.Record(4, 4), rules.Record(5, 5), rules.Record(5, 0)
    points = [
        rules.base_priority(category="incorrect", reporters=1, records=[record])
        for record in (bad, few, good)
    ]
    assert points == sorted(set(points))


def test_a_severe_case_is_eventually_overtaken_by_an_older_one() -> None:
    grave = rules.queue_key(waiting_since=NOW, points=60)
    light = rules.queue_key(waiting_since=NOW - dt.timedelta(hours=47), points=12)
    older = rules.queue_key(waiting_since=NOW - dt.timedelta(hours=49), points=12)
    assert older < grave < light
    assert rules.priority_at(queue_key=grave, now=NOW + dt.timedelta(hours=3)) == 63
