"""Check, preview and make decisions, for one case or many."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.core.exceptions import PermissionDenied
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from conversations.accounts.models import User
from conversations.common.refusals import Refused
from conversations.review import mails
from conversations.review.models import Report, ReviewCase, ReviewEvent
from conversations.review.services.effects.base import DISMISSED, UPHELD, ChosenEffect, Effect

from . import review_log
from .effects import following
from .reviewing import require, working_on


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision by a member of staff.

    `verdicts` holds verdicts on single reports that differ from the outcome: upheld, not upheld or ignored.
    """

    outcome: str
    reason: str
    reply: str = ""
    effects: tuple[ChosenEffect, ...] = ()
    verdicts: dict[uuid.UUID, str] = field(default_factory=dict)

    @property
    def all_effects(self) -> tuple[Effect, ...]:
        """Return the effects that follow from the outcome, then those that staff chose."""
        return (*following(self.outcome), *self.effects)


def check(decision: Decision, *, case: ReviewCase, staff: User) -> None:
    """Raise Refused if the decision isn't valid for the case, or PermissionDenied if this user may not make it."""
    require(staff, "decide_reviewcase")
    for effect in decision.effects:
        if effect.permission:
            require(staff, effect.permission)
    if decision.outcome not in {UPHELD, DISMISSED}:
        raise Refused(_("Choose whether to uphold or dismiss the report."))
    if not decision.reason.strip():
        raise Refused(_("Give a reason for the decision."))
    if any(decision.outcome not in effect.outcomes for effect in decision.effects):
        raise Refused(_("A dismissed report can't hide the answer or affect the user. Remove those effects."))
    for effect in decision.effects:
        effect.check(case, staff=staff)
    if not set(decision.verdicts.values()) <= set(Report.Status.values) - {Report.Status.PENDING}:
        raise Refused(_("Choose a verdict for each report."))
    waiting = {report.uuid for report in case.reports.to_decide()}
    if not set(decision.verdicts) <= waiting:
        raise Refused(_("One of the reports has already been decided, or belongs to another case."))


def preview(decision: Decision, *, case: ReviewCase, staff: User) -> list[str]:
    """Return a list of sentences describing what the decision would do. Raises the same exceptions as `check`."""
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
        said.append(_("This also decides the appeal. The reporter can't appeal again."))
    said.extend(filter(None, (effect.preview(case) for effect in decision.all_effects)))
    with_mail = sum(bool(report.reporter and report.reporter.email) for report in waiting)
    said.append(
        ngettext(
            "%(count)d reporter will be notified under “My reports”, %(mails)d of them also by email.",
            "%(count)d reporters will be notified under “My reports”, %(mails)d of them also by email.",
            len(waiting),
        )
        % {"count": len(waiting), "mails": with_mail}
    )
    if case.message is not None and case.message.conversation.deletion_requested_at is not None:
        said.append(_("The conversation will be permanently deleted, because its owner has deleted it."))
    return said


def _verdict(decision: Decision, report: Report) -> str:
    stands = Report.Status.UPHELD if decision.outcome == UPHELD else Report.Status.NOT_UPHELD
    return decision.verdicts.get(report.uuid, stands)


def decide(
    *, staff: User, case: uuid.UUID, version: int | None, decision: Decision, now: dt.datetime
) -> ReviewEvent:
    """Decide all pending reports and appeals of a case and apply the effects, in one transaction.

    Raises StaleCase if the case has changed since `version`, Refused if the decision isn't valid, or PermissionDenied.
    """
    with working_on(case, staff=staff, permission="decide_reviewcase", version=version, now=now) as found:
        check(decision, case=found, staff=staff)
        before = found.events.filter(kind=ReviewEvent.Kind.DECIDED).order_by("-sequence").first()
        is_overturn = before is not None and before.outcome != decision.outcome
        verdicts = _decide_reports(found, decision, now=now)
        for effect in decision.all_effects:
            effect.apply(found, staff=staff, now=now)
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
        mails.notify_of_decision(report)
    return verdicts


def _details(decision: Decision, *, verdicts: dict[str, str]) -> dict[str, object]:
    """Return the details of a decision for the log, besides its outcome and reason. Empty values are left out."""
    given: dict[str, object] = {"reports": verdicts, "reply": decision.reply.strip()}
    for effect in decision.effects:
        given |= effect.log()
    return {name: value for name, value in given.items() if value}


@dataclass(frozen=True, slots=True)
class BulkResult:
    """The result of a bulk decision: how many cases were decided, and why each of the others was skipped."""

    decided: int
    skipped: list[tuple[ReviewCase, str]]


def decide_many(
    *, staff: User, cases: Sequence[ReviewCase], decision: Decision, now: dt.datetime, dry_run: bool
) -> BulkResult:
    """Make the same decision on many cases, each in its own transaction. With `dry_run`, change nothing.

    A case that has changed since the given version is skipped.
    """
    decided, skipped = 0, []
    for case in cases:
        try:
            if dry_run:
                check(decision, case=case, staff=staff)
                _check_is_free(case, staff=staff, now=now)
            else:
                decide(staff=staff, case=case.uuid, version=case.version, decision=decision, now=now)
        except PermissionDenied:
            raise
        except Refused as error:
            skipped.append((case, str(error)))
        else:
            decided += 1
    return BulkResult(decided, skipped)


def _check_is_free(case: ReviewCase, *, staff: User, now: dt.datetime) -> None:
    if not case.is_open:
        raise Refused(_("This case is already closed."))
    if case.is_claimed_by_another(staff, now):
        raise Refused(_("Someone else is working on this case."))
