"""Read everything that the case page shows to a member of staff. Never writes."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q
from django.utils.translation import gettext as _

from conversations.accounts.models import AccountNotice, User
from conversations.chat.models import Message
from conversations.common.rendering import highlighting
from conversations.review.models import POLICIES, Category, Report, ReviewCase, ReviewEvent, Snapshot
from conversations.review.models.reports import CASE_IS_OPEN, REPORT_IS_DECIDED
from conversations.review.rules import priority_at
from conversations.review.services import effects, reviewing

from . import case_forms
from .evidence import facts_of, messages_of


@dataclass(frozen=True, slots=True)
class FiledReport:
    """A report with its reporter's track record, and their name if it was revealed to this member of staff."""

    report: Report
    category: str
    earlier: int
    decided: int
    upheld: int
    is_revealed: bool
    name: str
    may_be_asked: bool
    ask: case_forms.AskForm
    reveal: case_forms.RevealForm


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry in the log."""

    event: ReviewEvent
    who: str
    facts: list[tuple[str, str]]


@highlighting.shared_wait()
def read_page(
    case: ReviewCase, *, staff: User, now: dt.datetime, snapshot: str = "", bound: Any = None
) -> dict[str, Any]:
    """Return the template context of the case page. `bound` holds the submitted forms by verb."""
    bound = bound or {}
    snapshots = list(case.snapshots.order_by("-pk"))
    shown = next(
        (found for found in snapshots if str(found.pk) == snapshot), snapshots[0] if snapshots else None
    )
    reports = list(case.reports.select_related("reporter").order_by("-updated_at", "-pk"))
    revealed = _revealed(case, staff)
    events = list(case.events.select_related("report").order_by("-sequence"))
    return {
        "case": case,
        "now": now,
        "priority": priority_at(queue_key=case.queue_key, now=now),
        "policy": POLICIES[case.category],
        "is_mine": case.is_claimed_by(staff, now),
        "is_others": case.is_claimed_by_another(staff, now),
        **_evidence(snapshots, shown),
        "reports": _reports(case, reports, staff=staff, revealed=revealed, bound=bound),
        "subject": _subject(case, reports, staff=staff, revealed=revealed, now=now),
        "entries": [_entry(event) for event in events],
        "decisions": [_entry(event) for event in events if event.kind == ReviewEvent.Kind.DECIDED],
        "may": _rights(staff),
        "forms": _forms(case, staff=staff, bound=bound),
        "bound": bound,
    }


def _rights(staff: User) -> dict[str, bool]:
    names = ("claim", "decide", "assign")
    rights = {name: staff.has_perm(f"review.{name}_reviewcase") for name in names}
    for name in ("suspend_user", "reveal_reporter", "read_conversation"):
        rights[name] = staff.has_perm(f"review.{name}")
    return rights


def _forms(case: ReviewCase, *, staff: User, bound: dict[str, Any]) -> dict[str, Any]:
    """Return one form for each verb, either as submitted or empty."""
    forms: dict[str, Any] = {
        "note": lambda: case_forms.NoteForm(auto_id="note-%s"),
        "escalate": lambda: case_forms.EscalateForm(auto_id="escalate-%s"),
        "open": lambda: case_forms.ReadForm(auto_id="open-%s"),
        "decide": lambda: case_forms.DecisionForm(case=case, staff=staff, auto_id="decide-%s"),
    }
    if staff.has_perm("review.assign_reviewcase"):
        forms["assign"] = lambda: case_forms.AssignForm(reviewers=reviewing.reviewers(), auto_id="assign-%s")
    return {verb: bound.get(verb) or make() for verb, make in forms.items()}


def _evidence(snapshots: Sequence[Snapshot], shown: Snapshot | None) -> dict[str, Any]:
    content = shown.content if shown else {}
    transcript = messages_of(content)
    return {
        "snapshots": snapshots,
        "snapshot": shown,
        "content": content,
        "transcript": transcript,
        "messages_above": transcript[0].number - 1 if transcript else 0,
        "facts": facts_of(content),
        "reported_message": next((message for message in transcript if message.is_reported), None),
    }


def _revealed(case: ReviewCase, staff: User) -> set[int]:
    """Return the IDs of the reports whose reporter has been revealed to this member of staff, in one query."""
    if not staff.has_perm("review.reveal_reporter"):
        return set()
    told = case.events.filter(kind=ReviewEvent.Kind.REVEALED, actor=staff)
    return set(told.values_list("report_id", flat=True))


def _reports(
    case: ReviewCase, reports: Sequence[Report], *, staff: User, revealed: set[int], bound: dict[str, Any]
) -> list[FiledReport]:
    earlier = (
        Report.objects.filter(pseudonym__in={report.pseudonym for report in reports})
        .exclude(case=case)
        .values("pseudonym")
        .annotate(
            earlier=Count("pk"),
            decided=Count("pk", filter=REPORT_IS_DECIDED),
            upheld=Count("pk", filter=Q(status=Report.Status.UPHELD)),
        )
    )
    records: dict[str, dict[str, int]] = {
        row["pseudonym"]: {name: row[name] for name in ("earlier", "decided", "upheld")} for row in earlier
    }
    filed = []
    for report in reports:
        key = str(report.uuid)
        is_revealed = report.pk in revealed
        name = report.reporter.get_username() if report.reporter else _("This account has been deleted.")
        filed.append(
            FiledReport(
                report=report,
                category=str(Category(report.category).label),
                **records.get(report.pseudonym, {"earlier": 0, "decided": 0, "upheld": 0}),
                is_revealed=is_revealed,
                name=name if is_revealed else "",
                may_be_asked=report.is_waiting and staff.has_perm("review.claim_reviewcase"),
                ask=_of_report("ask", key, bound) or case_forms.AskForm(auto_id=f"ask-{key}-%s"),
                reveal=_of_report("reveal", key, bound) or case_forms.RevealForm(auto_id=f"reveal-{key}-%s"),
            )
        )
    return filed


def _of_report(verb: str, key: str, bound: dict[str, Any]) -> Any:
    form = bound.get(verb)
    return form if form is not None and form.data.get("report") == key else None


def _subject(
    case: ReviewCase, reports: Sequence[Report], *, staff: User, revealed: set[int], now: dt.datetime
) -> dict[str, Any] | None:
    """Return the history of the reported user.

    Staff who can view users see the name. The exception is a user who is also a reporter and hasn't been revealed to
    them, which is common because people report answers in their own conversations.
    """
    user = case.subject
    if user is None:
        return None
    given_away = any(r.reporter_id == user.pk and r.pk not in revealed for r in reports)
    may_see = staff.has_perm("accounts.view_user") and not given_away
    cases = ReviewCase.objects.filter(subject=user).exclude(pk=case.pk)
    return {
        "short_id": str(user.uuid)[:8],
        "name": user.get_username() if may_see else "",
        "pk": user.pk if may_see else None,
        "is_suspended": user.is_suspended(now),
        "suspended_until": user.suspended_until,
        **cases.aggregate(
            cases=Count("pk"),
            waiting=Count("pk", filter=CASE_IS_OPEN),
            upheld=Count("pk", filter=Q(status=ReviewCase.Status.RESOLVED)),
        ),
        **user.notices.in_force().aggregate(
            warnings=Count("pk", filter=Q(kind=AccountNotice.Kind.WARNING)),
            suspensions=Count("pk", filter=Q(kind=AccountNotice.Kind.SUSPENSION)),
        ),
    }


def _entry(event: ReviewEvent) -> Entry:
    who = event.actor_name or str(event.details.get("by", "")) or _("system")
    return Entry(event, who, [*_facts(event)])


def _facts(event: ReviewEvent) -> list[tuple[str, str]]:
    """Return the details of an event as pairs of label and value."""
    names = {
        "category": _("Category"),
        "to": _("Assigned to"),
        "model": _("Model"),
        "reply": _("Reply"),
        **{name: label for kind in effects.EFFECTS for name, label in kind.labels.items()},
    }
    facts = [
        (reference, str(Report.Status(verdict).label) if verdict in Report.Status.values else str(verdict))
        for reference, verdict in (event.details.get("reports") or {}).items()
    ]
    for name, label in names.items():
        value = event.details.get(name)
        if name == "category" and value in Category.values:
            value = Category(value).label
        if name == "to" and name in event.details:
            value = value or _("no one")
        if value is True:
            facts.append((str(label), ""))
        elif value:
            facts.append((str(label), str(value)))
    return facts


def conversation_of(case: ReviewCase) -> uuid.UUID | None:
    """Return the public ID of the conversation that a case is about, or None if there is none."""
    message: Message | None = case.message
    return message.conversation.uuid if message else None
