"""Decisions: claims, effects, permissions, bulk decisions, reruns and concurrency."""

import datetime as dt
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import LazySettings
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.utils import timezone

from conversations.accounts.models import AccountNotice, User
from conversations.catalogue.models import ChatModel
from conversations.chat.generation import prompt
from conversations.chat.generation.transcript import read_branch
from conversations.chat.models import Generation, Message
from conversations.chat.services import turns
from conversations.common.refusals import Refused
from conversations.evaluation.models import EvaluationItem
from conversations.evaluation.services import reruns
from conversations.review.models import BlocklistEntry, Report, ReviewCase, ReviewEvent
from conversations.review.services import decisions, review_log, reviewing
from tests.factories import LEAD, REVIEWER, make_answer, make_decision, make_report, make_staff, make_turn

pytestmark = pytest.mark.django_db

LEASE = dt.timedelta(minutes=10)


@pytest.fixture(autouse=True)
def _model(model: ChatModel) -> None:
    pass


@pytest.fixture
def lead(db: None) -> User:
    return make_staff("lead", *LEAD)


@pytest.fixture
def reviewer(db: None) -> User:
    return make_staff("reviewer", *REVIEWER)


def decide(case: ReviewCase, staff: User, outcome: str = "upheld", **values: Any) -> ReviewEvent:
    version, now = values.pop("version", None), values.pop("now", timezone.now())
    decision = make_decision(outcome, **values)
    return decisions.decide(staff=staff, case=case.uuid, version=version, decision=decision, now=now)


# --- Claims ---


def test_a_claim_blocks_others_until_it_lapses(alice: User, lead: User, reviewer: User) -> None:
    now = timezone.now()
    case = make_report(alice, make_answer(alice)).case
    held = reviewing.claim(staff=lead, case=case.uuid, version=None, now=now)
    assert (held.status, held.claimed_by, held.first_claimed_at) == ("in_review", lead, now)
    with pytest.raises(reviewing.StaleCase, match="claimed by lead") as refused:
        reviewing.claim(staff=reviewer, case=case.uuid, version=None, now=now + LEASE / 2)
    assert not str(refused.value).endswith("..")
    with pytest.raises(reviewing.StaleCase, match="claimed by lead"):
        decide(case, reviewer, now=now + LEASE / 2)
    # Extending the claim keeps the version, so open forms stay valid.
    assert reviewing.extend_claim(staff=lead, case=case.uuid, now=now + LEASE / 2) == now + LEASE * 1.5
    assert reviewing.extend_claim(staff=reviewer, case=case.uuid, now=now + LEASE / 2) is None
    taken = reviewing.claim(staff=reviewer, case=case.uuid, version=held.version, now=now + LEASE * 1.6)
    assert taken.claimed_by == reviewer
    assert reviewing.extend_claim(staff=lead, case=case.uuid, now=now + LEASE * 1.7) is None


def test_a_second_decision_is_refused_with_an_explanation(alice: User, lead: User, reviewer: User) -> None:
    case = make_report(alice, make_answer(alice)).case
    case.refresh_from_db()
    seen = case.version
    decide(case, lead, version=seen)
    with pytest.raises(reviewing.StaleCase, match="decided by lead") as caught:
        decide(case, reviewer, "dismissed", version=seen)
    assert caught.value.case.status == "resolved"
    assert ReviewEvent.objects.filter(kind="decided").count() == 1


def test_a_released_case_can_be_claimed_again(alice: User, lead: User, reviewer: User) -> None:
    case = make_report(alice, make_answer(alice)).case
    now = timezone.now()
    reviewing.claim(staff=lead, case=case.uuid, version=None, now=now)
    with pytest.raises(reviewing.StaleCase, match="haven't claimed"):
        reviewing.release(staff=reviewer, case=case.uuid, version=None, now=now)
    assert reviewing.release(staff=lead, case=case.uuid, version=None, now=now).status == "open"


def test_lapsed_claims_return_to_the_queue(alice: User, lead: User) -> None:
    case = make_report(alice, make_answer(alice)).case
    now = timezone.now()
    reviewing.claim(staff=lead, case=case.uuid, version=None, now=now)
    assert reviewing.expire_claims(now + LEASE / 2) == 0
    assert reviewing.expire_claims(now + LEASE) == 1
    case.refresh_from_db()
    assert (case.status, case.claimed_by) == ("open", None)


