"""What the page of a case shows, read for one member of staff. Nothing here writes."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q
from django.utils.translation import gettext as _

from conversations.generation import transcript
from conversations.models import (
    POLICIES,
    AccountNotice,
    Category,
    Message,
    Report,
    Rerun,
    ReviewCase,
    ReviewEvent,
    Snapshot,
    User,
)
from conversations.operations import reviewing
from conversations.rendering.markdown import render_markdown
from conversations.review import priority_at

from . import case_forms
from .evidence import facts_of, turns_of


@dataclass(frozen=True, slots=True)
class FiledReport:
    """A report, with what its reporter's earlier ones came to, and who it is where this staff was told."""

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
    """A line of the log."""

    event: ReviewEvent
    who: str
    facts: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class RerunResult:
    """A prompt that was run again, as far as it has come."""

    rerun: Rerun
    model: str
    status: str
    problem: str
    html: str
    is_open: bool


def read_page(
    case: ReviewCase, *, staff: User, now: dt.datetime, snapshot: str = "", bound: Any = None
) -> dict[str, Any]:
    """Return everything that the template shows. `bound` holds the forms with what was typed, by their verb."""
    bound = bound or {}
    snapshots = list(case.snapshots.order_by("-pk"))
    shown = next(
        (found for found in snapshots if str(found.pk) == snapshot), snapshots[0] if snapshots else None
    )
    reports = list(case.reports.select_related("reporter").order_by("-updated_at", "-pk"))
    revealed = _revealed(case, staff)
    events = list(case.events.select_related("report").order_by("-sequence"))
    is_held = (
        case.claimed_by is not None and case.claim_expires_at is not None and case.claim_expires_at > now
    )
    return {
        "case": case,
        "now": now,
        "priority": priority_at(sorts_at=case.sorts_at, now=now),
        "policy": POLICIES[case.category],
        "is_held": is_held,
        "is_mine": is_held and case.claimed_by == staff,
        "is_others": is_held and case.claimed_by != staff,
        **_evidence(snapshots, shown),
        "reports": _reports(case, reports, staff=staff, revealed=revealed, bound=bound),
        "subject": _subject(case, reports, staff=staff, revealed=revealed, now=now),
        "entries": [_entry(event) for event in events],
        "decisions": [_entry(event) for event in events if event.kind == ReviewEvent.Kind.DECIDED],
        "rerun": newest_rerun(case),
        "may": _rights(staff),
        "forms": _forms(case, staff=staff, bound=bound),
        "bound": bound,
    }


def _rights(staff: User) -> dict[str, bool]:
    names = ("claim", "decide", "assign", "rerun")
    rights = {name: staff.has_perm(f"conversations.{name}_reviewcase") for name in names}
    for name in ("suspend_user", "reveal_reporter", "read_conversation"):
        rights[name] = staff.has_perm(f"conversations.{name}")
    return rights


def _forms(case: ReviewCase, *, staff: User, bound: dict[str, Any]) -> dict[str, Any]:
    """Return one form for each verb: the one with what was typed, or an empty one."""
    forms: dict[str, Any] = {
        "note": lambda: case_forms.NoteForm(auto_id="note-%s"),
        "escalate": lambda: case_forms.EscalateForm(auto_id="escalate-%s"),
        "open": lambda: case_forms.ReadForm(auto_id="open-%s"),
        "decide": lambda: case_forms.DecisionForm(case=case, auto_id="decide-%s"),
    }
    if staff.has_perm("conversations.assign_reviewcase"):
        forms["assign"] = lambda: case_forms.AssignForm(reviewers=reviewing.reviewers(), auto_id="assign-%s")
    return {verb: bound.get(verb) or make() for verb, make in forms.items()}


def _evidence(snapshots: Sequence[Snapshot], shown: Snapshot | None) -> dict[str, Any]:
    content = shown.content if shown else {}
    turns = turns_of(content)
    return {
        "snapshots": snapshots,
        "snapshot": shown,
        "content": content,
        "turns": turns,
        "turns_above": turns[0].number - 1 if turns else 0,
        "facts": facts_of(content),
        "reported_turn": next((turn for turn in turns if turn.is_reported), None),
    }


