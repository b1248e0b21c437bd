"""Filing reports, appeals, questions, legal hold and concurrency."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import LazySettings
from django.core import mail
from django.db import connection, transaction
from django.db.models import ProtectedError
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.models import Conversation, Generation, Message
from conversations.chat.services.conversations import delete_conversation
from conversations.common.refusals import Refused
from conversations.review.models import Report, ReviewCase, ReviewEvent, Snapshot
from conversations.review.services import decisions, reports, reviewing, snapshots
from tests.factories import LEAD, make_answer, make_report, make_staff, make_turn

pytestmark = pytest.mark.django_db

HOUR = dt.timedelta(hours=1)


@pytest.fixture(autouse=True)
def _model(model: ChatModel) -> None:
    pass


def decide(
    case: ReviewCase, staff: User, outcome: str = "dismissed", *, now: dt.datetime | None = None
) -> None:
    decision = decisions.Decision(outcome=outcome, reason="Because.", reply="Thank you.")
    decisions.decide(staff=staff, case=case.uuid, version=None, decision=decision, now=now or timezone.now())


def test_a_report_stores_a_snapshot(alice: User) -> None:
    first = make_answer(alice, "One.", prompt="First")
    second = make_answer(alice, "Two.", prompt="Second", conversation=first.conversation.uuid)
    filed = make_report(alice, second, "harmful", "  Look here. ")

    assert filed.comment == "Look here."
    assert filed.status == "pending"
    case = filed.case
    assert (case.message, case.subject, case.category, case.status) == (second, alice, "harmful", "open")
    content = filed.snapshot.content
    assert [
        (message["role"], message["text"], message["is_reported"]) for message in content["messages"]
    ] == [
        ("user", "Second", False),
        ("assistant", "Two.", True),
    ]
    assert len(content["branch"]) == 4
    assert content["branch"][-1] == str(second.uuid)
    assert content["generation"]["model"] == "Fake"
    assert (content["generation"]["prompt_tokens"], content["generation"]["finish_reason"]) == (5, "stop")
    assert content["app_version"]
    assert filed.snapshot.digest == snapshots.digest_of(content)
    [event] = ReviewEvent.objects.all()
    assert (event.kind, event.case, event.report, event.actor) == ("filed", case, filed, None)
    assert "alice" not in str(event.details) + event.actor_name


def test_surrounding_turns_are_included_if_the_reporter_agrees(alice: User) -> None:
    conversation, told = None, []
    for number in range(8):
        told.append(make_answer(alice, f"a{number}", prompt=f"q{number}", conversation=conversation))
        conversation = told[0].conversation.uuid
    around = snapshots.TURNS_BEFORE + snapshots.TURNS_AFTER
    assert snapshots.count_around(told[4]) == around
    filed = make_report(alice, told[4], includes_context=True)
    texts = [message["text"] for message in filed.snapshot.content["messages"]]
    assert texts == [text for number in range(1, 7) for text in (f"q{number}", f"a{number}")]
    assert snapshots.count_around(told[0]) == snapshots.TURNS_AFTER
    assert snapshots.count_around(told[7]) == snapshots.TURNS_BEFORE


def test_later_changes_do_not_affect_the_snapshot(alice: User) -> None:
    told = make_answer(alice, "As it was.")
    filed = make_report(alice, told)
    Message.objects.filter(pk=told.pk).update(text="Another text.")
    staff = make_staff("lead", *LEAD)
    decide(filed.case, staff)
    delete_conversation(user=alice, conversation=told.conversation.uuid, now=timezone.now())
    kept = Snapshot.objects.get()
    assert kept.content["messages"][-1]["text"] == "As it was."
    assert kept.digest == snapshots.digest_of(kept.content)
    assert ReviewCase.objects.get().message is None


def test_reporting_an_answer_twice_updates_the_report(alice: User) -> None:
    told = make_answer(alice)
    first = make_report(alice, told, "incorrect", "Wrong.")
    second = make_report(alice, told, "harmful", "Worse.")
    assert first.pk == second.pk
    assert Report.objects.get().comment == "Worse."
    assert ReviewCase.objects.get().category == "harmful"
    assert [event.kind for event in ReviewEvent.objects.order_by("sequence")] == ["filed", "updated"]


def test_a_new_report_reopens_a_closed_case(alice: User) -> None:
    told = make_answer(alice)
    first = make_report(alice, told)
    decide(first.case, make_staff("lead", *LEAD))
    first.case.refresh_from_db()
    assert first.case.status == "dismissed"
    second = make_report(alice, told, "harmful")
    assert second.pk != first.pk
    case = ReviewCase.objects.get()
    assert (case.status, case.closed_at) == ("open", None)
    assert case.reopened_at is not None
    assert ReviewEvent.objects.filter(kind="reopened").count() == 1


def test_a_report_about_the_application(alice: User) -> None:
    filed = reports.report_application(
        reporter=alice, category="technical", comment="It is slow.", page="/c/", now=timezone.now()
    )
    assert (filed.case.message, filed.case.subject) == (None, None)
    assert filed.snapshot.content["page"] == "/c/"


def test_invalid_reports_are_refused(alice: User, charlie: User) -> None:
    told = make_answer(alice)
    with pytest.raises(Refused, match="Answer not found"):
        make_report(charlie, told)
    assert told.parent is not None
    with pytest.raises(Refused, match="Answer not found"):
        make_report(alice, told.parent)
    with pytest.raises(Refused, match="few words"):
        make_report(alice, told, "other", "   ")
    with pytest.raises(Refused, match="Choose"):
        make_report(alice, told, "nonsense")
    writing = make_turn(alice)
    with pytest.raises(Refused, match="still being written"):
        make_report(alice, writing.generation.message)
    assert not Report.objects.exists()
    assert not ReviewCase.objects.exists()


def test_reports_per_hour_are_limited(alice: User, settings: LazySettings) -> None:
    settings.REPORTS_PER_HOUR = 2
    now = timezone.now()
    told = [make_answer(alice) for _ in range(3)]
    make_report(alice, told[0], now=now)
    make_report(alice, told[1], now=now)
    with pytest.raises(Refused, match="2 reports in the last hour"):
        make_report(alice, told[2], now=now)
    # Updating an existing report doesn't count as a new one.
    make_report(alice, told[1], "harmful", now=now)
    make_report(alice, told[2], now=now + HOUR + dt.timedelta(seconds=1))


# --- Appeals and questions ---


def test_an_appeal_reopens_the_case_and_can_overturn_the_decision(alice: User) -> None:
    filed = make_report(alice, make_answer(alice))
    staff = make_staff("lead", *LEAD)
    decide(filed.case, staff)
    appealed = reports.appeal(reporter=alice, report=filed.uuid, text="Look again.", now=timezone.now())
    assert (appealed.appeal_status, appealed.case.status) == ("pending", "open")
    decide(filed.case, staff, "upheld")
    filed.refresh_from_db()
    assert (filed.status, filed.appeal_status) == ("upheld", "granted")
    decided = ReviewEvent.objects.filter(kind="decided").order_by("sequence")
    assert [event.is_overturn for event in decided] == [False, True]


def test_a_denied_appeal_is_final(alice: User) -> None:
    filed = make_report(alice, make_answer(alice))
    staff = make_staff("lead", *LEAD)
    decide(filed.case, staff)
    reports.appeal(reporter=alice, report=filed.uuid, text="Look again.", now=timezone.now())
    decide(filed.case, staff)
    filed.refresh_from_db()
    assert (filed.status, filed.appeal_status) == ("not_upheld", "denied")
    with pytest.raises(Refused, match="only once"):
        reports.appeal(reporter=alice, report=filed.uuid, text="Again.", now=timezone.now())


def test_invalid_and_late_appeals_are_refused(alice: User, charlie: User, settings: LazySettings) -> None:
    settings.APPEAL_DAYS = 20
    now = timezone.now()
    filed = make_report(alice, make_answer(alice), now=now)
    with pytest.raises(Refused, match="no decision that you can appeal"):
        reports.appeal(reporter=alice, report=filed.uuid, text="Hm.", now=now)
    decide(filed.case, make_staff("lead", *LEAD), now=now)
    with pytest.raises(Refused, match="Report not found"):
        reports.appeal(reporter=charlie, report=filed.uuid, text="Mine.", now=now)
    with pytest.raises(Refused, match="few words"):
        reports.appeal(reporter=alice, report=filed.uuid, text=" ", now=now)
    with pytest.raises(Refused, match="deadline"):
        reports.appeal(reporter=alice, report=filed.uuid, text="Late.", now=now + dt.timedelta(days=21))
    reports.appeal(reporter=alice, report=filed.uuid, text="In time.", now=now + dt.timedelta(days=19))


def test_a_reporter_answers_a_question_from_staff(
    alice: User, charlie: User, django_capture_on_commit_callbacks: object
) -> None:
    alice.email = "alice@example.org"
    alice.save()
    filed = make_report(alice, make_answer(alice))
    staff = make_staff("reviewer", *LEAD)
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        reviewing.ask_reporter(
            staff=staff,
            case=filed.case.uuid,
            version=None,
            report=filed.uuid,
            question="Which part?",
            now=timezone.now(),
        )
    assert [message.to for message in mail.outbox] == [["alice@example.org"]]
    with pytest.raises(Refused, match="Report not found"):
        reports.answer_question(reporter=charlie, report=filed.uuid, text="This.", now=timezone.now())
    reports.answer_question(reporter=alice, report=filed.uuid, text="The end.", now=timezone.now())
    filed.refresh_from_db()
    assert (filed.question, filed.clarification) == ("Which part?", "The end.")
    with pytest.raises(Refused, match="no open question"):
        reports.answer_question(reporter=alice, report=filed.uuid, text="More.", now=timezone.now())


# --- Legal hold ---


def test_a_conversation_with_an_open_case_is_kept(alice: User) -> None:
    told = make_answer(alice)
    filed = make_report(alice, told)
    assert not delete_conversation(user=alice, conversation=told.conversation.uuid, now=timezone.now())
    assert not Conversation.objects.visible_to(alice).exists()
    assert Message.objects.filter(pk=told.pk).exists()
    with pytest.raises(ProtectedError), transaction.atomic():
        alice.delete()
    decide(filed.case, make_staff("lead", *LEAD), "upheld")
    assert not Conversation.objects.exists()
    alice.delete()
    kept = Report.objects.get()
    assert (kept.reporter, kept.case.subject, kept.status) == (None, None, "upheld")
    assert kept.pseudonym


def held_and_open() -> tuple[set[int], set[int]]:
    """Return the IDs of the conversations that are held, and of those with an open case."""
    held = Conversation.objects.filter(is_held=True).values_list("pk", flat=True)
    cases = [case for case in ReviewCase.objects.select_related("message") if case.is_open and case.message]
    return set(held), {case.message.conversation_id for case in cases if case.message}


def test_a_conversation_is_held_while_it_has_an_open_case(alice: User) -> None:
    staff, now = make_staff("lead", *LEAD), timezone.now()
    first = make_answer(alice)
    second = make_answer(alice, conversation=first.conversation.uuid)
    other = make_answer(alice)
    states = []

    def look() -> None:
        held, about = held_and_open()
        assert held == about
        states.append(len(held))

    look()
    reports_of = [make_report(alice, told, now=now) for told in (first, second)]
    look()
    decide(reports_of[0].case, staff, "dismissed")
    # The case about the other answer in the same conversation is still open.
    look()
    decide(reports_of[1].case, staff, "upheld")
    look()
    reports.appeal(reporter=alice, report=reports_of[0].uuid, text="Look again.", now=timezone.now())
    look()
    decide(reports_of[0].case, staff, "dismissed")
    look()
    again = make_report(alice, first)
    make_report(alice, other)
    look()
    delete_conversation(user=alice, conversation=first.conversation.uuid, now=now)
    decide(again.case, staff, "upheld")
    look()
    assert states == [0, 1, 1, 0, 1, 0, 2, 1]
    assert set(Conversation.objects.all()) == {other.conversation}


def test_the_hold_is_read_from_the_conversation_row(alice: User) -> None:
    told = make_answer(alice)
    make_report(alice, told)
    with CaptureQueriesContext(connection) as queries:
        assert not delete_conversation(user=alice, conversation=told.conversation.uuid, now=timezone.now())
    assert queries.captured_queries
    assert not [query for query in queries.captured_queries if "review" in query["sql"]]


def test_a_conversation_without_a_case_is_deleted_immediately(alice: User) -> None:
    told = make_answer(alice)
    assert delete_conversation(user=alice, conversation=told.conversation.uuid, now=timezone.now())
    assert not Conversation.objects.exists()


# --- Concurrency ---


@pytest.mark.django_db(transaction=True)
def test_twenty_concurrent_reports_by_one_person_make_one_report(alice: User) -> None:
    told = make_answer(alice)

    def file(_number: int) -> int:
        try:
            return make_report(alice, told).pk
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        filed = set(pool.map(file, range(20)))
    assert len(filed) == 1
    assert Report.objects.count() == ReviewCase.objects.count() == 1
    assert not Generation.objects.active().exists()