def test_the_next_case_is_the_available_one_with_the_highest_priority(
    alice: User, lead: User, reviewer: User
) -> None:
    light, grave, held, given, escalated = (
        make_report(alice, make_answer(alice), category).case
        for category in ("technical", "harmful", "legal", "harmful", "harmful")
    )
    now = timezone.now()
    reviewing.claim(staff=lead, case=held.uuid, version=None, now=now)
    reviewing.assign(staff=lead, case=given.uuid, version=None, to=lead, reason="Knows it.", now=now)
    reviewing.escalate(staff=lead, case=escalated.uuid, version=None, reason="Danger.", now=now)
    found = [reviewing.claim_next(staff=reviewer, now=now) for _ in range(3)]
    assert found == [grave, light, None]
    assert reviewing.claim_next(staff=lead, now=now) == given


def test_cases_can_be_assigned_only_to_reviewers(alice: User, charlie: User, lead: User) -> None:
    case = make_report(alice, make_answer(alice)).case
    with pytest.raises(Refused, match="doesn't have permission to review"):
        reviewing.assign(
            staff=lead, case=case.uuid, version=None, to=charlie, reason="Why not.", now=timezone.now()
        )


# --- Effects ---


def test_a_hidden_answer_is_no_longer_sent_anywhere(alice: User, lead: User) -> None:
    told = make_answer(alice, "How to hurt people.")
    decide(make_report(alice, told, "harmful").case, lead, hides_answer=True)
    told.refresh_from_db()
    told.conversation.refresh_from_db()
    assert told.is_hidden
    assert told.text == "How to hurt people."
    assert told.revision == told.conversation.revision == 1
    assert read_branch(told.conversation, limit=9)[-1].text == ""
    further = make_turn(alice, "And then?", conversation=told.conversation)
    sent = prompt.build_request(further.generation)[0].messages
    assert not any("hurt people" in message.text for message in sent)
    assert sent[-2].text == prompt.REMOVED


def test_a_replaced_answer_shows_the_vetted_text(alice: User, lead: User) -> None:
    told = make_answer(alice, "The moon is cheese.")
    decide(make_report(alice, told).case, lead, vetted_text="The moon is rock.")
    told.refresh_from_db()
    assert (told.shown_text, told.text) == ("The moon is rock.", "The moon is cheese.")
    with pytest.raises(Refused):
        turns.continue_answer(user=alice, message=told.uuid, client_id=uuid.uuid4(), now=timezone.now())


def test_a_later_dismissal_reverses_all_effects(alice: User, charlie: User, lead: User) -> None:
    told = make_answer(alice)
    now = timezone.now()
    filed = make_report(alice, told)
    decide(
        filed.case,
        lead,
        hides_answer=True,
        suspends=True,
        suspension_days=7,
        suspension_text="For that.",
        now=now,
    )
    alice.refresh_from_db()
    assert alice.is_suspended(now)
    # An upheld report can't be appealed, so a new report by the suspended user reopens the case.
    Message.objects.filter(pk=told.pk).update(vetted_text="Vetted.")
    make_report(alice, Message.objects.get(pk=told.pk), comment="It was fine.")
    decide(filed.case, lead, "dismissed", now=now)
    told.refresh_from_db()
    alice.refresh_from_db()
    assert (told.is_hidden, told.vetted_text, told.revision) == (False, "", 2)
    assert not alice.is_suspended(now)
    assert AccountNotice.objects.get().lifted_at == now


def test_a_suspension_from_another_case_remains(alice: User, lead: User) -> None:
    now = timezone.now()
    told = [make_answer(alice) for _ in range(2)]
    cases = [make_report(alice, message).case for message in told]
    for case, days in zip(cases, (7, 30), strict=True):
        decide(case, lead, suspends=True, suspension_days=days, suspension_text="For that.", now=now)
    alice.refresh_from_db()
    assert alice.suspended_until == now + dt.timedelta(days=30)
    make_report(alice, told[1])
    decide(cases[1], lead, "dismissed", now=now)
    alice.refresh_from_db()
    assert alice.suspended_until == now + dt.timedelta(days=7)
    with pytest.raises(Refused, match="suspended"):
        make_turn(alice, "Hi", now=now)


def test_hiding_an_answer_stops_its_continuation(alice: User, lead: User) -> None:
    told = make_answer(alice)
    filed = make_report(alice, told)
    Generation.objects.filter(message=told).update(finish_reason="length")
    again = turns.continue_answer(user=alice, message=told.uuid, client_id=uuid.uuid4(), now=timezone.now())
    decide(filed.case, lead, hides_answer=True)
    again.refresh_from_db()
    assert again.status == "stopped"


