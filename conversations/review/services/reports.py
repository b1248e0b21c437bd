"""What reporters can do: file a report, answer a question from staff, appeal."""

import datetime as dt
import uuid
from collections.abc import Iterable

from django.conf import settings
from django.db import transaction
from django.utils.translation import get_language, gettext_lazy, ngettext
from django.utils.translation import gettext as _

from conversations.accounts.models import User
from conversations.chat.models import Conversation, Message
from conversations.common.refusals import Refused
from conversations.review import rules
from conversations.review.models import Category, Report, ReviewCase, ReviewEvent, is_comment_missing
from conversations.review.models.reports import REPORT_HAS_NEWS

from . import cases, effects, review_log, snapshots

_NOT_FOUND = gettext_lazy("Answer not found.")
_NO_REPORT = gettext_lazy("Report not found.")


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
    """File a report of an answer with a snapshot, or update the reporter's own undecided report of it.

    Reopens the case if it was closed. Raises Refused if the answer can't be reported.
    """
    _lock(reporter)
    answer = (
        Message.objects.visible_to(reporter)
        .filter(uuid=message, role=Message.Role.ASSISTANT)
        .select_related("conversation__owner", "conversation__head")
        .first()
    )
    # The lock keeps the conversation from being deleted in the meantime.
    locked = Conversation.objects.select_for_update(of=("self",))
    if answer is None or not locked.filter(pk=answer.conversation_id).exists():
        raise Refused(_NOT_FOUND)
    if answer.is_hidden and not answer.vetted_text:
        raise Refused(_("This answer has already been hidden."))
    if answer.generations.active().exists():
        raise Refused(_("This answer is still being written. Wait until it is finished, or stop it."))
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
    """File a report about the application itself. `page` is the path the user came from. Raises Refused."""
    _lock(reporter)
    _check(category, comment)
    if not comment.strip():
        raise Refused(_("Describe what happened so that staff can look into it."))
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
    """Return the user's undecided report of this answer, if any. Reporting the answer again would update it."""
    return _pending(user, message)


def reported_texts(reports: Iterable[Report]) -> dict[int, str | None]:
    """Return the text of each reported answer by report ID, as it was when reported.

    The text is None if staff hid the answer, and empty for a report about the application. If a hidden answer has been
    deleted, the decisions in the log show whether it was hidden. Makes at most one query if the reports were loaded with
    their case, its message and their snapshot.
    """
    found = list(reports)
    gone = [report.case_id for report in found if report.case.message is None]
    hidden: dict[int | None, bool] = {}
    decided = ReviewEvent.objects.filter(case__in=gone, kind=ReviewEvent.Kind.DECIDED).order_by("sequence")
    for case_id, outcome, details in decided.values_list("case", "outcome", "details") if gone else ():
        was_hidden = hidden.get(case_id, False) and outcome != ReviewEvent.Outcome.DISMISSED
        hidden[case_id] = was_hidden or effects.HideAnswer.is_in(details)
    texts: dict[int, str | None] = {}
    for report in found:
        message = report.case.message
        is_hidden = message.is_hidden if message is not None else hidden.get(report.case_id, False)
        messages = report.snapshot.content.get("messages", [])
        text = next((str(message["text"]) for message in messages if message["is_reported"]), "")
        texts[report.pk] = None if is_hidden else text
    return texts


def _pending(user: User, message: Message) -> Report | None:
    mine = Report.objects.visible_to(user).filter(case__message=message, status=Report.Status.PENDING)
    return mine.first()


def _lock(user: User) -> None:
    """Lock the reporter's row so that one person's reports are handled one at a time. Raises Refused if it is inactive."""
    if not User.objects.select_for_update().filter(pk=user.pk, is_active=True).exists():
        raise Refused(_("Your account is not active."))


def _check(category: str, comment: str) -> None:
    if category not in Category.values:
        raise Refused(_("Choose a category."))
    if is_comment_missing(category, comment):
        raise Refused(rules.COMMENT_NEEDED)


