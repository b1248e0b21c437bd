"""Reporting a problem, what came of it, and what one thinks of an answer."""

import uuid
from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.text import Truncator
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from conversations.forms import ApplicationReportForm, FeedbackForm, ReportForm, TextForm
from conversations.models import AccountNotice, Message, Report
from conversations.models.reports import COMMENT_LENGTH
from conversations.operations import feedback as feedback_operations
from conversations.operations import notices, reports, snapshots

from .chat import UserRequest

REPORTS_PER_PAGE = 20
EXCERPT_LENGTH = 160


def _is_fragment(request: HttpRequest) -> bool:
    return bool(request.headers.get("HX-Request"))


def _message_or_404(request: UserRequest, public_id: uuid.UUID) -> Message:
    visible = Message.objects.visible_to(request.user).select_related("conversation")
    message = visible.filter(uuid=public_id, role=Message.Role.ASSISTANT).first()
    if message is None:
        raise Http404
    return message


def _report_or_404(request: UserRequest, public_id: uuid.UUID) -> Report:
    visible = Report.objects.visible_to(request.user).select_related("case__message", "snapshot")
    report = visible.filter(uuid=public_id).first()
    if report is None:
        raise Http404
    return report


# --- To report ---


@require_http_methods(["GET", "HEAD", "POST"])
def report_answer(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Show the form to report an answer, and take it: as a fragment below the answer where htmx asks for it."""
    message = _message_or_404(request, public_id)
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
    except reports.ReportRefused as error:
        form.add_error(None, str(error))
        return _form(request, "report", form, **context)
    return _thank(request, filed, is_update=earlier is not None)


@require_http_methods(["GET", "HEAD", "POST"])
def report_application(request: UserRequest) -> HttpResponse:
    """Show the form to report a problem with the application, and take it."""
    if request.method != "POST":
        page = request.GET.get("page", "")[:200]
        return _form(request, "report_application", ApplicationReportForm(initial={"page": page}))
    form = ApplicationReportForm(request.POST)
    if not form.is_valid():
        return _form(request, "report_application", form)
    try:
        filed = reports.report_application(reporter=request.user, now=timezone.now(), **form.cleaned_data)
    except reports.ReportRefused as error:
        form.add_error(None, str(error))
        return _form(request, "report_application", form)
    return _thank(request, filed, is_update=False)


def _form(request: UserRequest, name: str, form: forms.Form, **context: Any) -> HttpResponse:
    """Return a page with this form, or the form alone for htmx; 422 with what was typed where it is refused."""
    template = (
        f"conversations/reports/_{name}.html"
        if _is_fragment(request)
        else f"conversations/reports/{name}.html"
    )
    values = {"form": form, "comment_length": COMMENT_LENGTH, **context}
    return render(request, template, values, status=422 if form.is_bound else 200)


def _thank(request: UserRequest, filed: Report, *, is_update: bool) -> HttpResponse:
    if not _is_fragment(request):
        return redirect("report", filed.uuid)
    return render(request, "conversations/reports/_thanks.html", {"report": filed, "is_update": is_update})


# --- What came of it ---


@require_GET
def my_reports(request: UserRequest) -> HttpResponse:
    """List what one reported, newest first."""
    mine = Report.objects.visible_to(request.user).select_related("case__message", "snapshot")
    page = Paginator(mine.order_by("-created_at", "-pk"), REPORTS_PER_PAGE).get_page(request.GET.get("page"))
    texts = reports.reported_texts(page)
    rows = [(report, Truncator(texts[report.pk] or "").chars(EXCERPT_LENGTH)) for report in page]
    return render(request, "conversations/reports/list.html", {"page": page, "rows": rows})


@require_GET
def my_report(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Show one report: what it was about, how it stands, and what one may do about it."""
    return _report_page(request, _report_or_404(request, public_id))


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
        "may_answer": bool(report.question and not report.answer and report.case.is_open),
        "comment_length": COMMENT_LENGTH,
    }
    return render(request, "conversations/reports/detail.html", context, status=status)


@require_POST
def appeal(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Ask that a decision is looked at again."""
    return _take_text(request, public_id, reports.appeal)


@require_POST
def reply(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Give the information that staff asked for."""
    return _take_text(request, public_id, reports.answer_question)


def _take_text(request: UserRequest, public_id: uuid.UUID, operation: Any) -> HttpResponse:
    report = _report_or_404(request, public_id)
    form = TextForm(request.POST)
    if form.is_valid():
        try:
            operation(
                reporter=request.user, report=public_id, text=form.cleaned_data["text"], now=timezone.now()
            )
        except reports.ReportRefused as error:
            form.add_error(None, str(error))
        else:
            return redirect("report", public_id)
    return _report_page(request, report, form=form, status=422)


# --- Thumbs and notices ---


@require_POST
def feedback(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Keep a thumb up or down, with a reason or without; 0 takes it back."""
    message = _message_or_404(request, public_id)
    form = FeedbackForm(request.POST)
    if message.is_hidden or not form.is_valid():
        raise Http404
    kept = feedback_operations.rate(
        user=request.user,
        message=public_id,
        rating=form.cleaned_data["rating"] or None,
        reason=form.cleaned_data["reason"],
        now=timezone.now(),
    )
    if not _is_fragment(request):
        return redirect("conversation", message.conversation.uuid)
    return render(request, "conversations/_feedback.html", {"message": message, "feedback": kept})


@require_POST
def acknowledge(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Note that a notice was read."""
    try:
        notices.acknowledge_notice(user=request.user, notice=public_id, now=timezone.now())
    except AccountNotice.DoesNotExist as error:
        raise Http404 from error
    if not _is_fragment(request):
        return redirect("chat")
    return HttpResponse()