def test_decisions_can_add_to_the_blocklist_and_evaluation_set(alice: User, lead: User) -> None:
    told = make_answer(alice, "Bad.", prompt="Asked")
    decide(
        make_report(alice, told, "refused").case,
        lead,
        blocklist_text="Some wording",
        adds_to_evaluation=True,
        warning="Do not.",
    )
    item = EvaluationItem.objects.get()
    assert (item.messages, item.answer) == ([{"role": "user", "text": "Asked"}], "Bad.")
    assert BlocklistEntry.objects.get().added_by == lead
    assert AccountNotice.objects.get().text == "Do not."


def test_reporters_are_mailed_the_decision(
    alice: User, lead: User, django_capture_on_commit_callbacks: Any
) -> None:
    alice.email = "alice@example.org"
    alice.save()
    filed = make_report(alice, make_answer(alice, "<b>secret</b>"), comment="Bcc: x@example.org")
    with django_capture_on_commit_callbacks(execute=True):
        decide(filed.case, lead, reply="Thank you & well spotted.")
    [sent] = mail.outbox
    assert sent.to == ["alice@example.org"]
    assert filed.reference in str(sent.subject) + str(sent.body)
    assert "Thank you & well spotted." in sent.body
    assert "secret" not in str(sent.subject) + str(sent.body)
    assert "\n" not in sent.subject


def test_the_preview_describes_the_effects(alice: User, lead: User) -> None:
    case = make_report(alice, make_answer(alice)).case
    decision = make_decision(
        "upheld",
        hides_answer=True,
        suspends=True,
        suspension_days=7,
        suspension_text="For that.",
    )
    said = " ".join(decisions.preview(decision, case=case, staff=lead))
    assert "1 report: upheld." in said
    assert "notice instead of the answer" in said
    assert "suspended for 7 days" in said
    assert not AccountNotice.objects.exists()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"outcome": "maybe"}, "uphold or dismiss"),
        ({"reason": "  "}, "Give a reason"),
        ({"outcome": "dismissed", "hides_answer": True}, "can't hide the answer"),
        ({"outcome": "dismissed", "warning": "No."}, "can't hide the answer"),
        ({"suspends": True, "suspension_days": 1}, "why they are being suspended"),
        ({"blocklist_text": "x" * 201}, "too long"),
        ({"verdicts": {uuid.UUID(int=1): "upheld"}}, "belongs to another case"),
    ],
)
def test_invalid_decisions_are_refused(alice: User, lead: User, values: dict[str, Any], reason: str) -> None:
    case = make_report(alice, make_answer(alice)).case
    with pytest.raises(Refused, match=reason):
        decide(case, lead, **{"outcome": "upheld", **values})
    assert Report.objects.get().status == "pending"
    assert not ReviewEvent.objects.exclude(kind="filed").exists()


def test_a_verdict_can_differ_from_the_outcome(alice: User, lead: User) -> None:
    filed = make_report(alice, make_answer(alice))
    decide(filed.case, lead, "dismissed", verdicts={filed.uuid: "ignored"})
    filed.refresh_from_db()
    assert filed.status == "ignored"


# --- Permissions ---


def test_actions_require_their_permissions(alice: User, charlie: User, reviewer: User) -> None:
    filed = make_report(alice, make_answer(alice))
    case, now = filed.case, timezone.now()
    outsider = make_staff("outsider")
    for person in (charlie, outsider):
        attempts: tuple[Any, ...] = (
            lambda p=person: reviewing.claim(staff=p, case=case.uuid, version=None, now=now),
            lambda p=person: reviewing.claim_next(staff=p, now=now),
            lambda p=person: reviewing.note(staff=p, case=case.uuid, text="Hm.", now=now),
            lambda p=person: decide(case, p),
            lambda p=person: reruns.run_again(staff=p, case=case.uuid, now=now),
            lambda p=person: decisions.decide_many(
                staff=p, cases=[case], decision=decisions.Decision("upheld", "x"), now=now, dry_run=True
            ),
        )
        for attempt in attempts:
            with pytest.raises(PermissionDenied):
                attempt()
    forbidden: tuple[Any, ...] = (
        lambda: decide(case, reviewer, suspends=True, suspension_text="x"),
        lambda: reviewing.assign(staff=reviewer, case=case.uuid, version=None, to=None, reason="x", now=now),
        lambda: reviewing.reveal_reporter(staff=reviewer, report=filed.uuid, reason="x", now=now),
        lambda: reviewing.open_conversation(staff=reviewer, conversation=uuid.uuid4(), reason="x", now=now),
    )
    for refused in forbidden:
        with pytest.raises(PermissionDenied):
            refused()
    assert [event.kind for event in ReviewEvent.objects.all()] == ["filed"]


