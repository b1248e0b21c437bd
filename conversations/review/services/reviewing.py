"""What staff can do with a case besides deciding it: claim, note, assign, escalate, ask questions, reveal the reporter."""

import datetime as dt
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from conversations.accounts.models import User
from conversations.chat.models import Conversation, Generation
from conversations.common.refusals import Refused
from conversations.review import mails
from conversations.review.models import Report, ReviewCase, ReviewEvent

from . import cases, review_log


class StaleCase(Refused):
    """Raised if the case changed after the page was loaded. `case` is its current state."""

    def __init__(self, message: str | Promise, *, case: ReviewCase) -> None:
        super().__init__(message)
        self.case = case


_NO_REASON = gettext_lazy("Give a reason.")


def require(staff: User, permission: str) -> None:
    """Raise PermissionDenied unless the user is active staff with this permission (a codename of this app)."""
    if not (staff.is_active and staff.is_staff and staff.has_perm(f"review.{permission}")):
        raise PermissionDenied


def lease() -> dt.timedelta:
    """Return how long a claim lasts without activity."""
    return dt.timedelta(minutes=settings.REVIEW_LEASE_MINUTES)


def expire_claims(now: dt.datetime) -> int:
    """Put cases whose claim has lapsed back in the queue, and return how many there were."""
    count = 0
    expired = ReviewCase.objects.open().with_lapsed_claim(now)
    for pk in list(expired.values_list("pk", flat=True)):
        with transaction.atomic():
            case = ReviewCase.objects.select_for_update(of=("self",)).get(pk=pk)
            if case.has_lapsed_claim(now):
                cases.recompute(case, now=now, actor=None)
                count += 1
    return count


def lock_case(public_id: uuid.UUID, *, version: int | None) -> ReviewCase:
    """Lock and return a case. Raises StaleCase if its version isn't the one that the member of staff saw.

    First locks everything else that a decision may change, in the same order as the rest of the code: the reported user,
    active generations, the conversation, then the case. The end of the log comes last.
    """
    about = ReviewCase.objects.filter(uuid=public_id).values_list("subject", "message__conversation").first()
    if about is not None:
        subject_id, conversation_id = about
        list(User.objects.select_for_update().filter(pk=subject_id).values_list("pk"))
        active = Generation.objects.active().filter(conversation=conversation_id)
        list(active.select_for_update(of=("self",)).values_list("pk"))
        list(
            Conversation.objects.select_for_update(of=("self",)).filter(pk=conversation_id).values_list("pk")
        )
    case = (
        ReviewCase.objects.select_for_update(of=("self",))
        .select_related("claimed_by", "subject", "message__conversation")
        .filter(uuid=public_id)
        .first()
    )
    if case is None:
        raise Refused(_("Case not found."))
    if version is not None and case.version != version:
        raise StaleCase(_describe_change(case), case=case)
    return case


def _describe_change(case: ReviewCase) -> str:
    last = case.events.order_by("-sequence").first()
    if last is None:
        return _("This case has changed. Review it, then try again.")
    return _(
        "This case has changed: %(event)s by %(name)s. Your changes weren't saved. Review the case, then try again."
    ) % {"event": last.get_kind_display(), "name": last.actor_name or _("a reporter")}


def hold_claim(case: ReviewCase, *, staff: User, now: dt.datetime) -> None:
    """Claim a locked case for this member of staff, or extend their claim.

    Raises StaleCase if someone else is working on the case, or if it is closed.
    """
    if not case.is_open:
        raise StaleCase(_("This case is already closed."), case=case)
    if case.claimed_by is not None and case.is_claimed_by_another(staff, now):
        raise StaleCase(
            _("Until %(time)s, this case is claimed by %(name)s.")
            % {
                "name": case.claimed_by.get_username(),
                "time": _clock(case.claim_expires_at),
            },
            case=case,
        )
    is_new = case.claimed_by != staff
    case.claimed_by, case.claim_expires_at = staff, now + lease()
    if case.first_claimed_at is None:
        case.first_claimed_at = now
    if is_new:
        review_log.append(kind=ReviewEvent.Kind.CLAIMED, now=now, actor=staff, case=case)


