"""Open and lock review cases, and recompute them after a change."""

import datetime as dt
from collections.abc import Iterable

from django.db import transaction
from django.db.models import Count, F, Q
from django.utils.crypto import salted_hmac

from conversations.accounts.models import User
from conversations.chat.generation import changes
from conversations.chat.models import Conversation, Message
from conversations.chat.services import conversations
from conversations.common.codes import LETTERS, make_code
from conversations.review import rules
from conversations.review.models import Report, ReviewCase, ReviewEvent

from . import review_log


def pseudonym_of(user: User) -> str:
    """Return the pseudonym under which staff see this reporter. It never changes and can't be traced to the person."""
    number = int(salted_hmac("conversations.reporter", str(user.uuid), algorithm="sha256").hexdigest(), 16)
    letters = []
    for _digit in range(6):
        number, index = divmod(number, len(LETTERS))
        letters.append(LETTERS[index])
    return "".join(letters)


def new_reference() -> str:
    """Return an unused reference number, such as P-7KQ2-M4XD."""
    while True:
        letters = make_code(8)
        reference = f"P-{letters[:4]}-{letters[4:]}"
        if not Report.objects.filter(reference=reference).exists():
            return reference


def case_of_answer(message: Message, *, category: str, now: dt.datetime) -> ReviewCase:
    """Lock and return the case for this answer, creating it if necessary."""
    ReviewCase.objects.get_or_create(
        message=message,
        defaults=_initial_values(category=category, subject=message.conversation.owner, now=now),
    )
    return ReviewCase.objects.select_for_update(of=("self",)).get(message=message)


def case_of_application(*, category: str, now: dt.datetime) -> ReviewCase:
    """Create and return a case about the application itself."""
    return ReviewCase.objects.create(**_initial_values(category=category, subject=None, now=now))


def _initial_values(*, category: str, subject: User | None, now: dt.datetime) -> dict[str, object]:
    # Count the report that is about to be filed, because an open case must have at least one.
    return {
        "subject": subject,
        "category": category,
        "opened_at": now,
        "queue_key": now,
        "reports_pending": 1,
        "reporters": 1,
    }


def recompute(case: ReviewCase, *, now: dt.datetime, actor: User | None) -> None:
    """Recompute a locked case from its reports, and increment its version.

    Logs the case if it reopens. Holds the conversation while the case is open; when the last case closes, deletes the
    conversation for good if its owner has asked for that.
    """
    was_open = case.is_open
    reports = list(case.reports.all())
    waiting = [report for report in reports if report.is_waiting]
    case.reports_pending = len(waiting)
    case.reporters = len({report.pseudonym for report in reports})
    if waiting:
        case.category = rules.most_severe(report.category for report in waiting)
        case.points = rules.base_priority(
            category=case.category,
            reporters=case.reporters,
            records=_records({report.pseudonym for report in waiting}),
        )
    if case.has_lapsed_claim(now):
        case.drop_claim()
    if not waiting:
        case.drop_claim()
        case.is_escalated = False
    case.status = rules.status_of(
        pending=len(waiting),
        is_escalated=case.is_escalated,
        is_claimed=case.claimed_by is not None,
        any_upheld=any(report.status == Report.Status.UPHELD for report in reports),
    )
    if case.is_open and not was_open:
        case.reopened_at, case.closed_at, case.reminded_at = now, None, None
    elif was_open and not case.is_open:
        case.closed_at = now
    case.queue_key = rules.queue_key(waiting_since=case.waiting_since, points=case.points)
    case.version += 1
    case.save()
    if case.is_open and not was_open:
        review_log.append(kind=ReviewEvent.Kind.REOPENED, now=now, actor=actor, case=case)
    _hold_conversation(case)


def _records(pseudonyms: Iterable[str]) -> list[rules.Record]:
    """Return the track records of these reporters."""
    decided = (
        Report.objects.filter(pseudonym__in=pseudonyms)
        .decided()
        .values("pseudonym")
        .annotate(decided=Count("pk"), upheld=Count("pk", filter=Q(status=Report.Status.UPHELD)))
    )
    return [rules.Record(row["decided"], row["upheld"]) for row in decided]


def _hold_conversation(case: ReviewCase) -> None:
    """Hold the conversation while any of its cases is open, and release it otherwise. It must be locked already."""
    if case.message is None:
        return
    conversation_id = case.message.conversation_id
    if ReviewCase.objects.open().filter(message__conversation=conversation_id).exists():
        conversations.hold(conversation_id)
    elif conversations.release(conversation_id):
        case.message = None


def bump_revision(message: Message) -> None:
    """Save a change to how a message is shown and raise the revision, so that open pages update. Needs the lock."""
    Conversation.objects.filter(pk=message.conversation_id).update(revision=F("revision") + 1)
    message.revision = Conversation.objects.values_list("revision", flat=True).get(pk=message.conversation_id)
    message.save(update_fields=["hidden_at", "vetted_text", "revision"])
    conversation_id = message.conversation_id
    transaction.on_commit(lambda: changes.announce(conversation_id))
