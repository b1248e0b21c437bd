"""What a person who reports a problem does: report it, answer a question about it, appeal."""

import datetime as dt
import uuid
from collections.abc import Iterable

from django.conf import settings
from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext_lazy, ngettext
from django.utils.translation import gettext as _

from conversations.models import Category, Conversation, Message, Report, ReviewCase, ReviewEvent, User

from . import cases, review_log, snapshots


class ReportRefused(Exception):
    """A report that can't be taken. Its text is fit for the person who reports: what is wrong, and what to do."""

    def __init__(self, message: str | Promise) -> None:
        super().__init__(str(message))


_GONE = gettext_lazy("This answer is not there, or not yours.")
_NO_REPORT = gettext_lazy("This report is not there, or not yours.")


@transaction.atomic
def report_answer(
    *,
    reporter: User,
    message: uuid.UUID,
    category: str,
    comment: str,
    includes_context: bool,
    now: dt.datetime,
) -> Report:
    """File a report of an answer, with a snapshot of it, or update the reporter's earlier one while that is undecided.

    A case that was closed opens again. Raises ReportRefused.
    """
    _lock(reporter)
    answer = (
        Message.objects.visible_to(reporter)
        .filter(uuid=message, role=Message.Role.ASSISTANT)
        .select_related("conversation__owner", "conversation__head")
        .first()
    )
    # Locked, so that it is not deleted while it is being reported.
    places = Conversation.objects.select_for_update(of=("self",))
    if answer is None or not places.filter(pk=answer.conversation_id).exists():
        raise ReportRefused(_GONE)
    if answer.is_hidden and not answer.vetted_text:
        raise ReportRefused(_("This answer was already taken out of view."))
    if answer.generations.active().exists():
        raise ReportRefused(_("This answer is still being written. Wait for it, or stop it first."))
    _check(category, comment)
    earlier = _pending(reporter, answer)
    if earlier is None:
        _check_rate(reporter, now=now)
    case = cases.case_of_answer(answer, category=category, now=now)
    content = snapshots.of_answer(answer, includes_context=includes_context)
    return _file(
        case,
        reporter=reporter,
        earlier=earlier,
        category=category,
        comment=comment,
        includes_context=includes_context,
        content=content,
        now=now,
    )


@transaction.atomic
def report_application(*, reporter: User, category: str, comment: str, page: str, now: dt.datetime) -> Report:
    """File a report about the application itself, made on this page (a path). Raises ReportRefused."""
    _lock(reporter)
    _check(category, comment)
    if not comment.strip():
        raise ReportRefused(_("Say what happened: without a few words nobody can look into it."))
    _check_rate(reporter, now=now)
    return _file(
        cases.case_of_application(category=category, now=now),
        reporter=reporter,
        earlier=None,
        category=category,
        comment=comment,
        includes_context=False,
        content=snapshots.of_application(page=page),
        now=now,
    )


def pending_report(user: User, message: Message) -> Report | None:
    """Return the report of this person on this answer that is still undecided: another one would update it."""
    return _pending(user, message)


def reported_texts(reports: Iterable[Report]) -> dict[int, str | None]:
    """Return, by the ids of these reports, the answers that they are about as they were reported; None where staff hid it.

    Empty for a report about the application. A hidden answer stays hidden when it is deleted afterwards: then the decisions
    tell. At most one query, where the reports came with their case, its message, and their snapshot.
    """
    found = list(reports)
    gone = [report.case_id for report in found if report.case.message is None]
    hidden: dict[int | None, bool] = {}
    decided = ReviewEvent.objects.filter(case__in=gone, kind=ReviewEvent.Kind.DECIDED).order_by("sequence")
    for case_id, outcome, details in decided.values_list("case", "outcome", "details") if gone else ():
        was_hidden = hidden.get(case_id, False) and outcome != ReviewEvent.Outcome.DISMISSED
        hidden[case_id] = was_hidden or bool(details.get("hidden"))
    texts: dict[int, str | None] = {}
    for report in found:
        message = report.case.message
        is_hidden = message.is_hidden if message is not None else hidden.get(report.case_id, False)
        turns = report.snapshot.content.get("turns", [])
        text = next((str(turn["text"]) for turn in turns if turn["is_reported"]), "")
        texts[report.pk] = None if is_hidden else text
    return texts


def _pending(user: User, message: Message) -> Report | None:
    mine = Report.objects.visible_to(user).filter(case__message=message, status=Report.Status.PENDING)
    return mine.first()


def _lock(user: User) -> None:
    """Lock the reporter's row, so that two reports of one person come one after the other. Raises ReportRefused."""
    if not User.objects.select_for_update().filter(pk=user.pk, is_active=True).exists():
        raise ReportRefused(_("Your account is not active."))


