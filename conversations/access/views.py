"""Pages for redeeming an invitation, joining a preview as a guest, and accepting the terms."""

import uuid
from urllib.parse import urlencode

from allauth.account.adapter import get_adapter
from allauth.account.utils import get_next_redirect_url
from django import forms
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from conversations.access.models import Invitation, Preview, TermsVersion
from conversations.access.services import guests, invitations, terms
from conversations.accounts.models import User
from conversations.common.refusals import Refused
from conversations.common.rendering.markdown import render_markdown
from conversations.limits import services as quotas

TRIES_PER_HOUR = 30
"""How many unusable codes one IP address may try in an hour."""
_BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


class CodeForm(forms.Form):
    """Ask for an invitation code."""

    code = forms.CharField(
        max_length=40, error_messages={"required": gettext_lazy("Enter your invitation code.")}
    )


def _account_of(request: HttpRequest) -> User | None:
    """Return the user who is signed in, or None for guests and visitors."""
    user = request.user
    if isinstance(user, User) and user.account_type != User.AccountType.GUEST:
        return user
    return None


def _next(request: HttpRequest) -> str:
    """Return the page of this site on which the person wants to continue, or an empty string."""
    return get_next_redirect_url(request) or ""


def _with_next(request: HttpRequest, address: str) -> str:
    return f"{address}?{urlencode({'next': _next(request)})}" if _next(request) else address


def _find(request: HttpRequest, code: str) -> Invitation:
    """Return the invitation with this code. Raises Refused if it can't be used or too many codes were tried."""
    now = timezone.now()
    try:
        return invitations.find(code, now=now)
    except Refused:
        key = quotas.key_of_address("code", get_adapter(request).get_client_ip(request))
        hour = now.replace(minute=0, second=0, microsecond=0)
        if not quotas.take(key, limit=TRIES_PER_HOUR, period_start=hour):
            raise Refused(_("Too many incorrect codes. Try again in an hour.")) from None
        raise


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest) -> HttpResponse:
    """Show the form for an invitation code."""
    form = CodeForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        try:
            invitation = _find(request, form.cleaned_data["code"])
        except Refused as error:
            form.add_error("code", str(error))
        else:
            return redirect(_with_next(request, reverse("join_by_link", args=[invitation.code])))
    context = {"form": form, "next": _next(request)}
    return render(request, "access/join.html", context, status=422 if form.errors else 200)


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def join_by_link(request: HttpRequest, code: str) -> HttpResponse:
    """Show an invitation. Signed-in users can redeem it; others are asked to sign up or sign in."""
    user = _account_of(request)
    try:
        invitation = _find(request, code)
        if request.method == "POST" and user is not None:
            invitations.redeem(user=user, code=code, now=timezone.now())
            return redirect(_next(request) or "chat")
    except Refused as error:
        form = CodeForm({"code": code})
        form.add_error("code", str(error))
        return render(request, "access/join.html", {"form": form, "next": _next(request)}, status=422)
    if request.method == "POST":
        raise Http404
    if user is None:
        request.session[invitations.SESSION_KEY] = invitation.code
    context = {
        "invitation": invitation,
        "preview": invitation.preview,
        "account": user,
        "next": _next(request),
        **_welcome(invitation.preview),
    }
    return render(request, "access/invitation.html", context)


def _welcome(preview: Preview | None) -> dict[str, str]:
    return {"welcome_html": render_markdown(preview.welcome) if preview and preview.welcome else ""}


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def preview(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """Show a preview that allows guests, and sign a guest in."""
    now = timezone.now()
    found = Preview.objects.running(now).filter(uuid=public_id, allows_guests=True).first()
    if found is None:
        raise Http404
    if request.user.is_authenticated:
        return redirect("chat")
    refusal = ""
    if request.method == "POST":
        try:
            guest = guests.create_guest(
                preview=public_id, address=get_adapter(request).get_client_ip(request), now=now
            )
        except Refused as error:
            refusal = str(error)
        else:
            login(request, guest, backend=_BACKEND)
            return redirect("chat")
    context = {"preview": found, "refusal": refusal, **_welcome(found)}
    return render(request, "access/preview.html", context, status=422 if refusal else 200)


@require_POST
def accept_terms(request: HttpRequest) -> HttpResponse:
    """Record that the user accepts the terms, and redirect to the page they asked for."""
    user = request.user
    assert isinstance(user, User)
    try:
        version = int(request.POST.get("version", ""))
        terms.accept_terms(user=user, version=version, now=timezone.now())
    except (ValueError, TermsVersion.DoesNotExist) as error:
        raise Http404 from error
    return redirect(_next(request) or "chat")
