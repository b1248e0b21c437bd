"""Test the access verdict for every kind of person, and that everything that asks for it gets the same one."""

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape
from pytest_django import DjangoAssertNumQueries

from conversations.access import selectors as access
from conversations.access.models import Membership, Preview, TermsAcceptance, TermsVersion
from conversations.access.rules import Reason, Verdict, verdict
from conversations.access.services import terms as access_terms
from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.models import Message
from conversations.chat.services import sessions
from conversations.common.refusals import Refused
from tests.factories import make_turn
from tests.page import signed_in

NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
SECOND = dt.timedelta(seconds=1)
RUNNING: dict[str, Any] = {"starts_at": NOW - DAY, "ends_at": NOW + DAY}
OVER: dict[str, Any] = {"starts_at": NOW - 2 * DAY, "ends_at": NOW}
AHEAD: dict[str, Any] = {"starts_at": NOW + SECOND, "ends_at": NOW + DAY}
USED_TODAY: dict[str, Any] = {"day": NOW.date(), "messages_today": 2, "messages_used": 2}


@dataclass(frozen=True)
class Case:
    """A kind of person: account, memberships as (preview, membership) oldest first, and the expected verdict."""

    name: str
    user: dict[str, Any]
    parts: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = ()
    reason: Reason | None = None
    says: str = ""
    left: tuple[int | None, int | None] = (None, None)


PREVIEW, GUEST = {"account_type": "preview"}, {"account_type": "guest"}
CASES = [
    Case("member", {}),
    Case("member-of-an-ended-preview", {}, ((OVER, {}),)),
    Case("pending", {"account_type": "pending"}, reason=Reason.PENDING, says="awaiting approval"),
    Case("pending-staff", {"account_type": "pending", "is_staff": True}, reason=Reason.PENDING),
    Case("inactive", {"is_active": False}, reason=Reason.INACTIVE, says="not active"),
    Case("inactive-staff", {"is_active": False, "is_staff": True}, reason=Reason.INACTIVE),
    Case("suspended", {"suspended_at": NOW - DAY}, reason=Reason.SUSPENDED, says="suspended"),
    Case(
        "suspended-for-a-second",
        {"suspended_at": NOW - DAY, "suspended_until": NOW + SECOND},
        reason=Reason.SUSPENDED,
    ),
    Case("suspension-over", {"suspended_at": NOW - DAY, "suspended_until": NOW}),
    Case("suspended-staff", {"suspended_at": NOW, "is_staff": True}, reason=Reason.SUSPENDED),
    Case("suspended-guest", {**GUEST, "suspended_at": NOW}, ((RUNNING, {}),), reason=Reason.SUSPENDED),
    Case("suspended-and-pending", {"account_type": "pending", "suspended_at": NOW}, reason=Reason.SUSPENDED),
    Case("staff", {"is_staff": True}),
    Case("staff-of-an-ended-preview", {**PREVIEW, "is_staff": True}, ((OVER, {}),)),
    Case("uninvited", PREVIEW, reason=Reason.UNINVITED, says="don't have a valid invitation"),
    Case("running", PREVIEW, ((RUNNING, {}),)),
    Case("from-this-second", PREVIEW, (({**RUNNING, "starts_at": NOW}, {}),)),
    Case("not-begun", PREVIEW, ((AHEAD, {}),), Reason.NOT_BEGUN, "starts on Nov. 21, 2026, 12:00 PM."),
    Case("ended", PREVIEW, ((OVER, {}),), Reason.ENDED, "has ended. You can still read"),
    Case("disabled", PREVIEW, (({**RUNNING, "is_enabled": False}, {}),), Reason.ENDED, "has ended"),
    Case("disabled-ahead", PREVIEW, (({**AHEAD, "is_enabled": False}, {}),), Reason.ENDED),
    Case("removed", PREVIEW, ((RUNNING, {"ended_at": NOW}),), Reason.REMOVED, "Your access to"),
    Case("removed-from-the-newest", PREVIEW, ((OVER, {}), (RUNNING, {"ended_at": NOW})), Reason.REMOVED),
    Case("one-of-two-running", PREVIEW, ((RUNNING, {}), (OVER, {}))),
    Case(
        "some-left",
        PREVIEW,
        (({**RUNNING, "messages_total": 5, "messages_per_day": 3}, USED_TODAY),),
        left=(3, 1),
    ),
    Case(
        "used-yesterday",
        PREVIEW,
        (({**RUNNING, "messages_per_day": 2}, {**USED_TODAY, "day": NOW.date() - DAY}),),
        left=(None, 2),
    ),
    Case(
        "used-up-today",
        PREVIEW,
        (({**RUNNING, "messages_total": 5, "messages_per_day": 2}, USED_TODAY),),
        Reason.USED_UP_TODAY,
        "all 2 messages for today. The limit resets at 12:00 AM.",
        left=(3, 0),
    ),
    Case(
        "used-up-on-the-last-day",
        PREVIEW,
        (({"starts_at": NOW - DAY, "ends_at": NOW + DAY / 2, "messages_per_day": 2}, USED_TODAY),),
        Reason.USED_UP_TODAY,
        "all 2 messages for today.",
        left=(None, 0),
    ),
    Case(
        "used-up",
        PREVIEW,
        (({**RUNNING, "messages_total": 2, "messages_per_day": 2}, USED_TODAY),),
        Reason.USED_UP,
        "all 2 messages",
        left=(0, 0),
    ),
    Case(
        "more-used-than-allowed",
        PREVIEW,
        (({**RUNNING, "messages_total": 1}, USED_TODAY),),
        Reason.USED_UP,
        "your 1 message in this preview",
        left=(0, None),
    ),
    Case(
        "one-of-two-used-up",
        PREVIEW,
        (({**RUNNING, "messages_total": 9}, {}), ({**RUNNING, "messages_total": 2}, USED_TODAY)),
        left=(9, None),
    ),
    Case(
        "guest", GUEST, (({**RUNNING, "guest_messages": 3, "messages_total": 1}, USED_TODAY),), left=(1, None)
    ),
    Case(
        "guest-at-the-limit",
        GUEST,
        (({**RUNNING, "guest_messages": 2, "messages_total": 9}, USED_TODAY),),
        Reason.USED_UP,
        "used your 2 guest messages",
        left=(0, None),
    ),
    Case("guest-of-an-ended-preview", GUEST, ((OVER, {}),), Reason.ENDED, left=(None, None)),
]
OVER_REASONS = {
    Reason.INACTIVE,
    Reason.SUSPENDED,
    Reason.PENDING,
    Reason.UNINVITED,
    Reason.NOT_BEGUN,
    Reason.REMOVED,
    Reason.ENDED,
}


