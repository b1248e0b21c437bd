"""An admin page that finds the user behind a pseudonymous user ID."""

from functools import partial

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from conversations.accounts.admin import UserAdmin, extend_user_admin
from conversations.accounts.models import User
from conversations.chat.generation.pseudonymous_id import find_user
from conversations.review.models import ReviewEvent
from conversations.review.services import review_log


class TraceForm(forms.Form):
    """A pseudonymous user ID from a provider, and the reason for looking it up."""

    identifier = forms.CharField(label=gettext_lazy("Pseudonymous user ID"), max_length=64)
    reason = forms.CharField(
        label=gettext_lazy("Reason"), max_length=1_000, widget=forms.Textarea(attrs={"rows": 3, "cols": 60})
    )


def trace_page(request: HttpRequest, *, site: admin.AdminSite) -> HttpResponse:
    """Find the user behind a pseudonymous user ID, and record the look-up and its reason in the review log."""
    staff = request.user
    assert isinstance(staff, User)
    if not staff.has_perm("accounts.trace_pseudonymous_id"):
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
        "title": _("Find the user behind a pseudonymous ID"),
        "form": form,
        "found": found,
        "is_done": is_done,
        "opts": User._meta,
    }
    return render(request, "admin/review/trace.html", context)


class _Tracing(UserAdmin):
    """The look-up page, under the list of users."""

    def get_urls(self) -> list[URLPattern]:
        trace = path(
            "trace/",
            self.admin_site.admin_view(partial(trace_page, site=self.admin_site)),
            name="accounts_user_trace",
        )
        return [trace, *super().get_urls()]


extend_user_admin(_Tracing)
