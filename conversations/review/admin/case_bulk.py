"""Bulk decisions: preview one decision on many cases, then make it."""

from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from conversations.accounts.models import User
from conversations.review.models import ReviewCase
from conversations.review.services import decisions, reviewing

from .case_forms import BulkForm

MAX_CASES = 500


def begin(request: HttpRequest, cases: QuerySet[ReviewCase], *, site: AdminSite) -> HttpResponse:
    """Show the form for the selected cases, with their current versions."""
    staff = request.user
    assert isinstance(staff, User)
    reviewing.require(staff, "decide_reviewcase")
    count = cases.count()
    chosen = list(cases.order_by("queue_key", "pk")[:MAX_CASES])
    form = BulkForm(initial={"cases": " ".join(f"{case.uuid}:{case.version}" for case in chosen)})
    return _page(request, form, site=site, cases=chosen, beyond=count - len(chosen))


def decide_many(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """Preview the decision on these cases, or make it once the user has seen the preview."""
    staff = request.user
    assert isinstance(staff, User)
    reviewing.require(staff, "decide_reviewcase")
    form = BulkForm(request.POST)
    is_valid = form.is_valid()
    versions = form.cleaned_data.get("cases", {})
    cases = list(
        ReviewCase.objects.filter(uuid__in=list(versions)[:MAX_CASES])
        .select_related("message__conversation", "subject", "claimed_by")
        .order_by("queue_key", "pk")
    )
    if not is_valid:
        return _page(request, form, site=site, cases=cases, status=422)
    now, decision = timezone.now(), form.decision()
    if "decide" not in request.POST:
        same = [case for case in cases if case.version == versions[case.uuid]]
        changed = [case for case in cases if case.version != versions[case.uuid]]
        tried = decisions.decide_many(staff=staff, cases=same, decision=decision, now=now, dry_run=True)
        skipped = [
            *tried.skipped,
            *((case, _("It has changed since you selected it.")) for case in changed),
        ]
        result = decisions.BulkResult(tried.decided, skipped)
        return _page(request, form, site=site, cases=cases, would=result)
    for case in cases:
        case.version = versions[case.uuid]
    done = decisions.decide_many(staff=staff, cases=cases, decision=decision, now=now, dry_run=False)
    said = ngettext("%(count)d case was decided.", "%(count)d cases were decided.", done.decided)
    messages.success(request, said % {"count": done.decided})
    if not done.skipped:
        return redirect("admin:review_reviewcase_changelist")
    return _page(request, form, site=site, cases=cases, done=done)


def _page(
    request: HttpRequest, form: BulkForm, *, site: AdminSite, status: int = 200, **context: Any
) -> HttpResponse:
    return render(
        request,
        "admin/review/reviewcase/bulk_decide.html",
        {
            **site.each_context(request),
            "title": _("Bulk decision"),
            "form": form,
            "would": None,
            "done": None,
            **context,
        },
        status=status,
    )
