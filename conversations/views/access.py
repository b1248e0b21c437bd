"""Coming in: by a code or a link, as a guest of a preview, and past the first-use notice."""

import uuid

from allauth.account.adapter import get_adapter
from django import forms
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from conversations.models import Invitation, Preview, UseNotice, User
from conversations.operations import access, guests, invitations, quotas
from conversations.rendering.markdown import render_markdown

INVITATION = "invitation"
"""Where the session keeps the code that somebody came with, until they have an account."""
TRIES_PER_HOUR = 30
"""How many codes that do not exist may be tried from one address."""
_BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


class CodeForm(forms.Form):
    """A code as it was typed."""

    code = forms.CharField(
        max_length=40, error_messages={"required": gettext_lazy("Type the code of your invitation.")}
    )


def _account_of(request: HttpRequest) -> User | None:
    """Return the account that is signed in; a guest has none."""
    user = request.user
    if isinstance(user, User) and user.standing != User.Standing.GUEST:
        return user
    return None


def _find(request: HttpRequest, code: str) -> Invitation:
    """Return the invitation with this code. Raises UseRefused, also where too many were tried that do not exist."""
    now = timezone.now()
    try:
        return invitations.find(code, now=now)
    except access.UseRefused:
        key = quotas.key_of_address("code", get_adapter(request).get_client_ip(request))
        hour = now.replace(minute=0, second=0, microsecond=0)
        if not quotas.take(key, limit=TRIES_PER_HOUR, period_start=hour):
            raise access.UseRefused(_("Too many codes were tried. Try again in an hour.")) from None
        raise


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest) -> HttpResponse:
    """Ask for the code of an invitation."""
    form = CodeForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        try:
            invitation = _find(request, form.cleaned_data["code"])
        except access.UseRefused as error:
            form.add_error("code", str(error))
        else:
            return redirect("join_by_link", invitation.code)
    return render(
        request, "conversations/access/join.html", {"form": form}, status=422 if form.errors else 200
    )


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def join_by_link(request: HttpRequest, code: str) -> HttpResponse:
    """Show what an invitation is for; let in who has an account, and send the others to make one or to log in."""
    user = _account_of(request)
    try:
        invitation = _find(request, code)
        if request.method == "POST" and user is not None:
            invitations.redeem(user=user, code=code, now=timezone.now())
            return redirect("chat")
    except access.UseRefused as error:
        form = CodeForm({"code": code})
        form.add_error("code", str(error))
        return render(request, "conversations/access/join.html", {"form": form}, status=422)
    if request.method == "POST":
        raise Http404
    if user is None:
        request.session[INVITATION] = invitation.code
    context = {"invitation": invitation, "preview": invitation.preview, "account": user}
    return render(
        request, "conversations/access/invitation.html", {**context, **_welcome(invitation.preview)}
    )


def _welcome(preview: Preview | None) -> dict[str, str]:
    return {"welcome_html": render_markdown(preview.welcome) if preview and preview.welcome else ""}


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def preview(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """Show a preview that is open to guests, and let one in."""
    now = timezone.now()
    found = Preview.objects.running(now).filter(uuid=public_id, allows_guests=True).first()
    if found is None:
        raise Http404
    if request.user.is_authenticated:
        return redirect("chat")
    refusal = ""
    if request.method == "POST":
        try:
            guest = guests.begin_guest(
                preview=public_id, address=get_adapter(request).get_client_ip(request), now=now
            )
        except access.UseRefused as error:
            refusal = str(error)
        else:
            login(request, guest, backend=_BACKEND)
            return redirect("chat")
    context = {"preview": found, "refusal": refusal, **_welcome(found)}
    return render(request, "conversations/access/preview.html", context, status=422 if refusal else 200)


@require_POST
def accept_notice(request: HttpRequest) -> HttpResponse:
    """Note that the first-use notice was accepted, and go on to where the person was going."""
    user = request.user
    assert isinstance(user, User)
    try:
        version = int(request.POST.get("version", ""))
        access.accept_notice(user=user, version=version, now=timezone.now())
    except (ValueError, UseNotice.DoesNotExist) as error:
        raise Http404 from error
    return redirect("chat")
