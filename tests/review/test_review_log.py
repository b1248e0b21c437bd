"""The review log: the chain of digests, and detection of tampering in the database."""

import datetime as dt
import json
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.common.refusals import Refused
from conversations.review.models import AppendOnly, Report, ReviewCase, ReviewEvent, ReviewLogHead, Snapshot
from conversations.review.services import decisions, review_log, reviewing, snapshots
from tests.factories import LEAD, make_answer, make_report, make_staff

pytestmark = pytest.mark.django_db

TABLE = "review_reviewevent"


@pytest.fixture
def lead(db: None) -> User:
    return make_staff("lead", *LEAD)


@pytest.fixture
def case(alice: User, charlie: User, lead: User, model: ChatModel) -> ReviewCase:
    """Return a case after six events have been logged, one of them about another case."""
    now = timezone.now()
    message = make_answer(alice)
    filed = make_report(alice, message, comment="It is wrong.")
    make_report(alice, message, comment="It is very wrong.")
    make_report(charlie, make_answer(charlie), comment="Bad.")
    reviewing.note(staff=lead, case=filed.case.uuid, text="Look into it.", now=now)
    decision = decisions.Decision("upheld", "It is.", reply="Thanks.")
    decisions.decide(staff=lead, case=filed.case.uuid, version=None, decision=decision, now=now)
    assert [fault.problem for fault in review_log.verify().faults] == []
    assert list(ReviewEvent.objects.order_by("sequence").values_list("kind", flat=True)) == [
        "filed",
        "updated",
        "filed",
        "noted",
        "claimed",
        "decided",
    ]
    return filed.case


