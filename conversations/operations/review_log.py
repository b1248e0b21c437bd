"""The review log: adding to it, and proving that nothing in it was changed.

Each event carries an HMAC-SHA256 over its own fields and over the digest of the event before, keyed by SECRET_KEY. Whoever
can write to the database but does not know the key can't make up a digest; a changed, inserted or deleted event breaks the
chain; and a log that was cut off at its end no longer ends where the head says, or where an earlier verification saw it.
"""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.crypto import constant_time_compare, salted_hmac

from conversations.models import Report, ReviewCase, ReviewEvent, ReviewLogHead, Snapshot, User

from .snapshots import digest_of

_SALT = "conversations.review_log"
_AT_ONCE = 1_000


@transaction.atomic
def append(
    *,
    kind: ReviewEvent.Kind,
    now: dt.datetime,
    actor: User | None,
    case: ReviewCase | None = None,
    report: Report | None = None,
    outcome: str = "",
    is_overturn: bool = False,
    text: str = "",
    details: dict[str, Any] | None = None,
) -> ReviewEvent:
    """Add an event at the end of the log, in the transaction of what it tells of.

    `details` holds what JSON can: texts, numbers, lists. Locks the end of the log until the transaction is over, so this
    comes last in it.
    """
    # Made by a migration; a database that was emptied since gets it again.
    ReviewLogHead.objects.get_or_create(pk=1)
    head = ReviewLogHead.objects.select_for_update().get(pk=1)
    event = ReviewEvent(
        sequence=head.sequence + 1,
        case=case,
        report=report,
        kind=kind,
        actor=actor,
        actor_uuid=actor.uuid if actor else None,
        actor_name=actor.get_username() if actor else "",
        outcome=outcome,
        is_overturn=is_overturn,
        text=text,
        details=details or {},
        at=now,
        previous_digest=head.digest,
    )
    event.digest = _digest(event, key=settings.SECRET_KEY)
    event.save(force_insert=True)
    head.sequence, head.digest = event.sequence, event.digest
    head.save(update_fields=["sequence", "digest"])
    return event


def _digest(event: ReviewEvent, *, key: str) -> str:
    fields = [
        event.sequence,
        event.case_id,
        event.report_id,
        event.kind,
        str(event.actor_uuid or ""),
        event.actor_name,
        event.outcome,
        event.is_overturn,
        event.text,
        event.details,
        event.at.astimezone(dt.UTC).isoformat(timespec="microseconds"),
        event.previous_digest,
    ]
    written = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return salted_hmac(_SALT, written, secret=key, algorithm="sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Fault:
    """Where the log is not what was written, and in which way."""

    sequence: int
    problem: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of the events and what they point to."""

    events: int
    digest: str
    faults: list[Fault]


def verify(*, expected: tuple[int, str] | None = None) -> Verification:
    """Walk the whole log and return every fault in it.

    `expected` is the number and the digest that an earlier verification ended with: a log that was cut off and given
    another head since does not hold them any more.
    """
    faults: list[Fault] = []
    # Read before the events: while they are read, more may be added behind this end.
    head = ReviewLogHead.objects.filter(pk=1).first()
    ended = (head.sequence, head.digest) if head else (0, "")
    seen_end = ended == (0, "")
    previous, number = "", 0
    seen_expected = expected is None or expected[0] == 0
    for event in ReviewEvent.objects.order_by("sequence").select_related("actor").iterator(_AT_ONCE):
        faults.extend(_faults_of(event, number=number, previous=previous))
        previous, number = event.digest, event.sequence
        seen_end = seen_end or ended == (number, previous)
        if expected is not None and event.sequence == expected[0]:
            seen_expected = constant_time_compare(event.digest, expected[1])
    last = ReviewLogHead.objects.filter(pk=1).values_list("sequence", flat=True).first() or 0
    if not seen_end or number > last:
        faults.append(Fault(number, f"the log should end with number {ended[0]}"))
    if not seen_expected and expected is not None:
        faults.append(Fault(expected[0], "the event that an earlier verification ended with is not there"))
    faults.extend(_faults_of_snapshots())
    return Verification(number, previous, faults)


def _faults_of(event: ReviewEvent, *, number: int, previous: str) -> Iterator[Fault]:
    if event.sequence != number + 1:
        missing = event.sequence - number - 1
        yield Fault(event.sequence, f"{missing} events before it are missing")
    elif event.previous_digest != previous:
        yield Fault(event.sequence, "it does not follow the event before it")
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    if not any(constant_time_compare(event.digest, _digest(event, key=key)) for key in keys):
        yield Fault(event.sequence, "it was changed")
    elif event.actor is not None and event.actor.uuid != event.actor_uuid:
        yield Fault(event.sequence, "it was given to somebody else")


def _faults_of_snapshots() -> Iterator[Fault]:
    """Yield the events whose report no longer has the snapshot it was filed with."""
    filed = (
        ReviewEvent.objects.filter(kind__in=[ReviewEvent.Kind.FILED, ReviewEvent.Kind.UPDATED])
        .order_by("sequence")
        .values_list("sequence", "case_id", "report_id", "report__snapshot__digest", "details")
    )
    exchanged: dict[int | None, int] = {}
    for sequence, case_id, report_id, digest, details in filed.iterator(_AT_ONCE):
        wanted = details.get("snapshot", "")
        # A later version of the report may come with another one: what counts is the last.
        exchanged.pop(report_id, None)
        if digest != wanted:
            exchanged[report_id] = sequence
        kept = Snapshot.objects.filter(case=case_id, digest=wanted).values_list("content", flat=True)
        if not any(digest_of(content) == wanted for content in kept):
            yield Fault(sequence, "the snapshot that it names was changed or is gone")
    for sequence in exchanged.values():
        yield Fault(sequence, "its report has another snapshot now")