def build(case: Case) -> tuple[User, list[Membership]]:
    """Return the user and their memberships, unsaved."""
    user = User(username=case.name, **case.user)
    parts = [
        Membership(
            preview=Preview(name="Spring", **preview),
            user=user,
            joined_at=NOW - DAY + index * SECOND,
            **values,
        )
        for index, (preview, values) in enumerate(case.parts)
    ]
    return user, parts


def save(case: Case) -> User:
    user, parts = build(case)
    user.save()
    for part in parts:
        part.preview.save()
        part.preview_id, part.user_id = part.preview.pk, user.pk
        part.save()
    return User.objects.get(pk=user.pk)


def expect(found: Verdict, case: Case) -> None:
    assert found.reason is case.reason
    assert case.says in found.refusal
    if case.says.endswith("."):
        assert found.refusal.endswith(case.says)
    assert bool(found.refusal) is (case.reason is not None)
    assert (found.left, found.left_today) == case.left
    assert found.is_over is found.is_blocked is (case.reason in OVER_REASONS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_verdict_for_each_kind_of_person(case: Case) -> None:
    # pytest-django forbids database access here, so this also shows that the function needs none.
    user, memberships = build(case)
    found = verdict(user, memberships, None, NOW)
    expect(found, case)
    assert found.terms is None
    assert verdict(user, memberships[::-1], None, NOW) == found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_unaccepted_terms_block_access(case: Case) -> None:
    user, memberships = build(case)
    terms = TermsVersion(version=1)
    found = verdict(user, memberships, terms, NOW)
    assert found.terms is terms
    assert found.is_blocked
    if case.reason in OVER_REASONS:
        assert (found.reason, found.is_over) == (case.reason, True)
    else:
        assert (found.reason, found.is_over) == (Reason.TERMS, False)
        assert "terms of use" in found.refusal
    assert (found.left, found.left_today) == case.left


def test_the_cases_cover_every_reason() -> None:
    assert {case.reason for case in CASES} == {*Reason, None} - {Reason.TERMS}


@pytest.mark.django_db
@pytest.mark.parametrize("accepted", [True, False])
def test_verdicts_on_many_people_take_three_queries(
    django_assert_num_queries: DjangoAssertNumQueries, accepted: bool
) -> None:
    people = {case.name: save(case) for case in CASES}
    older = access_terms.publish_terms(text="Old", now=NOW)
    access_terms.publish_terms(text="New", now=NOW)
    for user in people.values():
        if accepted:
            access_terms.accept_terms(user=user, version=2, now=NOW)
        else:
            TermsAcceptance.objects.create(user=user, terms=older, accepted_at=NOW)
    with django_assert_num_queries(3):
        found = access.verdicts(people.values(), now=NOW)
    for case in CASES:
        user, memberships = build(case)
        wanted = verdict(user, memberships, None if accepted else TermsVersion(version=2), NOW)
        got = found[people[case.name].pk]
        assert (got.reason, got.refusal) == (wanted.reason, wanted.refusal), case.name
        assert (got.left, got.left_today) == (wanted.left, wanted.left_today), case.name
        assert (got.terms is None) is accepted
        assert got == access.verdict_for(people[case.name], now=NOW)


# --- Callers: each follows the verdict and shows its text ---


@pytest.mark.django_db
def test_open_pages_close_when_access_is_over() -> None:
    visitors = {}
    for case in CASES:
        client = signed_in(save(case))
        user = User.objects.get(username=case.name)
        key = client.session.session_key
        assert key is not None
        visitors[case.name] = sessions.Visitor(user, key, user.get_session_auth_hash())
    with CaptureQueriesContext(connection) as captured:
        ended = sessions.no_longer_valid(visitors.values(), now=NOW)
    assert len(captured) <= 5
    for case in CASES:
        wanted = sessions.Ended.BLOCKED if case.reason in OVER_REASONS else None
        if case.reason is Reason.INACTIVE:
            wanted = sessions.Ended.SIGNED_OUT
        assert ended.get(visitors[case.name]) is wanted, case.name
        assert access.is_blocked(visitors[case.name].user, now=NOW) is (case.reason in OVER_REASONS)


@pytest.mark.django_db
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_messages_are_accepted_only_from_people_who_may_write(case: Case, model: ChatModel) -> None:
    user = save(case)
    before = access.verdict_for(user, now=NOW)
    if case.reason is not None:
        with pytest.raises(Refused) as refused:
            make_turn(user, now=NOW)
        assert str(refused.value) == before.refusal
        assert not Message.objects.exists()
        return
    after = make_turn(user, now=NOW).verdict
    assert after == access.verdict_for(user, now=NOW)
    assert after is not None
    assert after.left == (None if before.left is None else before.left - 1)


@pytest.mark.django_db
def test_messages_are_refused_until_the_terms_are_accepted(alice: User, model: ChatModel) -> None:
    access_terms.ensure_terms(now=NOW)
    with pytest.raises(Refused, match="terms of use"):
        make_turn(alice, now=NOW)
    page = signed_in(alice).post("/send/", {"text": "Hello", "client_id": str(uuid.uuid4())})
    assert page.status_code == 422
    assert "terms of use" in page.text
    assert "hx-ws:connect" not in page.text
    access_terms.accept_terms(user=alice, version=1, now=NOW)
    make_turn(alice, now=NOW)


@pytest.mark.django_db
def test_the_verdict_is_computed_once_per_message(model: ChatModel) -> None:
    access_terms.ensure_terms(now=NOW)
    case = next(case for case in CASES if case.name == "some-left")
    user = save(case)
    access_terms.accept_terms(user=user, version=1, now=NOW)
    with CaptureQueriesContext(connection) as captured:
        make_turn(user, now=NOW)

    def reads(table: str) -> int:
        return sum(
            query["sql"].startswith("SELECT") and f'FROM "access_{table}"' in query["sql"]
            for query in captured
        )

    # The membership is read again after counting, to tell how many messages remain.
    assert (reads("membership"), reads("termsversion"), reads("termsacceptance")) == (2, 1, 1)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "status"),
    [("pending", 403), ("suspended", 403), ("ended", 200), ("uninvited", 200), ("guest-at-the-limit", 200)],
)
def test_a_page_shows_the_text_of_the_verdict(
    name: str, status: int, model: ChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = next(case for case in CASES if case.name == name)
    user = save(case)
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOW)
    page = signed_in(user).get("/")
    assert page.status_code == status
    assert escape(access.verdict_for(user, now=NOW).refusal) in page.text
