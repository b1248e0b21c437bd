"""What staff do with a case before they decide it: claim it, note, assign, escalate, ask, and look behind the pseudonym."""

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

from conversations.models import Conversation, Generation, Report, ReviewCase, ReviewEvent, User

from . import cases, mails, review_log


class ReviewRefused(Exception):
    """Something that can't be done with a case. Its text is fit for the member of staff: why, and how things stand."""

    def __init__(self, message: str | Promise) -> None:
        super().__init__(str(message))


class StaleCase(ReviewRefused):
    """The case changed since the page was loaded; `case` is how it stands now."""

    def __init__(self, message: str | Promise, *, case: ReviewCase) -> None:
        super().__init__(message)
        self.case = case


_NO_REASON = gettext_lazy("A reason is needed: a few words on why.")


def require(staff: User, permission: str) -> None:
    """Raise PermissionDenied unless this is active staff with the permission (a codename of this application)."""
    if not (staff.is_active and staff.is_staff and staff.has_perm(f"conversations.{permission}")):
        raise PermissionDenied


def lease() -> dt.timedelta:
    """Return how long a claim lasts without activity."""
    return dt.timedelta(minutes=settings.REVIEW_LEASE_MINUTES)


def expire_claims(now: dt.datetime) -> int:
    """Open the cases again whose claim ran out, and return their number."""
    count = 0
    expired = ReviewCase.objects.open().filter(claimed_by__isnull=False, claim_expires_at__lte=now)
    for pk in list(expired.values_list("pk", flat=True)):
        with transaction.atomic():
            case = ReviewCase.objects.select_for_update(of=("self",)).get(pk=pk)
            if case.claimed_by_id is not None and case.claim_expires_at and case.claim_expires_at <= now:
                cases.bring_up_to_date(case, now=now, actor=None)
                count += 1
    return count


def lock_case(public_id: uuid.UUID, *, version: int | None) -> ReviewCase:
    """Return the case, locked. Raises StaleCase where it is not the version that the member of staff saw.

    What a decision may change is locked before it, in the order in which everything else locks it: the reported user, what
    is being written, the conversation, the case, and the end of the log last.
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
        raise ReviewRefused(_("This case is not there."))
    if version is not None and case.version != version:
        raise StaleCase(_describe_change(case), case=case)
    return case


def _describe_change(case: ReviewCase) -> str:
    last = case.events.order_by("-sequence").first()
    if last is None:
        return _("This case changed meanwhile. Look at it as it is now.")
    return _(
        "This case changed meanwhile: %(event)s by %(name)s. Nothing of yours was saved; look at it as it is now."
    ) % {"event": last.get_kind_display(), "name": last.actor_name or _("a reporter")}


def hold_claim(case: ReviewCase, *, staff: User, now: dt.datetime) -> None:
    """Make sure that a locked case is claimed by this member of staff, who takes it where it is free, and extend the claim.

    Raises ReviewRefused where somebody else is at it, or where nothing is to decide.
    """
    if not case.is_open:
        raise StaleCase(_("This case is closed already."), case=case)
    is_held = case.claim_expires_at is not None and case.claim_expires_at > now
    if case.claimed_by is not None and is_held and case.claimed_by != staff:
        raise StaleCase(
            _("%(name)s is working on this case until %(time)s.")
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
    """Lock and claim a case for what is done inside, and bring it up to date afterwards: one transaction."""
    require(staff, permission)
    # Looked at once without a lock: most who come too late need not wait for those who are at it.
    seen = ReviewCase.objects.filter(uuid=public_id).first()
    if seen is not None and version is not None and seen.version != version:
        raise StaleCase(_describe_change(seen), case=seen)
    with transaction.atomic():
        case = lock_case(public_id, version=version)
        hold_claim(case, staff=staff, now=now)
        yield case
        cases.bring_up_to_date(case, now=now, actor=staff)


def claim(*, staff: User, case: uuid.UUID, version: int | None, now: dt.datetime) -> ReviewCase:
    """Take a case for REVIEW_LEASE_MINUTES. Raises ReviewRefused, StaleCase or PermissionDenied, as all of these do."""
    with working_on(case, staff=staff, permission="claim_reviewcase", version=version, now=now) as found:
        pass
    return found


def claim_next(*, staff: User, now: dt.datetime) -> ReviewCase | None:
    """Take the most urgent case that is free, or assigned to this member of staff; None where there is none."""
    require(staff, "claim_reviewcase")
    expire_claims(now)
    with transaction.atomic():
        free = ReviewCase.objects.open().filter(claimed_by__isnull=True, is_escalated=False)
        mine = free.filter(assignee=staff) | free.filter(assignee__isnull=True)
        found = mine.by_priority().select_for_update(of=("self",), skip_locked=True).first()
        if found is None:
            return None
        hold_claim(found, staff=staff, now=now)
        cases.bring_up_to_date(found, now=now, actor=staff)
        return found


def extend_claim(*, staff: User, case: uuid.UUID, now: dt.datetime) -> dt.datetime | None:
    """Keep one's own claim, since one is still at it; return its new end, or None where it is no longer one's own."""
    require(staff, "claim_reviewcase")
    until = now + lease()
    mine = ReviewCase.objects.open().filter(uuid=case, claimed_by=staff, claim_expires_at__gt=now)
    # No new version: nothing changed that a form shows.
    return until if mine.update(claim_expires_at=until) else None


def release(*, staff: User, case: uuid.UUID, version: int | None, now: dt.datetime) -> ReviewCase:
    """Give a claimed case back to the queue."""
    require(staff, "claim_reviewcase")
    with transaction.atomic():
        found = lock_case(case, version=version)
        if found.claimed_by != staff:
            raise StaleCase(_("You do not hold this case."), case=found)
        found.claimed_by, found.claim_expires_at = None, None
        review_log.append(kind=ReviewEvent.Kind.RELEASED, now=now, actor=staff, case=found)
        cases.bring_up_to_date(found, now=now, actor=staff)
    return found


def note(*, staff: User, case: uuid.UUID, text: str, now: dt.datetime) -> ReviewEvent:
    """Leave an internal note, which needs no claim and disturbs nobody's."""
    require(staff, "claim_reviewcase")
    if not text.strip():
        raise ReviewRefused(_("Write the note first."))
    with transaction.atomic():
        found = lock_case(case, version=None)
        return review_log.append(
            kind=ReviewEvent.Kind.NOTED, now=now, actor=staff, case=found, text=text.strip()
        )


