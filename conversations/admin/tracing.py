"""Finding the user behind an id that a model's service knows."""

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from conversations.generation.end_user import find_user
from conversations.models import ReviewEvent, User
from conversations.operations import review_log


class TraceForm(forms.Form):
    """An end-user id that a provider complains about, and why it is looked up."""

    identifier = forms.CharField(label=gettext_lazy("End-user id"), max_length=64)
    reason = forms.CharField(
        label=gettext_lazy("Reason"), max_length=1_000, widget=forms.Textarea(attrs={"rows": 3, "cols": 60})
    )


def trace_page(request: HttpRequest, *, site: admin.AdminSite) -> HttpResponse:
    """Find the user behind an end-user id; the look-up is in the review log, with its reason."""
    staff = request.user
    assert isinstance(staff, User)
    if not staff.has_perm("conversations.trace_end_user"):
        raise PermissionDenied
    form = TraceForm(request.POST or None)
    found: User | None = None
    is_done = request.method == "POST" and form.is_valid()
    if is_done:
        identifier = form.cleaned_data["identifier"]
        found = find_user(identifier)
        review_log.append(
            kind=ReviewEvent.Kind.TRACED,
            now=timezone.now(),
            actor=staff,
            text=form.cleaned_data["reason"],
            details={"identifier": identifier, "found": str(found.uuid) if found else ""},
        )
    context = {
        **site.each_context(request),
        "title": _("Find the user behind an end-user id"),
        "form": form,
        "found": found,
        "is_done": is_done,
        "opts": User._meta,
    }
    return render(request, "admin/conversations/user/trace.html", context)
