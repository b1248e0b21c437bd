"""Deciding cases: what a decision is, what it will do, and doing it, for one case or for many."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.core.exceptions import PermissionDenied
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from conversations.models import Report, ReviewCase, ReviewEvent, User
from conversations.models.review_records import BLOCKLIST_TEXT_LENGTH

from . import effects, mails, review_log
from .reviewing import ReviewRefused, require, working_on

UPHELD = ReviewEvent.Outcome.UPHELD
DISMISSED = ReviewEvent.Outcome.DISMISSED

_NO_REASON = gettext_lazy("A decision needs a reason: a few words on why.")
_NO_ANSWER = gettext_lazy("The answer was deleted meanwhile, so it can't be hidden or replaced.")
_NO_USER = gettext_lazy("There is no account any more that could be warned or suspended.")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a member of staff decides. Texts are what was typed; `days` None means without an end.

    `verdicts` says for single reports what differs from the outcome: upheld, not upheld, or ignored.
    """

    outcome: str
    reason: str
    reply: str = ""
    hides_answer: bool = False
    vetted_text: str = ""
    warning: str = ""
    suspends: bool = False
    suspension_days: int | None = None
    suspension_text: str = ""
    blocklist_text: str = ""
    adds_to_evaluation: bool = False
    verdicts: dict[uuid.UUID, str] = field(default_factory=dict)

    @property
    def changes_answer(self) -> bool:
        return self.hides_answer or bool(self.vetted_text)


def check(decision: Decision, *, case: ReviewCase, staff: User) -> None:
    """Raise ReviewRefused where the decision makes no sense here, PermissionDenied where this staff may not make it."""
    require(staff, "decide_reviewcase")
    if decision.suspends:
        require(staff, "suspend_user")
    if decision.outcome not in {UPHELD, DISMISSED}:
        raise ReviewRefused(_("Choose whether the report is upheld or dismissed."))
    if not decision.reason.strip():
        raise ReviewRefused(_NO_REASON)
    has_effects = decision.changes_answer or decision.warning or decision.suspends or decision.blocklist_text
    if decision.outcome == DISMISSED and has_effects:
        raise ReviewRefused(
            _("A report that is dismissed leaves the answer and the user alone: take these away.")
        )
    if decision.changes_answer and case.message is None:
        raise ReviewRefused(_NO_ANSWER)
    if (decision.warning or decision.suspends) and case.subject is None:
        raise ReviewRefused(_NO_USER)
    if decision.suspends and not decision.suspension_text.strip():
        raise ReviewRefused(_("Say to the user why they are suspended."))
    if decision.suspends and case.subject == staff:
        raise ReviewRefused(_("Nobody suspends themselves."))
    if decision.suspends and case.subject is not None and case.subject.is_superuser:
        raise ReviewRefused(_("An administrator can't be suspended here."))
    if len(decision.blocklist_text) > BLOCKLIST_TEXT_LENGTH:
        raise ReviewRefused(_("This wording is too long for the blocklist."))
    if not set(decision.verdicts.values()) <= set(Report.Status.values) - {Report.Status.PENDING}:
        raise ReviewRefused(_("Choose a verdict for each report."))
    waiting = {report.uuid for report in case.reports.to_decide()}
    if not set(decision.verdicts) <= waiting:
        raise ReviewRefused(_("A report is decided already, or belongs to another case."))


def preview(decision: Decision, *, case: ReviewCase, staff: User) -> list[str]:
    """Return, sentence by sentence, what this decision would do. Raises what deciding would raise."""
    check(decision, case=case, staff=staff)
    waiting = list(case.reports.to_decide())
    said = []
    for status, label in Report.Status.choices:
        count = sum(_verdict(decision, report) == status for report in waiting)
        if count:
            said.append(
                ngettext("%(count)d report: %(verdict)s.", "%(count)d reports: %(verdict)s.", count)
                % {"count": count, "verdict": label}
            )
    appeals = sum(report.appeal_status == Report.Appeal.PENDING for report in waiting)
    if appeals:
        said.append(_("The appeal is decided with it; there is no second one."))
    if decision.vetted_text:
        said.append(_("The user sees the vetted text in place of the answer, at once in open tabs."))
    elif decision.hides_answer:
        said.append(_("The user sees a notice in place of the answer, at once in open tabs."))
    elif decision.outcome == DISMISSED and case.message is not None and case.message.is_hidden:
        said.append(_("The answer, which is hidden now, is shown again."))
    if decision.outcome == DISMISSED and case.notices.filter(lifted_at__isnull=True).exists():
        said.append(_("The warning or suspension that came of this case is taken back."))
    if decision.warning:
        said.append(
            _("The user reads the warning in the chat until they acknowledge it, and gets it by mail.")
        )
    if decision.suspends:
        said.append(_suspension_in_words(decision))
    if decision.blocklist_text:
        said.append(_("The wording “%(text)s” goes to the blocklist.") % {"text": decision.blocklist_text})
    if decision.adds_to_evaluation:
        said.append(_("Prompt and answer go to the evaluation set."))
    with_mail = sum(bool(report.reporter and report.reporter.email) for report in waiting)
    said.append(
        ngettext(
            "%(count)d person is told under “My reports”, %(mails)d of them by mail.",
            "%(count)d people are told under “My reports”, %(mails)d of them by mail.",
            len(waiting),
        )
        % {"count": len(waiting), "mails": with_mail}
    )
    if case.message is not None and case.message.conversation.deletion_requested_at is not None:
        said.append(_("The conversation, which its owner deleted, is deleted for good."))
    return said


