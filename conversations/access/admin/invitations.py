"""Django admin for invitations."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminSplitDateTime
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import validate_email
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from conversations.access.models import (
    Invitation,
    Preview,
    Redemption,
)
from conversations.access.services import invitations
from conversations.accounts.models import User
from conversations.common import csv_cells
from conversations.common.admin import EvidenceInline
from conversations.common.downloads import download

MAX_ADDRESSES = 500


def address_of(request: HttpRequest, name: str, *arguments: object) -> str:
    """Return the absolute URL of a page."""
    return request.build_absolute_uri(reverse(name, args=arguments))


class InvitationsForm(forms.Form):
    """Ask how many codes to create, or for the addresses that get one each."""

    count = forms.IntegerField(
        label=gettext_lazy("Number of codes"), min_value=1, max_value=invitations.MAX_BATCH, initial=1
    )
    uses_allowed = forms.IntegerField(
        label=gettext_lazy("Uses per code"), min_value=1, max_value=100_000, initial=1
    )
    expires_at = forms.SplitDateTimeField(
        label=gettext_lazy("Expires at"), required=False, widget=AdminSplitDateTime
    )
    label = forms.CharField(
        label=gettext_lazy("Label"),
        max_length=80,
        required=False,
        help_text=gettext_lazy("Only staff see this."),
    )
    emails = forms.CharField(
        label=gettext_lazy("Email addresses"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 60}),
        help_text=gettext_lazy(
            "One per line. Each address gets its own invitation; the number of codes above is ignored."
        ),
    )

    def clean_emails(self) -> list[str]:
        addresses = list(dict.fromkeys(self.cleaned_data["emails"].replace(",", " ").split()))
        if len(addresses) > MAX_ADDRESSES:
            raise ValidationError(
                _("Enter at most %(count)d addresses at a time.") % {"count": MAX_ADDRESSES}
            )
        for address in addresses:
            try:
                validate_email(address)
            except ValidationError:
                raise ValidationError(
                    _("%(address)s is not a valid email address.") % {"address": address}
                ) from None
        return addresses


def invite_page(request: HttpRequest, *, preview: Preview | None, site: admin.AdminSite) -> HttpResponse:
    """Show the form for invitations, create them, and redirect to the list."""
    staff = request.user
    assert isinstance(staff, User)
    form = InvitationsForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        made = invitations.create_invitations(staff=staff, preview=preview, **form.cleaned_data)
        said = ngettext("%(count)d invitation created.", "%(count)d invitations created.", len(made))
        messages.success(request, said % {"count": len(made)})
        ids = ",".join(str(invitation.pk) for invitation in made[:MAX_ADDRESSES])
        return redirect(f"{reverse('admin:access_invitation_changelist')}?pk__in={ids}")
    context = {
        **site.each_context(request),
        "title": _("Create invitations"),
        "form": form,
        "preview": preview,
        "opts": Preview._meta,
        "media": form.media,
    }
    status = 422 if form.is_bound else 200
    return render(request, "admin/access/preview/invite.html", context, status=status)


class RedemptionInline(EvidenceInline):
    """Show who used an invitation, and when."""

    model = Redemption
    fields = readonly_fields = ("user", "redeemed_at")


@admin.register(Invitation)
class InvitationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Invitations to a preview or to the site, with who used them and actions to revoke, resend and export."""

    list_display = (
        "shown_code",
        "preview",
        "label",
        "email",
        "used",
        "expires_at",
        "revoked_at",
        "sent_at",
        "created_at",
    )
    list_filter = ("preview", ("revoked_at", admin.EmptyFieldListFilter), "created_at")
    search_fields = ("code", "label", "email", "redemptions__user__username")
    list_select_related = ("preview",)
    date_hierarchy = "created_at"
    fields = ("preview", "shown_code", "link", "label", "email", "used", "uses_allowed", "expires_at")
    readonly_fields = ("preview", "shown_code", "link", "email", "used")
    inlines = (RedemptionInline,)
    actions = ("revoke", "revoke_and_end", "send_again", "export", "print_sheet")
    ordering = ("-created_at", "-pk")

    def get_urls(self) -> list[URLPattern]:
        add = path("add/", self.admin_site.admin_view(self.add_many), name="access_invitation_add")
        return [add, *super().get_urls()]

    def add_many(self, request: HttpRequest) -> HttpResponse:
        """Create invitations to the site, without a preview."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        return invite_page(request, preview=None, site=self.admin_site)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "pk__in" or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Keep revoked invitations: they record who joined through them.
        return False

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        self._request = request
        return super().get_form(request, obj, change=change, **kwargs)

    @admin.display(description=gettext_lazy("code"), ordering="code")
    def shown_code(self, invitation: Invitation) -> str:
        return invitation.shown_code

    @admin.display(description=gettext_lazy("used"), ordering="uses")
    def used(self, invitation: Invitation) -> str:
        return f"{invitation.uses} / {invitation.uses_allowed}"

    @admin.display(description=gettext_lazy("link"))
    def link(self, invitation: Invitation) -> SafeString:
        return format_html("<code>{}</code>", address_of(self._request, "join_by_link", invitation.code))

    @admin.action(description=gettext_lazy("Revoke invitations"), permissions=["change"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[Invitation]) -> None:
        self._revoke(request, chosen, ends_memberships=False)

    @admin.action(
        description=gettext_lazy("Revoke invitations and end access for people who used them"),
        permissions=["change"],
    )
    def revoke_and_end(self, request: HttpRequest, chosen: QuerySet[Invitation]) -> None:
        self._revoke(request, chosen, ends_memberships=True)

    def _revoke(self, request: HttpRequest, chosen: QuerySet[Invitation], *, ends_memberships: bool) -> None:
        now = timezone.now()
        ended = sum(
            invitations.revoke(invitation=invitation, ends_memberships=ends_memberships, now=now)
            for invitation in chosen
        )
        said = _("Invitations revoked. Memberships ended: %(count)d.") if ended else _("Invitations revoked.")
        messages.success(request, said % {"count": ended} if ended else said)

    @admin.action(description=gettext_lazy("Resend by email"), permissions=["change"])
    def send_again(self, request: HttpRequest, chosen: QuerySet[Invitation]) -> None:
        addressed = chosen.exclude(email="")
        for invitation in addressed:
            invitations.send(invitation)
        said = ngettext("%(count)d email is being sent.", "%(count)d emails are being sent.", len(addressed))
        messages.success(request, said % {"count": len(addressed)})

    @admin.action(description=gettext_lazy("Download as CSV"), permissions=["view"])
    def export(self, request: HttpRequest, chosen: QuerySet[Invitation]) -> Any:
        head = ("code", "link", "preview", "label", "email", "uses", "uses_allowed", "expires_at", "used_by")
        lines = [csv_cells.line(head)]
        for found in chosen.prefetch_related("redemptions__user"):
            used_by = " ".join(use.user.get_username() for use in found.redemptions.all())
            cells: list[csv_cells.Cell] = [
                found.shown_code,
                address_of(request, "join_by_link", found.code),
                found.preview.name if found.preview else "",
                found.label,
                found.email,
                found.uses,
                found.uses_allowed,
                found.expires_at,
                used_by,
            ]
            lines.append(csv_cells.line(cells))
        return download(
            request,
            [csv_cells.BOM, *lines],
            filename="invitations.csv",
            content_type="text/csv; charset=utf-8",
        )

    @admin.action(description=gettext_lazy("Print"), permissions=["view"])
    def print_sheet(self, request: HttpRequest, chosen: QuerySet[Invitation]) -> HttpResponse:
        cards = [(found, address_of(request, "join_by_link", found.code)) for found in chosen]
        return render(request, "admin/access/invitation/sheet.html", {"cards": cards})