def test_revealing_a_reporter_is_logged_with_its_reason(alice: User, lead: User) -> None:
    told = make_answer(alice)
    filed = make_report(alice, told)
    with pytest.raises(Refused, match="reason"):
        reviewing.reveal_reporter(staff=lead, report=filed.uuid, reason=" ", now=timezone.now())
    assert not reviewing.has_revealed(lead, filed)
    assert (
        reviewing.reveal_reporter(staff=lead, report=filed.uuid, reason="Court order.", now=timezone.now())
        == alice
    )
    assert reviewing.has_revealed(lead, filed)
    conversation = told.conversation.uuid
    reviewing.open_conversation(
        staff=lead, conversation=conversation, reason="Context.", case=filed.case.uuid, now=timezone.now()
    )
    kinds = [(event.kind, event.text) for event in ReviewEvent.objects.order_by("sequence")[1:]]
    assert kinds == [("revealed", "Court order."), ("opened", "Context.")]


# --- Bulk decisions ---


def test_a_bulk_decision_skips_claimed_and_changed_cases(alice: User, lead: User, reviewer: User) -> None:
    cases = [make_report(alice, make_answer(alice)).case for _ in range(4)]
    for case in cases:
        case.refresh_from_db()
    reviewing.claim(staff=lead, case=cases[0].uuid, version=None, now=timezone.now())
    decide(cases[1], lead)
    decision = decisions.Decision(outcome="dismissed", reason="Spam wave.")
    now = timezone.now()
    fresh = list(ReviewCase.objects.order_by("pk"))
    tried = decisions.decide_many(staff=reviewer, cases=fresh, decision=decision, now=now, dry_run=True)
    assert (tried.decided, len(tried.skipped)) == (2, 2)
    assert Report.objects.filter(status="pending").count() == 3
    # The old versions exclude the cases that have changed since.
    done = decisions.decide_many(staff=reviewer, cases=cases, decision=decision, now=now, dry_run=False)
    assert (done.decided, [case.pk for case, _reason in done.skipped]) == (
        2,
        [cases[0].pk, cases[1].pk],
    )


# --- Concurrency ---


@pytest.mark.django_db(transaction=True)
def test_each_case_is_decided_once_by_twenty_concurrent_reviewers(
    alice: User, model: ChatModel, settings: LazySettings
) -> None:
    settings.REPORTS_PER_HOUR = 1_000
    told = make_answer(alice)
    for number in range(200):
        message = Message.objects.create(
            conversation=told.conversation,
            parent=told.parent,
            depth=1,
            role="assistant",
            text=f"Answer {number}",
            created_at=timezone.now(),
        )
        filed = make_report(alice, message, now=timezone.now() - dt.timedelta(hours=number * 2))
        assert filed.case.is_open
    staff = [make_staff(f"reviewer{number}", *REVIEWER) for number in range(20)]
    seen = {case.uuid: case.version for case in ReviewCase.objects.all()}
    assert len(seen) == 200

    def work(reviewer: User) -> tuple[int, int]:
        """Decide every case at its original version. Return the numbers of decided and refused cases."""
        decided = refused = 0
        try:
            for public_id, version in seen.items():
                try:
                    decisions.decide(
                        staff=reviewer,
                        case=public_id,
                        version=version,
                        decision=decisions.Decision(outcome="upheld", reason=reviewer.username),
                        now=timezone.now(),
                    )
                except reviewing.StaleCase:
                    refused += 1
                else:
                    decided += 1
        finally:
            connection.close()
        return decided, refused

    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(work, staff))
    assert sum(decided for decided, _refused in done) == 200
    assert sum(refused for _decided, refused in done) == 19 * 200
    assert ReviewEvent.objects.filter(kind="decided").values("case").distinct().count() == 200
    assert ReviewEvent.objects.filter(kind="decided").count() == 200
    assert not ReviewCase.objects.open().exists()
    verified = review_log.verify()
    assert verified.faults == []
    assert verified.events == ReviewEvent.objects.count()