def _check(category: str, comment: str) -> None:
    if category not in Category.values:
        raise ReportRefused(_("Choose what is wrong."))
    if category == Category.OTHER and not comment.strip():
        raise ReportRefused(_("Say in a few words what is wrong."))


def _check_rate(user: User, *, now: dt.datetime) -> None:
    since = now - dt.timedelta(hours=1)
    filed = Report.objects.filter(reporter=user, created_at__gt=since).count()
    if filed >= settings.REPORTS_PER_HOUR:
        raise ReportRefused(
            ngettext(
                "You have made %(count)d report in the last hour, and no more are taken. Try again later.",
                "You have made %(count)d reports in the last hour, and no more are taken. Try again later.",
                filed,
            )
            % {"count": filed}
        )


def _file(
    case: ReviewCase,
    *,
    reporter: User,
    earlier: Report | None,
    category: str,
    comment: str,
    includes_context: bool,
    content: dict[str, object],
    now: dt.datetime,
) -> Report:
    report = earlier or Report(
        reference=cases.new_reference(),
        case=case,
        reporter=reporter,
        pseudonym=cases.pseudonym_of(reporter),
        created_at=now,
    )
    report.category = category
    report.comment = comment.strip()
    report.language = get_language() or ""
    report.includes_context = includes_context
    report.snapshot = snapshots.keep(case, content, now=now)
    report.updated_at = now
    report.save()
    review_log.append(
        kind=ReviewEvent.Kind.UPDATED if earlier else ReviewEvent.Kind.FILED,
        now=now,
        # Who it was stays behind the pseudonym, in the log too.
        actor=None,
        case=case,
        report=report,
        text=report.comment,
        details={"category": category, "by": report.pseudonym, "snapshot": report.snapshot.digest},
    )
    cases.bring_up_to_date(case, now=now, actor=None)
    return report


@transaction.atomic
def answer_question(*, reporter: User, report: uuid.UUID, text: str, now: dt.datetime) -> Report:
    """Give the information that staff asked for. Raises ReportRefused."""
    found, case = _find(reporter, report)
    if not found.question or found.answer:
        raise ReportRefused(_("Nothing was asked about this report, or it was answered already."))
    if not case.is_open:
        raise ReportRefused(_("This report was decided meanwhile."))
    if not text.strip():
        raise ReportRefused(_("Write an answer first."))
    found.answer, found.answered_at, found.updated_at = text.strip(), now, now
    found.save(update_fields=["answer", "answered_at", "updated_at"])
    review_log.append(
        kind=ReviewEvent.Kind.ANSWERED,
        now=now,
        actor=None,
        case=case,
        report=found,
        text=found.answer,
        details={"by": found.pseudonym},
    )
    cases.bring_up_to_date(case, now=now, actor=None)
    return found


def appeal_ends_at(report: Report) -> dt.datetime | None:
    """Return until when an appeal is taken; None where there can be none (any more)."""
    if report.decided_at is None or report.appeal_status or report.status == Report.Status.UPHELD:
        return None
    return report.decided_at + dt.timedelta(days=settings.APPEAL_DAYS)


@transaction.atomic
def appeal(*, reporter: User, report: uuid.UUID, text: str, now: dt.datetime) -> Report:
    """Ask that a decision is looked at again: once, and within APPEAL_DAYS of it. Raises ReportRefused."""
    found, case = _find(reporter, report)
    if found.appeal_status:
        raise ReportRefused(_("There was an appeal already, and there is only one."))
    ends_at = appeal_ends_at(found)
    if ends_at is None:
        raise ReportRefused(_("There is nothing to appeal against."))
    if now > ends_at:
        raise ReportRefused(_("The time for an appeal is over."))
    if not text.strip():
        raise ReportRefused(_("Say in a few words why the decision is wrong."))
    found.appeal, found.appeal_status, found.appealed_at = text.strip(), Report.Appeal.PENDING, now
    found.updated_at = now
    found.save(update_fields=["appeal", "appeal_status", "appealed_at", "updated_at"])
    review_log.append(
        kind=ReviewEvent.Kind.APPEALED,
        now=now,
        actor=None,
        case=case,
        report=found,
        text=found.appeal,
        details={"by": found.pseudonym},
    )
    cases.bring_up_to_date(case, now=now, actor=None)
    return found


def _find(reporter: User, public_id: uuid.UUID) -> tuple[Report, ReviewCase]:
    """Return this person's report, with its case locked. Raises ReportRefused."""
    case_id = (
        Report.objects.visible_to(reporter).filter(uuid=public_id).values_list("case_id", flat=True).first()
    )
    if case_id is None:
        raise ReportRefused(_NO_REPORT)
    case = ReviewCase.objects.select_for_update(of=("self",)).get(pk=case_id)
    # Read only now, under the lock: a decision may just have been made.
    return Report.objects.get(uuid=public_id), case