def assign(
    *, staff: User, case: uuid.UUID, version: int | None, to: User | None, reason: str, now: dt.datetime
) -> ReviewCase:
    """Give the case to a colleague, or to nobody in particular; the claim on it ends."""
    require(staff, "assign_reviewcase")
    if not reason.strip():
        raise ReviewRefused(_NO_REASON)
    if to is not None and not may_review(to):
        raise ReviewRefused(_("%(name)s may not review cases.") % {"name": to.get_username()})
    with working_on(case, staff=staff, permission="assign_reviewcase", version=version, now=now) as found:
        found.assignee = to
        found.claimed_by, found.claim_expires_at = None, None
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
    """Whether a case may be given to this person."""
    return user.is_active and user.is_staff and user.has_perm("conversations.decide_reviewcase")


def reviewers() -> list[User]:
    """Return those whom a case may be given to, by name."""
    staff = User.objects.filter(is_active=True, is_staff=True).order_by("username")
    return [user for user in staff if may_review(user)]


def escalate(
    *, staff: User, case: uuid.UUID, version: int | None, reason: str, now: dt.datetime
) -> ReviewCase:
    """Put the case before somebody who decides what a reviewer does not decide alone; the claim on it ends."""
    if not reason.strip():
        raise ReviewRefused(_NO_REASON)
    with working_on(case, staff=staff, permission="claim_reviewcase", version=version, now=now) as found:
        found.is_escalated = True
        found.claimed_by, found.claim_expires_at = None, None
        review_log.append(
            kind=ReviewEvent.Kind.ESCALATED, now=now, actor=staff, case=found, text=reason.strip()
        )
    return found


def ask_reporter(
    *, staff: User, case: uuid.UUID, version: int | None, report: uuid.UUID, question: str, now: dt.datetime
) -> Report:
    """Ask the person behind a report for information. They read it under "My reports", and get a mail."""
    if not question.strip():
        raise ReviewRefused(_("Write the question first."))
    with working_on(case, staff=staff, permission="claim_reviewcase", version=version, now=now) as found:
        asked = found.reports.to_decide().filter(uuid=report).first()
        if asked is None:
            raise ReviewRefused(_("This report is decided already, or belongs to another case."))
        asked.question, asked.asked_at = question.strip(), now
        asked.answer, asked.answered_at = "", None
        asked.save(update_fields=["question", "asked_at", "answer", "answered_at"])
        review_log.append(
            kind=ReviewEvent.Kind.ASKED,
            now=now,
            actor=staff,
            case=found,
            report=asked,
            text=asked.question,
        )
        mails.tell_of_question(asked)
    return asked


@transaction.atomic
def reveal_reporter(*, staff: User, report: uuid.UUID, reason: str, now: dt.datetime) -> User | None:
    """Return who is behind a report, which is logged with the reason; None where the account was deleted."""
    require(staff, "reveal_reporter")
    if not reason.strip():
        raise ReviewRefused(_NO_REASON)
    found = Report.objects.select_related("reporter", "case").filter(uuid=report).first()
    if found is None:
        raise ReviewRefused(_("This report is not there."))
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
    """Return a whole conversation to be read, which is logged with the reason."""
    require(staff, "read_conversation")
    if not reason.strip():
        raise ReviewRefused(_NO_REASON)
    found = Conversation.objects.filter(uuid=conversation).first()
    if found is None:
        raise ReviewRefused(_("This conversation is not there any more."))
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
    """Whether this member of staff has already been told who is behind this report."""
    return report.events.filter(kind=ReviewEvent.Kind.REVEALED, actor=staff).exists()