def execute(sql: str, *values: Any) -> None:
    """Change the database directly, bypassing the application."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        assert cursor.rowcount > 0


def faulty() -> set[int]:
    return {fault.sequence for fault in review_log.verify().faults}


# --- Writing ---


def test_each_event_includes_the_previous_digest(case: ReviewCase) -> None:
    events = list(ReviewEvent.objects.order_by("sequence"))
    assert [event.sequence for event in events] == list(range(1, 7))
    assert [event.previous_digest for event in events] == ["", *(event.digest for event in events[:-1])]
    head = ReviewLogHead.objects.get()
    assert (head.sequence, head.digest) == (6, events[-1].digest)
    assert (review_log.verify().events, review_log.verify().digest) == (6, events[-1].digest)


def test_events_cannot_be_changed_or_deleted(case: ReviewCase) -> None:
    event = ReviewEvent.objects.order_by("sequence")[3]
    event.text = "Something else."
    for change in (
        event.save,
        event.delete,
        lambda: ReviewEvent.objects.filter(pk=event.pk).update(text="Else."),
        lambda: ReviewEvent.objects.filter(pk=event.pk).delete(),
        lambda: ReviewEvent.objects.bulk_update([event], ["text"]),
    ):
        with pytest.raises(AppendOnly), transaction.atomic():
            change()
    assert faulty() == set()


def test_a_failed_transaction_leaves_no_event(case: ReviewCase, lead: User) -> None:
    with pytest.raises(Refused):
        reviewing.claim(staff=lead, case=case.uuid, version=None, now=timezone.now())
    assert ReviewEvent.objects.count() == 6
    assert faulty() == set()


def test_the_log_survives_the_deletion_of_an_actor(case: ReviewCase, lead: User) -> None:
    lead.delete()
    assert faulty() == set()
    event = ReviewEvent.objects.get(kind="decided")
    assert (event.actor, event.actor_name) == (None, "lead")


# --- Tampering ---

OTHER_DIGEST = "0" * 64
CHANGES: dict[str, Any] = {
    "sequence": 99,
    "case_id": None,
    "report_id": None,
    "kind": "updated",
    "actor_uuid": "0" * 32,
    "actor_name": "somebody",
    "outcome": "dismissed",
    "is_overturn": True,
    "text": "It is not.",
    "details": json.dumps({"by": "somebody"}),
    "at": dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    "previous_digest": OTHER_DIGEST,
    "digest": OTHER_DIGEST,
}


def test_every_field_is_covered() -> None:
    names = {field.column for field in ReviewEvent._meta.concrete_fields}
    assert set(CHANGES) == names - {"id", "actor_id"}


@pytest.mark.parametrize("column", CHANGES)
def test_a_changed_field_is_detected(case: ReviewCase, column: str) -> None:
    for event in list(ReviewEvent.objects.order_by("sequence")):
        if column == "outcome" and event.kind != "decided":
            continue  # A database constraint prevents this change.
        if column == "kind" and event.kind in {"updated", "decided"}:
            continue
        value = CHANGES[column]
        if value is None and getattr(event, column) is None:
            value = case.pk if column == "case_id" else Report.objects.earliest("pk").pk
        before = getattr(event, column)
        if column == "details":
            before = json.dumps(before)
        elif column == "actor_uuid" and before is not None:
            before = before if connection.vendor == "postgresql" else before.hex
        execute(f"UPDATE {TABLE} SET {column} = %s WHERE id = %s", value, event.pk)
        assert faulty(), f"{column} of {event.kind}"
        execute(f"UPDATE {TABLE} SET {column} = %s WHERE id = %s", before, event.pk)
        assert faulty() == set()


def test_an_event_attributed_to_someone_else_is_detected(case: ReviewCase) -> None:
    colleague = make_staff("colleague", *LEAD)
    for event in ReviewEvent.objects.all():
        execute(f"UPDATE {TABLE} SET actor_id = %s WHERE id = %s", colleague.pk, event.pk)
        assert faulty() == {event.sequence}
        execute(f"UPDATE {TABLE} SET actor_id = %s WHERE id = %s", event.actor_id, event.pk)


@pytest.mark.parametrize("sequence", [1, 3, 6])
def test_a_deleted_event_is_detected(case: ReviewCase, sequence: int) -> None:
    execute(f"DELETE FROM {TABLE} WHERE sequence = %s", sequence)
    assert faulty()


def test_deletion_of_the_whole_log_is_detected(case: ReviewCase) -> None:
    execute(f"DELETE FROM {TABLE}")
    assert faulty()


def test_swapped_events_are_detected(case: ReviewCase) -> None:
    for sequence, to in ((2, 99), (3, 2), (99, 3)):
        execute(f"UPDATE {TABLE} SET sequence = %s WHERE sequence = %s", to, sequence)
    assert {2, 3, 4} <= faulty()


def test_an_inserted_event_is_detected(case: ReviewCase, lead: User) -> None:
    last = ReviewEvent.objects.latest("sequence")
    slipped_in = ReviewEvent(
        sequence=7,
        kind="noted",
        actor=lead,
        actor_uuid=lead.uuid,
        actor_name="lead",
        text="Slipped in.",
        at=timezone.now(),
        previous_digest=last.digest,
    )
    # Without knowing the key, an attacker has to compute the digest with a guess.
    slipped_in.digest = review_log._digest(slipped_in, key="a guess")
    slipped_in.save(force_insert=True)
    assert faulty() == {7}
    execute("UPDATE review_reviewloghead SET sequence = 7, digest = %s", slipped_in.digest)
    assert faulty() == {7}


@pytest.mark.parametrize(("sequence", "digest"), [(6, OTHER_DIGEST), (5, None), (7, None), (0, "")])
def test_a_changed_head_is_detected(case: ReviewCase, sequence: int, digest: str | None) -> None:
    digest = ReviewLogHead.objects.get().digest if digest is None else digest
    execute("UPDATE review_reviewloghead SET sequence = %s, digest = %s", sequence, digest)
    assert faulty()


def test_a_changed_snapshot_is_detected(case: ReviewCase) -> None:
    kept = case.snapshots.get()
    content = {**kept.content, "messages": []}
    Snapshot.objects.filter(pk=kept.pk).update(content=content)
    assert faulty() == {1, 2}
    # Even with a matching digest, it no longer is the snapshot named in the log.
    Snapshot.objects.filter(pk=kept.pk).update(digest=snapshots.digest_of(content))
    assert faulty() == {1, 2}


def test_a_report_with_a_different_snapshot_is_detected(case: ReviewCase) -> None:
    other = Snapshot.objects.create(case=case, digest=OTHER_DIGEST, content={}, created_at=timezone.now())
    Report.objects.filter(case=case).update(snapshot=other)
    assert faulty() == {2}


def test_an_event_added_during_verification_is_not_a_fault(case: ReviewCase, lead: User) -> None:
    added: list[str] = []

    def add_one(run: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        result = run(sql, parameters, many, context)
        if not added and sql.startswith(("SELECT", "DECLARE")) and TABLE in sql:
            added.append(sql)
            reviewing.note(staff=lead, case=case.uuid, text="Meanwhile.", now=timezone.now())
        return result

    with connection.execute_wrapper(add_one):
        assert faulty() == set()
    assert added


# --- The command ---


def verify_by_command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[str], bool]:
    """Run the command, and return the lines it printed and whether it found the log intact."""
    try:
        call_command("verify_review_log", *arguments)
    except CommandError as error:
        assert error.returncode == 1
        return capsys.readouterr().out.splitlines(), False
    return capsys.readouterr().out.splitlines(), True


def test_the_command_prints_the_end_of_an_intact_log(
    case: ReviewCase, lead: User, capsys: pytest.CaptureFixture[str]
) -> None:
    head = ReviewLogHead.objects.get()
    lines, is_whole = verify_by_command(capsys)
    assert (lines, is_whole) == ([f"6:{head.digest}"], True)
    reviewing.note(staff=lead, case=case.uuid, text="More.", now=timezone.now())
    lines, is_whole = verify_by_command(capsys, f"--expect={lines[-1]}")
    assert is_whole
    assert lines[0].startswith("7:")


def test_an_empty_log_is_intact(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    lines, is_whole = verify_by_command(capsys)
    assert (lines, is_whole) == (["0:"], True)
    assert verify_by_command(capsys, "--expect", "0:")[1]


def test_the_command_prints_each_fault(case: ReviewCase, capsys: pytest.CaptureFixture[str]) -> None:
    execute(f"UPDATE {TABLE} SET text = 'Else.' WHERE sequence IN (2, 4)")
    lines, is_whole = verify_by_command(capsys)
    assert lines[:-1] == ["2: was changed", "4: was changed"]
    assert lines[-1].startswith("6:")
    assert not is_whole


def test_a_truncated_log_with_a_forged_head_is_detected_by_an_earlier_end(
    case: ReviewCase, lead: User, capsys: pytest.CaptureFixture[str]
) -> None:
    [noted], _is_whole = verify_by_command(capsys)
    execute(f"DELETE FROM {TABLE} WHERE sequence > 4")
    digest = ReviewEvent.objects.get(sequence=4).digest
    execute("UPDATE review_reviewloghead SET sequence = 4, digest = %s", digest)
    # On its own, this is a valid log of four events.
    assert verify_by_command(capsys)[1]
    lines, is_whole = verify_by_command(capsys, f"--expect={noted}")
    assert not is_whole
    assert lines[0] == "6: the last event of the earlier verification is missing"
    # The gap is still detected after the log has grown past that number again.
    for _number in range(3):
        reviewing.note(staff=lead, case=case.uuid, text="More.", now=timezone.now())
    assert verify_by_command(capsys)[1]
    assert not verify_by_command(capsys, f"--expect={noted}")[1]


@pytest.mark.parametrize("written", ["", "6", "6:abc", ":" + "0" * 64, "0:" + "0" * 64, "-1:" + "0" * 64])
def test_an_invalid_expected_end_is_refused(db: None, written: str) -> None:
    with pytest.raises(CommandError, match="NUMBER:DIGEST"):
        call_command("verify_review_log", f"--expect={written}")


def test_events_written_with_a_fallback_key_are_valid(
    case: ReviewCase, lead: User, settings: LazySettings
) -> None:
    old, settings.SECRET_KEY = (
        settings.SECRET_KEY,
        "a new key that is long enough to satisfy every check of django",
    )
    settings.SECRET_KEY_FALLBACKS = [old]
    reviewing.note(staff=lead, case=case.uuid, text="With the new key.", now=timezone.now())
    assert faulty() == set()
    settings.SECRET_KEY_FALLBACKS = []
    assert faulty() == {1, 2, 3, 4, 5, 6}
