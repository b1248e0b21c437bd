"""Review cases as such: opening one, locking one, and bringing one up to date after anything happened to it."""

import datetime as dt
from collections.abc import Iterable

from django.db import transaction
from django.db.models import Count, F, Q
from django.utils.crypto import salted_hmac

from conversations import review
from conversations.generation import doorbell
from conversations.models import Conversation, Message, Report, ReviewCase, ReviewEvent, User

from . import review_log
from .codes import LETTERS, make_code


def pseudonym_of(user: User) -> str:
    """Return the name under which staff see this reporter: always the same, and no way back to the person."""
    number = int(salted_hmac("conversations.reporter", str(user.uuid), algorithm="sha256").hexdigest(), 16)
    letters = []
    for _place in range(6):
        number, index = divmod(number, len(LETTERS))
        letters.append(LETTERS[index])
    return "".join(letters)


def new_reference() -> str:
    """Return a reference number that no report has yet, such as P-7KQ2-M4XD."""
    while True:
        letters = make_code(8)
        reference = f"P-{letters[:4]}-{letters[4:]}"
        if not Report.objects.filter(reference=reference).exists():
            return reference


def case_of_answer(message: Message, *, category: str, now: dt.datetime) -> ReviewCase:
    """Return the case of this answer, locked; there is one after this call."""
    ReviewCase.objects.get_or_create(
        message=message,
        defaults=_beginning(category=category, subject=message.conversation.owner, now=now),
    )
    return ReviewCase.objects.select_for_update(of=("self",)).get(message=message)


def case_of_application(*, category: str, now: dt.datetime) -> ReviewCase:
    """Return a new case about the application itself."""
    return ReviewCase.objects.create(**_beginning(category=category, subject=None, now=now))


def _beginning(*, category: str, subject: User | None, now: dt.datetime) -> dict[str, object]:
    # One report is on its way: a case without any to decide would be closed.
    return {
        "subject": subject,
        "category": category,
        "opened_at": now,
        "sorts_at": now,
        "reports_pending": 1,
        "reporters": 1,
    }


def bring_up_to_date(case: ReviewCase, *, now: dt.datetime, actor: User | None) -> None:
    """Compute everything about a locked case that follows from its reports, and raise its version.

    Notes in the log where it reopens. Where it closes, what its owners deleted meanwhile is deleted for good.
    """
    was_open = case.is_open
    reports = list(case.reports.all())
    waiting = [
        r for r in reports if r.status == Report.Status.PENDING or r.appeal_status == Report.Appeal.PENDING
    ]
    case.reports_pending = len(waiting)
    case.reporters = len({report.pseudonym for report in reports})
    if waiting:
        case.category = review.gravest(report.category for report in waiting)
        case.points = review.points_of(
            category=case.category,
            reporters=case.reporters,
            records=_records({report.pseudonym for report in waiting}),
        )
    if case.claim_expires_at is not None and case.claim_expires_at <= now:
        case.claimed_by, case.claim_expires_at = None, None
    if not waiting:
        case.claimed_by, case.claim_expires_at, case.is_escalated = None, None, False
    case.status = review.status_of(
        pending=len(waiting),
        is_escalated=case.is_escalated,
        is_claimed=case.claimed_by is not None,
        any_upheld=any(report.status == Report.Status.UPHELD for report in reports),
    )
    if case.is_open and not was_open:
        case.reopened_at, case.closed_at, case.reminded_at = now, None, None
    elif was_open and not case.is_open:
        case.closed_at = now
    case.sorts_at = review.place_in_queue(
        waiting_since=case.reopened_at or case.opened_at, points=case.points
    )
    case.version += 1
    case.save()
    if case.is_open and not was_open:
        review_log.append(kind=ReviewEvent.Kind.REOPENED, now=now, actor=actor, case=case)
    if was_open and not case.is_open:
        _delete_what_was_held(case)


def _records(pseudonyms: Iterable[str]) -> list[review.Record]:
    """Return how the earlier reports of these reporters were decided."""
    decided = (
        Report.objects.filter(pseudonym__in=pseudonyms)
        .exclude(status=Report.Status.PENDING)
        .values("pseudonym")
        .annotate(decided=Count("pk"), upheld=Count("pk", filter=Q(status=Report.Status.UPHELD)))
    )
    return [review.Record(row["decided"], row["upheld"]) for row in decided]


def is_held(conversation: Conversation) -> bool:
    """Whether a case that is open keeps this conversation from being deleted."""
    return ReviewCase.objects.open().filter(message__conversation=conversation).exists()


def _delete_what_was_held(case: ReviewCase) -> None:
    if case.message is None:
        return
    conversation = case.message.conversation
    if conversation.deletion_requested_at is not None and not is_held(conversation):
        conversation.delete()
        case.message = None


def show_change(message: Message) -> None:
    """Count a change of what is shown of a locked conversation's message, so that open pages bring it up to date."""
    Conversation.objects.filter(pk=message.conversation_id).update(revision=F("revision") + 1)
    message.revision = Conversation.objects.values_list("revision", flat=True).get(pk=message.conversation_id)
    message.save(update_fields=["hidden_at", "vetted_text", "revision"])
    conversation_id = message.conversation_id
    transaction.on_commit(lambda: doorbell.ring(conversation_id))
