"""Append events to the review log, and verify that no one has tampered with it.

Each event stores an HMAC-SHA256 of its own fields and the previous event's digest, keyed with SECRET_KEY. Someone who can
write to the database but doesn't know the key can't forge a digest. Changing, inserting or deleting an event breaks the
chain. If events are removed from the end, the log no longer ends where its head or an earlier verification says.
"""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.crypto import constant_time_compare, salted_hmac

from conversations.accounts.models import User
from conversations.review.models import Report, ReviewCase, ReviewEvent, ReviewLogHead, Snapshot

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
    """Append an event to the log, in the same transaction as the change it records.

    `details` must be serialisable as JSON. Call this last: it locks the end of the log until the transaction ends.
    """
    # A database that was flushed no longer has the row.
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
    """A problem found in the log, and the sequence number of the event it concerns."""

    sequence: int
    problem: str


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of verifying the log: the number and digest of its last event, and any faults."""

    events: int
    digest: str
    faults: list[Fault]


def verify(*, expected: tuple[int, str] | None = None) -> Verification:
    """Verify the whole log and the snapshots it refers to.

    `expected` is the last number and digest from an earlier verification. If they are no longer in the log, its end was
    removed and its head forged.
    """
    faults: list[Fault] = []
    # Read the head first, because events may be appended while the log is being read.
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
        faults.append(Fault(number, f"the log should end with event {ended[0]}"))
    if not seen_expected and expected is not None:
        faults.append(Fault(expected[0], "the last event of the earlier verification is missing"))
    faults.extend(_faults_of_snapshots())
    return Verification(number, previous, faults)


def _faults_of(event: ReviewEvent, *, number: int, previous: str) -> Iterator[Fault]:
    if event.sequence != number + 1:
        missing = event.sequence - number - 1
        yield Fault(event.sequence, f"events missing before this one: {missing}")
    elif event.previous_digest != previous:
        yield Fault(event.sequence, "does not continue the chain from the previous event")
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    if not any(constant_time_compare(event.digest, _digest(event, key=key)) for key in keys):
        yield Fault(event.sequence, "was changed")
    elif event.actor is not None and event.actor.uuid != event.actor_uuid:
        yield Fault(event.sequence, "was attributed to someone else")


def _faults_of_snapshots() -> Iterator[Fault]:
    """Yield a fault for each event whose report no longer has the snapshot it was filed with."""
    filed = (
        ReviewEvent.objects.filter(kind__in=[ReviewEvent.Kind.FILED, ReviewEvent.Kind.UPDATED])
        .order_by("sequence")
        .values_list("sequence", "case_id", "report_id", "report__snapshot__digest", "details")
    )
    exchanged: dict[int | None, int] = {}
    for sequence, case_id, report_id, digest, details in filed.iterator(_AT_ONCE):
        wanted = details.get("snapshot", "")
        # Updating a report may give it a new snapshot, so only the last one counts.
        exchanged.pop(report_id, None)
        if digest != wanted:
            exchanged[report_id] = sequence
        kept = Snapshot.objects.filter(case=case_id, digest=wanted).values_list("content", flat=True)
        if not any(digest_of(content) == wanted for content in kept):
            yield Fault(sequence, "its snapshot was changed or deleted")
    for sequence in exchanged.values():
        yield Fault(sequence, "its report now has a different snapshot")
