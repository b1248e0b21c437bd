"""Views of the case page. Each action calls one service and shows the page again."""

import dataclasses
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from conversations.accounts.models import User
from conversations.common.refusals import Refused
from conversations.review.models import ReviewCase
from conversations.review.services import decisions, reviewing

from . import case_forms, case_page

PAGE = "admin/review/reviewcase/case.html"


def _staff(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _find(**lookup: Any) -> ReviewCase:
    related = ("message__conversation", "subject", "claimed_by", "assignee")
    return get_object_or_404(ReviewCase.objects.select_related(*related), **lookup)


def _to_page(case: ReviewCase) -> HttpResponse:
    return redirect("admin:review_reviewcase_change", case.pk)


def case_page_of(request: HttpRequest, pk: int, *, site: AdminSite) -> HttpResponse:
    """Show a case, or perform the action of a submitted form."""
    case = _find(pk=pk)
    if request.method in {"GET", "HEAD"}:
        return _show(request, case, site=site)
    if request.method != "POST":
        return HttpResponseNotAllowed(["GET", "POST"])
    verb = request.POST.get("verb", "")
    if verb not in VERBS:
        return _show(
            request,
            case,
            site=site,
            problem=_("Unknown action. Reload the page, then try again."),
            status=400,
        )
    form = _bind(verb, request, case)
    if not form.is_valid():
        return _show(request, case, site=site, bound={verb: form}, status=422)
    try:
        return VERBS[verb].do(request, case, form)
    except _Preview as preview:
        return _show(request, case, site=site, bound={"decide": form}, **preview.context)
    except Refused as error:
        # Show the current state of the case, and keep what was typed in the form.
        case = _find(pk=pk)
        bound = {verb: _bind(verb, request, case)}
        status = 409 if isinstance(error, reviewing.StaleCase) else 422
        return _show(request, case, site=site, bound=bound, problem=str(error), status=status)


def _show(
    request: HttpRequest,
    case: ReviewCase,
    *,
    site: AdminSite,
    bound: Mapping[str, forms.Form] | None = None,
    status: int = 200,
    **context: Any,
) -> HttpResponse:
    bound = dict(bound or {})
    for verb in DECIDING & bound.keys():
        bound["decide"] = bound.pop(verb)
    page = case_page.read_page(
        case,
        staff=_staff(request),
        now=timezone.now(),
        snapshot=request.GET.get("snapshot", ""),
        bound=bound,
    )
    title = _("Case %(number)s") % {"number": case}
    return render(
        request, PAGE, {**site.each_context(request), "title": title, **page, **context}, status=status
    )


# --- The verbs ---


class _Preview(Exception):
    """Raised to show a preview of a decision instead of making it."""

    def __init__(self, context: dict[str, Any]) -> None:
        super().__init__()
        self.context = context


def _claim(request: HttpRequest, case: ReviewCase, form: Any) -> HttpResponse:
    reviewing.claim(
        staff=_staff(request), case=case.uuid, version=form.cleaned_data["version"], now=timezone.now()
    )
    return _to_page(case)


def _release(request: HttpRequest, case: ReviewCase, form: Any) -> HttpResponse:
    reviewing.release(
        staff=_staff(request), case=case.uuid, version=form.cleaned_data["version"], now=timezone.now()
    )
    messages.success(request, _("Case %(number)s has been returned to the queue.") % {"number": case})
    return _to_page(case)


def _note(request: HttpRequest, case: ReviewCase, form: Any) -> HttpResponse:
    reviewing.note(staff=_staff(request), case=case.uuid, text=form.cleaned_data["text"], now=timezone.now())
    return _to_page(case)


def _escalate(request: HttpRequest, case: ReviewCase, form: Any) -> HttpResponse:
    given = form.cleaned_data
    reviewing.escalate(
        staff=_staff(request),
        case=case.uuid,
        version=given["version"],
        reason=given["reason"],
        now=timezone.now(),
    )
    messages.success(request, _("Case %(number)s has been escalated.") % {"number": case})
    return _to_page(case)


def _assign(request: HttpRequest, case: ReviewCase, form: Any) -> HttpResponse:
    given = form.cleaned_data
    reviewing.assign(
        staff=_staff(request),
        case=case.uuid,
        version=given["version"],
        to=form.reviewer,
        reason=given["reason"],
        now=timezone.now(),
    )
    name = form.reviewer.get_username() if form.reviewer else _("no one")
    messages.success(
        request, _("Case %(number)s has been assigned to %(name)s.") % {"number": case, "name": name}
    )
    return _to_page(case)


def _ask(request: HttpRequest, case: ReviewCase, form: Any) -> HttpResponse:
    given = form.cleaned_data
    reviewing.ask_reporter(
        staff=_staff(request),
        case=case.uuid,
        version=given["version"],
        report=given["report"],
        question=given["question"],
        now=timezone.now(),
    )
    messages.success(request, _("Your question has been sent to the reporter."))
    return _to_page(case)


def _reveal(request: HttpRequest, case: ReviewCase, form: Any) -> HttpResponse:
    given = form.cleaned_data
    reviewing.require(_staff(request), "reveal_reporter")
    if not case.reports.filter(uuid=given["report"]).exists():
        raise Refused(_("This report belongs to another case."))
    reviewing.reveal_reporter(
        staff=_staff(request), report=given["report"], reason=given["reason"], now=timezone.now()
    )
    messages.success(request, _("The reporter has been revealed to you. This has been logged."))
    return _to_page(case)


def _decide(request: HttpRequest, case: ReviewCase, form: Any) -> HttpResponse:
    decisions.decide(
        staff=_staff(request),
        case=case.uuid,
        version=form.cleaned_data["version"],
        decision=form.decision(),
        now=timezone.now(),
    )
    messages.success(request, _("Case %(number)s has been decided.") % {"number": case})
    return _to_page(case)


def _decide_and_next(request: HttpRequest, case: ReviewCase, form: Any) -> HttpResponse:
    _decide(request, case, form)
    return take_next(request)


def _preview(request: HttpRequest, case: ReviewCase, form: Any) -> HttpResponse:
    raise _Preview(what_it_would_do(request, case, form))


@dataclasses.dataclass(frozen=True, slots=True)
class Verb:
    """An action on the case page: its form, and the function that performs it."""

    form: type[forms.Form]
    do: Callable[[HttpRequest, ReviewCase, Any], HttpResponse]


VERBS: dict[str, Verb] = {
    "claim": Verb(case_forms.VerbForm, _claim),
    "release": Verb(case_forms.VerbForm, _release),
    "note": Verb(case_forms.NoteForm, _note),
    "escalate": Verb(case_forms.EscalateForm, _escalate),
    "assign": Verb(case_forms.AssignForm, _assign),
    "ask": Verb(case_forms.AskForm, _ask),
    "reveal": Verb(case_forms.RevealForm, _reveal),
    "decide": Verb(case_forms.DecisionForm, _decide),
    "decide-next": Verb(case_forms.DecisionForm, _decide_and_next),
    "preview": Verb(case_forms.DecisionForm, _preview),
}


DECIDING = {verb for verb, of in VERBS.items() if of.form is case_forms.DecisionForm}


def _bind(verb: str, request: HttpRequest, case: ReviewCase) -> forms.Form:
    """Return the submitted form of a verb. Raises PermissionDenied if the user may not perform the action."""
    staff = _staff(request)
    more: dict[str, Any] = {"auto_id": f"{'decide' if verb in DECIDING else verb}-%s"}
    if verb in DECIDING:
        reviewing.require(staff, "decide_reviewcase")
        more |= {"case": case, "staff": staff}
    elif verb == "assign":
        reviewing.require(staff, "assign_reviewcase")
        more["reviewers"] = reviewing.reviewers()
    elif verb == "reveal":
        reviewing.require(staff, "reveal_reporter")
    else:
        reviewing.require(staff, "claim_reviewcase")
    if verb in {"ask", "reveal"}:
        more["auto_id"] = f"{verb}-{request.POST.get('report', '')}-%s"
    return VERBS[verb].form(request.POST, **more)


# --- Requests by scripts, and the next case ---


def take_next(request: HttpRequest) -> HttpResponse:
    """Claim the highest-priority case and redirect to its page, or to the queue if no case is available."""
    case = reviewing.claim_next(staff=_staff(request), now=timezone.now())
    if case is None:
        messages.info(request, _("No cases are available."))
        return redirect("admin:review_reviewcase_changelist")
    return _to_page(case)


def extend(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """Extend the user's claim and return its new end, or status 409 if the claim has lapsed."""
    until = reviewing.extend_claim(staff=_staff(request), case=public_id, now=timezone.now())
    if until is None:
        return JsonResponse({"until": None}, status=409)
    return JsonResponse({"until": until.isoformat()})


def preview(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """Show what a decision would do while its form is being filled in."""
    case = _find(uuid=public_id)
    form = _bind("preview", request, case)
    form.is_valid()
    context = what_it_would_do(request, case, form)
    return render(request, "admin/review/reviewcase/_preview.html", context)


def what_it_would_do(request: HttpRequest, case: ReviewCase, form: Any) -> dict[str, Any]:
    """Return the context of the preview template. Raises PermissionDenied."""
    decision = form.decision()
    if not decision.outcome:
        return {"preview": [], "preview_problem": ""}
    has_reason = bool(decision.reason.strip())
    # A placeholder allows a preview before the reason has been written.
    decision = dataclasses.replace(decision, reason=decision.reason if has_reason else "–")
    try:
        said = decisions.preview(decision, case=case, staff=_staff(request))
    except PermissionDenied:
        raise
    except Refused as error:
        return {"preview": [], "preview_problem": str(error)}
    problem = "" if has_reason else _("Give a reason before you decide.")
    return {"preview": said, "preview_problem": problem}