def _suspension_in_words(decision: Decision) -> str:
    if decision.suspension_days is None:
        return _("The user is suspended without an end; their open pages close within 5 seconds.")
    return ngettext(
        "The user is suspended for %(days)d day; their open pages close within 5 seconds.",
        "The user is suspended for %(days)d days; their open pages close within 5 seconds.",
        decision.suspension_days,
    ) % {"days": decision.suspension_days}


def _verdict(decision: Decision, report: Report) -> str:
    stands = Report.Status.UPHELD if decision.outcome == UPHELD else Report.Status.NOT_UPHELD
    return decision.verdicts.get(report.uuid, stands)


def decide(
    *, staff: User, case: uuid.UUID, version: int | None, decision: Decision, now: dt.datetime
) -> ReviewEvent:
    """Decide all reports and appeals that wait in a case, with everything that follows from it, in one transaction.

    Raises ReviewRefused, or StaleCase where the case is not as the member of staff saw it, or PermissionDenied.
    """
    with working_on(case, staff=staff, permission="decide_reviewcase", version=version, now=now) as found:
        check(decision, case=found, staff=staff)
        before = found.events.filter(kind=ReviewEvent.Kind.DECIDED).order_by("-sequence").first()
        is_overturn = before is not None and before.outcome != decision.outcome
        verdicts = _decide_reports(found, decision, now=now)
        _apply(found, decision, staff=staff, now=now)
        return review_log.append(
            kind=ReviewEvent.Kind.DECIDED,
            now=now,
            actor=staff,
            case=found,
            outcome=decision.outcome,
            is_overturn=is_overturn,
            text=decision.reason.strip(),
            details=_details(decision, verdicts=verdicts),
        )


def _decide_reports(case: ReviewCase, decision: Decision, *, now: dt.datetime) -> dict[str, str]:
    verdicts = {}
    for report in case.reports.to_decide().select_related("reporter"):
        verdict = _verdict(decision, report)
        if report.appeal_status == Report.Appeal.PENDING:
            was_upheld = report.status == Report.Status.UPHELD
            is_granted = not was_upheld and verdict == Report.Status.UPHELD
            report.appeal_status = Report.Appeal.GRANTED if is_granted else Report.Appeal.DENIED
        report.status, report.decided_at, report.updated_at = verdict, now, now
        report.reply = decision.reply.strip()
        report.save()
        verdicts[report.reference] = str(verdict)
        mails.tell_of_decision(report)
    return verdicts


def _apply(case: ReviewCase, decision: Decision, *, staff: User, now: dt.datetime) -> None:
    if decision.outcome == DISMISSED:
        effects.lift_notices(case, now=now)
        if case.message is not None and case.message.is_hidden:
            effects.show_again(case.message)
    elif decision.changes_answer and case.message is not None:
        effects.hide(case.message, vetted_text=decision.vetted_text.strip(), now=now)
    if case.subject is not None:
        if decision.warning:
            effects.warn(case.subject, case=case, text=decision.warning.strip(), now=now)
        if decision.suspends:
            effects.suspend(
                case.subject,
                case=case,
                text=decision.suspension_text.strip(),
                days=decision.suspension_days,
                now=now,
            )
    if decision.blocklist_text.strip():
        effects.add_to_blocklist(decision.blocklist_text.strip(), case=case, staff=staff, now=now)
    if decision.adds_to_evaluation:
        effects.add_to_evaluation_set(
            case,
            vetted_answer=decision.vetted_text.strip(),
            note=decision.reason.strip(),
            staff=staff,
            now=now,
        )


def _details(decision: Decision, *, verdicts: dict[str, str]) -> dict[str, object]:
    """Return what the log keeps of a decision beside its outcome and reason: what was set, and nothing that was not."""
    given: dict[str, object] = {
        "reports": verdicts,
        "reply": decision.reply.strip(),
        "hidden": decision.changes_answer,
        "vetted_text": decision.vetted_text.strip(),
        "warning": decision.warning.strip(),
        "suspended": decision.suspends,
        "suspension_days": decision.suspension_days,
        "suspension_text": decision.suspension_text.strip() if decision.suspends else "",
        "blocklist": decision.blocklist_text.strip(),
        "evaluation_set": decision.adds_to_evaluation,
    }
    return {name: value for name, value in given.items() if value}


@dataclass(frozen=True, slots=True)
class BulkResult:
    """How many cases a decision for many would decide or decided, and why the others were left alone."""

    decided: int
    left_alone: list[tuple[ReviewCase, str]]


def decide_many(
    *, staff: User, cases: Sequence[ReviewCase], decision: Decision, now: dt.datetime, dry_run: bool
) -> BulkResult:
    """Decide these cases alike, each in a transaction of its own; with `dry_run` nothing is changed.

    Each is taken at the version given, so that one that changed since it was listed is left alone.
    """
    decided, left_alone = 0, []
    for case in cases:
        try:
            if dry_run:
                check(decision, case=case, staff=staff)
                _check_is_free(case, staff=staff, now=now)
            else:
                decide(staff=staff, case=case.uuid, version=case.version, decision=decision, now=now)
        except PermissionDenied:
            raise
        except ReviewRefused as error:
            left_alone.append((case, str(error)))
        else:
            decided += 1
    return BulkResult(decided, left_alone)


def _check_is_free(case: ReviewCase, *, staff: User, now: dt.datetime) -> None:
    if not case.is_open:
        raise ReviewRefused(_("This case is closed already."))
    is_held = case.claim_expires_at is not None and case.claim_expires_at > now
    if is_held and case.claimed_by_id not in {None, staff.pk}:
        raise ReviewRefused(_("Somebody is working on this case."))