def _check_rate(user: User, *, now: dt.datetime) -> None:
    since = now - dt.timedelta(hours=1)
    filed = Report.objects.filter(reporter=user, created_at__gt=since).count()
    if filed >= settings.REPORTS_PER_HOUR:
        raise Refused(
            ngettext(
                "You've sent %(count)d report in the last hour, which is the limit. Try again later.",
                "You've sent %(count)d reports in the last hour, which is the limit. Try again later.",
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
        # The log identifies the reporter by pseudonym only.
        actor=None,
        case=case,
        report=report,
        text=report.comment,
        details={"category": category, "by": report.pseudonym, "snapshot": report.snapshot.digest},
    )
    cases.recompute(case, now=now, actor=None)
    return report


@transaction.atomic
def answer_question(*, reporter: User, report: uuid.UUID, text: str, now: dt.datetime) -> Report:
    """Answer a question from staff. Raises Refused."""
    found, case = _find(reporter, report)
    if not found.awaits_reporter:
        raise Refused(_("There's no open question about this report."))
    if not case.is_open:
        raise Refused(_("This report has already been decided."))
    if not text.strip():
        raise Refused(_("Enter an answer."))
    found.clarification, found.answered_at, found.updated_at = text.strip(), now, now
    found.save(update_fields=["clarification", "answered_at", "updated_at"])
    review_log.append(
        kind=ReviewEvent.Kind.ANSWERED,
        now=now,
        actor=None,
        case=case,
        report=found,
        text=found.clarification,
        details={"by": found.pseudonym},
    )
    cases.recompute(case, now=now, actor=None)
    return found


def mark_as_seen(*, reporter: User, report: uuid.UUID | None = None, now: dt.datetime) -> None:
    """Record that the reporter has seen the replies of staff so far, to one report or to all of them."""
    seen = Report.objects.visible_to(reporter).filter(REPORT_HAS_NEWS)
    if report is not None:
        seen = seen.filter(uuid=report)
    seen.update(seen_at=now)


def appeal_ends_at(report: Report) -> dt.datetime | None:
    """Return the deadline for an appeal, or None if an appeal isn't possible."""
    if report.decided_at is None or report.appeal_status or report.status == Report.Status.UPHELD:
        return None
    return report.decided_at + dt.timedelta(days=settings.APPEAL_DAYS)


@transaction.atomic
def appeal(*, reporter: User, report: uuid.UUID, text: str, now: dt.datetime) -> Report:
    """Appeal against a decision, once and within APPEAL_DAYS. Raises Refused."""
    found, case = _find(reporter, report)
    if found.appeal_status:
        raise Refused(_("You have already appealed. Each report can be appealed only once."))
    ends_at = appeal_ends_at(found)
    if ends_at is None:
        raise Refused(_("There's no decision that you can appeal against."))
    if now > ends_at:
        raise Refused(_("The deadline for an appeal has passed."))
    if not text.strip():
        raise Refused(_("Explain in a few words why the decision is wrong."))
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
    cases.recompute(case, now=now, actor=None)
    return found


def _find(reporter: User, public_id: uuid.UUID) -> tuple[Report, ReviewCase]:
    """Return the reporter's own report and its case, locked. Raises Refused if there is no such report."""
    case_id = (
        Report.objects.visible_to(reporter).filter(uuid=public_id).values_list("case_id", flat=True).first()
    )
    if case_id is None:
        raise Refused(_NO_REPORT)
    # Reopening a case puts a hold on its conversation, which must always be locked before the case.
    about = Conversation.objects.filter(messages__review_case=case_id)
    list(about.select_for_update(of=("self",)).values_list("pk"))
    case = ReviewCase.objects.select_for_update(of=("self",)).get(pk=case_id)
    # Read the report only now, because a decision may have been made before the lock was taken.
    return Report.objects.get(uuid=public_id), case
