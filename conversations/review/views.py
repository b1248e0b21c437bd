"""Pages where users report problems, see the outcomes, answer questions and appeal."""

import uuid
from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.text import Truncator
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from conversations.access.requests import UserRequest
from conversations.chat.views import answer_or_404
from conversations.common.refusals import Refused
from conversations.common.requests import is_fragment
from conversations.review.models.reports import COMMENT_LENGTH

from . import rules
from .forms import ApplicationReportForm, ReportForm, TextForm
from .models import Report
from .services import reports, snapshots

REPORTS_PER_PAGE = 20
EXCERPT_LENGTH = 160


def _report_or_404(request: UserRequest, public_id: uuid.UUID) -> Report:
    visible = Report.objects.visible_to(request.user).select_related("case__message", "snapshot")
    report = visible.filter(uuid=public_id).first()
    if report is None:
        raise Http404
    return report


# --- Filing a report ---


@require_http_methods(["GET", "HEAD", "POST"])
def report_answer(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Show and handle the form for reporting an answer. For htmx, return it as a fragment to go below the answer."""
    message = answer_or_404(request, public_id)
    earlier = reports.pending_report(request.user, message)
    context = {"message": message, "earlier": earlier, "turns_around": snapshots.count_around(message)}
    if request.method != "POST":
        initial: dict[str, object] = {}
        if earlier:
            initial = {name: getattr(earlier, name) for name in ("category", "comment", "includes_context")}
        return _form(request, "report", ReportForm(initial=initial), **context)
    form = ReportForm(request.POST)
    if not form.is_valid():
        return _form(request, "report", form, **context)
    try:
        filed = reports.report_answer(
            reporter=request.user, message=public_id, now=timezone.now(), **form.cleaned_data
        )
    except Refused as error:
        form.add_error(None, str(error))
        return _form(request, "report", form, **context)
    return _thank(request, filed, is_update=earlier is not None)


@require_http_methods(["GET", "HEAD", "POST"])
def report_application(request: UserRequest) -> HttpResponse:
    """Show and handle the form for reporting a problem with the application."""
    if request.method != "POST":
        page = request.GET.get("page", "")[:200]
        return _form(request, "report_application", ApplicationReportForm(initial={"page": page}))
    form = ApplicationReportForm(request.POST)
    if not form.is_valid():
        return _form(request, "report_application", form)
    try:
        filed = reports.report_application(reporter=request.user, now=timezone.now(), **form.cleaned_data)
    except Refused as error:
        form.add_error(None, str(error))
        return _form(request, "report_application", form)
    return _thank(request, filed, is_update=False)


def _form(request: UserRequest, name: str, form: forms.Form, **context: Any) -> HttpResponse:
    """Return a page with this form, or only the form for htmx. A bound form gets status 422."""
    template = f"review/_{name}.html" if is_fragment(request) else f"review/{name}.html"
    values = {"form": form, "comment_length": COMMENT_LENGTH, **context}
    return render(request, template, values, status=422 if form.is_bound else 200)


def _thank(request: UserRequest, filed: Report, *, is_update: bool) -> HttpResponse:
    if not is_fragment(request):
        return redirect("report", filed.uuid)
    return render(request, "review/_thanks.html", {"report": filed, "is_update": is_update})


# --- Following up ---


@require_GET
def my_reports(request: UserRequest) -> HttpResponse:
    """List the user's reports, newest first. The replies of staff then count as seen."""
    now = timezone.now()
    mine = Report.objects.visible_to(request.user).select_related("case__message", "snapshot")
    page = Paginator(mine.order_by("-created_at", "-pk"), REPORTS_PER_PAGE).get_page(request.GET.get("page"))
    texts = reports.reported_texts(page)
    rows = [
        (report, Truncator(texts[report.pk] or "").chars(EXCERPT_LENGTH), rules.has_news(report))
        for report in page
    ]
    reports.mark_as_seen(reporter=request.user, now=now)
    return render(request, "review/list.html", {"page": page, "rows": rows})


@require_GET
def my_report(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Show one report, its status and the available actions. The replies of staff to it then count as seen."""
    now = timezone.now()
    report = _report_or_404(request, public_id)
    reports.mark_as_seen(reporter=request.user, report=public_id, now=now)
    return _report_page(request, report)


def _report_page(
    request: UserRequest, report: Report, *, form: TextForm | None = None, status: int = 200
) -> HttpResponse:
    ends_at = reports.appeal_ends_at(report)
    now = timezone.now()
    context = {
        "report": report,
        "form": form or TextForm(),
        "answer": reports.reported_texts([report])[report.pk],
        "page": report.snapshot.content.get("page", ""),
        "appeal_ends_at": ends_at if ends_at and ends_at >= now else None,
        "may_answer": report.awaits_reporter and report.case.is_open,
        "comment_length": COMMENT_LENGTH,
    }
    return render(request, "review/detail.html", context, status=status)


@require_POST
def appeal(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Appeal against a decision."""
    return _take_text(request, public_id, reports.appeal)


@require_POST
def reply(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Answer a question from staff."""
    return _take_text(request, public_id, reports.answer_question)


def _take_text(request: UserRequest, public_id: uuid.UUID, operation: Any) -> HttpResponse:
    report = _report_or_404(request, public_id)
    form = TextForm(request.POST)
    if form.is_valid():
        try:
            operation(
                reporter=request.user, report=public_id, text=form.cleaned_data["text"], now=timezone.now()
            )
        except Refused as error:
            form.add_error(None, str(error))
        else:
            return redirect("report", public_id)
    return _report_page(request, report, form=form, status=422)