def _clock(at: dt.datetime | None) -> str:
    return date_format(timezone.localtime(at), "TIME_FORMAT") if at else ""


@contextmanager
def working_on(
    public_id: uuid.UUID, *, staff: User, permission: str, version: int | None, now: dt.datetime
) -> Iterator[ReviewCase]:
    """Lock and claim a case for the body of the `with` statement, then recompute it, all in one transaction."""
    require(staff, permission)
    # Checking once without the lock lets most stale requests fail without waiting for it.
    seen = ReviewCase.objects.filter(uuid=public_id).first()
    if seen is not None and version is not None and seen.version != version:
        raise StaleCase(_describe_change(seen), case=seen)
    with transaction.atomic():
        case = lock_case(public_id, version=version)
        hold_claim(case, staff=staff, now=now)
        yield case
        cases.recompute(case, now=now, actor=staff)


def claim(*, staff: User, case: uuid.UUID, version: int | None, now: dt.datetime) -> ReviewCase:
    """Claim a case for REVIEW_LEASE_MINUTES. Raises Refused, StaleCase or PermissionDenied."""
    with working_on(case, staff=staff, permission="claim_reviewcase", version=version, now=now) as found:
        pass
    return found


def claim_next(*, staff: User, now: dt.datetime) -> ReviewCase | None:
    """Claim and return the highest-priority case that is unassigned or assigned to this user, or None if there is none."""
    require(staff, "claim_reviewcase")
    expire_claims(now)
    with transaction.atomic():
        free = ReviewCase.objects.open().filter(claimed_by__isnull=True, is_escalated=False)
        mine = free.filter(assignee=staff) | free.filter(assignee__isnull=True)
        found = mine.by_priority().select_for_update(of=("self",), skip_locked=True).first()
        if found is None:
            return None
        hold_claim(found, staff=staff, now=now)
        cases.recompute(found, now=now, actor=staff)
        return found


def extend_claim(*, staff: User, case: uuid.UUID, now: dt.datetime) -> dt.datetime | None:
    """Extend the user's own claim and return its new end, or None if the claim has lapsed."""
    require(staff, "claim_reviewcase")
    until = now + lease()
    mine = ReviewCase.objects.open().with_live_claim(now).filter(uuid=case, claimed_by=staff)
    # The version stays the same because forms don't show the end of a claim.
    return until if mine.update(claim_expires_at=until) else None


def release(*, staff: User, case: uuid.UUID, version: int | None, now: dt.datetime) -> ReviewCase:
    """Return a claimed case to the queue."""
    require(staff, "claim_reviewcase")
    with transaction.atomic():
        found = lock_case(case, version=version)
        if found.claimed_by != staff:
            raise StaleCase(_("You haven't claimed this case."), case=found)
        found.drop_claim()
        review_log.append(kind=ReviewEvent.Kind.RELEASED, now=now, actor=staff, case=found)
        cases.recompute(found, now=now, actor=staff)
    return found


def note(*, staff: User, case: uuid.UUID, text: str, now: dt.datetime) -> ReviewEvent:
    """Add an internal note. This needs no claim and doesn't affect anyone else's."""
    require(staff, "claim_reviewcase")
    if not text.strip():
        raise Refused(_("Enter a note."))
    with transaction.atomic():
        found = lock_case(case, version=None)
        return review_log.append(
            kind=ReviewEvent.Kind.NOTED, now=now, actor=staff, case=found, text=text.strip()
        )