def _revealed(case: ReviewCase, staff: User) -> set[int]:
    """Return the reports whose reporter this member of staff was told: `reviewing.has_revealed` for all at once."""
    if not staff.has_perm("conversations.reveal_reporter"):
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
            decided=Count("pk", filter=~Q(status=Report.Status.PENDING)),
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
        name = report.reporter.get_username() if report.reporter else _("The account was deleted.")
        is_pending = report.status == Report.Status.PENDING or report.appeal_status == Report.Appeal.PENDING
        filed.append(
            FiledReport(
                report=report,
                category=str(Category(report.category).label),
                **records.get(report.pseudonym, {"earlier": 0, "decided": 0, "upheld": 0}),
                is_revealed=is_revealed,
                name=name if is_revealed else "",
                may_be_asked=is_pending and staff.has_perm("conversations.claim_reviewcase"),
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

    People report answers in their own conversations, so the reported user may be the reporter: the name is shown to those
    who may see users, unless it would give away a reporter whom they were not told of.
    """
    user = case.subject
    if user is None:
        return None
    given_away = any(r.reporter_id == user.pk and r.pk not in revealed for r in reports)
    may_see = staff.has_perm("conversations.view_user") and not given_away
    cases = ReviewCase.objects.filter(subject=user).exclude(pk=case.pk)
    standing = Q(lifted_at__isnull=True)
    return {
        "short_id": str(user.uuid)[:8],
        "name": user.get_username() if may_see else "",
        "pk": user.pk if may_see else None,
        "is_suspended": user.is_suspended(now),
        "suspended_until": user.suspended_until,
        **cases.aggregate(
            cases=Count("pk"),
            waiting=Count("pk", filter=Q(status__in=ReviewCase.OPEN)),
            upheld=Count("pk", filter=Q(status=ReviewCase.Status.RESOLVED)),
        ),
        **AccountNotice.objects.filter(user=user).aggregate(
            warnings=Count("pk", filter=standing & Q(kind=AccountNotice.Kind.WARNING)),
            suspensions=Count("pk", filter=standing & Q(kind=AccountNotice.Kind.SUSPENSION)),
        ),
    }


def _entry(event: ReviewEvent) -> Entry:
    who = event.actor_name or str(event.details.get("by", "")) or _("the site")
    return Entry(event, who, [*_facts(event)])


def _facts(event: ReviewEvent) -> list[tuple[str, str]]:
    """Return what the log keeps beside the text of an event, in words."""
    names = {
        "category": _("Category"),
        "to": _("To"),
        "model": _("Model"),
        "reply": _("Reply"),
        "hidden": _("Answer taken out of view"),
        "vetted_text": _("Vetted text"),
        "warning": _("Warning"),
        "suspended": _("User suspended"),
        "suspension_days": _("Days"),
        "suspension_text": _("Told about the suspension"),
        "blocklist": _("Blocklist"),
        "evaluation_set": _("Added to the evaluation set"),
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
            value = value or _("nobody in particular")
        if value is True:
            facts.append((str(label), ""))
        elif value:
            facts.append((str(label), str(value)))
    return facts


def newest_rerun(case: ReviewCase) -> RerunResult | None:
    """Return the newest answer to the prompt that was run again."""
    rerun = case.reruns.select_related("conversation", "requested_by").order_by("-pk").first()
    return rerun_result(rerun) if rerun else None


def rerun_result(rerun: Rerun) -> RerunResult:
    """Return how far a rerun has come."""
    tip = rerun.conversation.head_id
    [entry] = transcript.read_entries([tip]) if tip else [None]
    generation = entry.generation if entry else None
    return RerunResult(
        rerun=rerun,
        model=generation.model.label if generation else "",
        status=str(generation.get_status_display()) if generation else "",
        problem=str(generation.get_error_code_display()) if generation and generation.error_code else "",
        html=render_markdown(entry.text) if entry else "",
        is_open=bool(entry and entry.is_open),
    )


def conversation_of(case: ReviewCase) -> uuid.UUID | None:
    """Return the public id of the conversation that a case is about, while there is one."""
    message: Message | None = case.message
    return message.conversation.uuid if message else None