def assign(
    *, staff: User, case: uuid.UUID, version: int | None, to: User | None, reason: str, now: dt.datetime
) -> ReviewCase:
    """Assign the case to a colleague, or to no one, and end the claim."""
    require(staff, "assign_reviewcase")
    if not reason.strip():
        raise Refused(_NO_REASON)
    if to is not None and not may_review(to):
        raise Refused(_("%(name)s doesn't have permission to review cases.") % {"name": to.get_username()})
    with working_on(case, staff=staff, permission="assign_reviewcase", version=version, now=now) as found:
        found.assignee = to
        found.drop_claim()
        review_log.append(
            kind=ReviewEvent.Kind.ASSIGNED,
            now=now,
            actor=staff,
            case=found,
            text=reason.strip(),
            details={"to": to.get_username() if to else ""},
        )
    return found


def may_review(user: User) -> bool:
    """Return whether a case can be assigned to this user."""
    return user.is_active and user.is_staff and user.has_perm("review.decide_reviewcase")


def reviewers() -> list[User]:
    """Return the users to whom a case can be assigned, sorted by username."""
    staff = User.objects.filter(is_active=True, is_staff=True).order_by("username")
    return [user for user in staff if may_review(user)]


def escalate(
    *, staff: User, case: uuid.UUID, version: int | None, reason: str, now: dt.datetime
) -> ReviewCase:
    """Escalate the case to a review lead and end the claim."""
    if not reason.strip():
        raise Refused(_NO_REASON)
    with working_on(case, staff=staff, permission="claim_reviewcase", version=version, now=now) as found:
        found.is_escalated = True
        found.drop_claim()
        review_log.append(
            kind=ReviewEvent.Kind.ESCALATED, now=now, actor=staff, case=found, text=reason.strip()
        )
    return found


def ask_reporter(
    *, staff: User, case: uuid.UUID, version: int | None, report: uuid.UUID, question: str, now: dt.datetime
) -> Report:
    """Ask a reporter for information. The question appears under "My reports" and is also sent by email."""
    if not question.strip():
        raise Refused(_("Enter a question."))
    with working_on(case, staff=staff, permission="claim_reviewcase", version=version, now=now) as found:
        asked = found.reports.to_decide().filter(uuid=report).first()
        if asked is None:
            raise Refused(_("This report has already been decided, or belongs to another case."))
        asked.question, asked.asked_at = question.strip(), now
        asked.clarification, asked.answered_at = "", None
        asked.save(update_fields=["question", "asked_at", "clarification", "answered_at"])
        review_log.append(
            kind=ReviewEvent.Kind.ASKED,
            now=now,
            actor=staff,
            case=found,
            report=asked,
            text=asked.question,
        )
        mails.notify_of_question(asked)
    return asked


@transaction.atomic
def reveal_reporter(*, staff: User, report: uuid.UUID, reason: str, now: dt.datetime) -> User | None:
    """Log the reason and return the reporter, or None if their account has been deleted."""
    require(staff, "reveal_reporter")
    if not reason.strip():
        raise Refused(_NO_REASON)
    found = Report.objects.select_related("reporter", "case").filter(uuid=report).first()
    if found is None:
        raise Refused(_("Report not found."))
    review_log.append(
        kind=ReviewEvent.Kind.REVEALED,
        now=now,
        actor=staff,
        case=found.case,
        report=found,
        text=reason.strip(),
    )
    return found.reporter


@transaction.atomic
def open_conversation(
    *,
    staff: User,
    conversation: uuid.UUID,
    reason: str,
    now: dt.datetime,
    case: uuid.UUID | None = None,
) -> Conversation:
    """Log the reason, and return the conversation so that it can be read in full."""
    require(staff, "read_conversation")
    if not reason.strip():
        raise Refused(_NO_REASON)
    found = Conversation.objects.filter(uuid=conversation).first()
    if found is None:
        raise Refused(_("This conversation no longer exists."))
    review_log.append(
        kind=ReviewEvent.Kind.OPENED,
        now=now,
        actor=staff,
        case=ReviewCase.objects.filter(uuid=case).first() if case else None,
        text=reason.strip(),
        details={"conversation": str(conversation)},
    )
    return found


def has_revealed(staff: User, report: Report) -> bool:
    """Return whether the reporter has already been revealed to this member of staff."""
    return report.events.filter(kind=ReviewEvent.Kind.REVEALED, actor=staff).exists()
