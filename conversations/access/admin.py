"""Django admin for access: sign-up mode, previews, invitations, memberships and the terms of use."""

from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminSplitDateTime
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import validate_email
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from conversations.access import rules, selectors
from conversations.access.models import (
    Invitation,
    Membership,
    NoticeAcceptance,
    Preview,
    Redemption,
    SiteAccess,
    UseNotice,
)
from conversations.access.services import invitations, terms
from conversations.access.services.approvals import approve
from conversations.accounts.admin import UserAdmin, extend_user_admin
from conversations.accounts.models import User
from conversations.common import csv_cells
from conversations.common.admin import EvidenceInline, ReadOnlyAdmin
from conversations.common.downloads import download

MAX_ADDRESSES = 500


def address_of(request: HttpRequest, name: str, *arguments: object) -> str:
    """Return the absolute URL of a page."""
    return request.build_absolute_uri(reverse(name, args=arguments))


class _Approval(UserAdmin):
    """Add the action that approves pending users."""

    actions = ("approve",)

    def has_approve_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.approve_user")

    @admin.action(description=gettext_lazy("Approve selected users"), permissions=["approve"])
    def approve(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        count = sum(approve(user=user) for user in chosen)
        said = ngettext("%(count)d user approved.", "%(count)d users approved.", count)
        messages.success(request, said % {"count": count})


extend_user_admin(_Approval)


@admin.register(SiteAccess)
class SiteAccessAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The sign-up mode: a single row, created when the page is first opened."""

    fields = ("signup",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        row, _created = SiteAccess.objects.get_or_create(pk=1)
        return redirect("admin:access_siteaccess_change", row.pk)


@admin.register(UseNotice)
class UseNoticeAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Versions of the terms of use. A published version can't be edited; changes create a new version."""

    list_display = ("version", "published_at", "accepted_by")
    fields = ("text",)
    ordering = ("-version",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[UseNotice]:
        counted = super().get_queryset(request).annotate(_accepted=Count("acceptances"))
        return cast(QuerySet[UseNotice], counted)

    @admin.display(description=gettext_lazy("users who accepted"))
    def accepted_by(self, notice: Any) -> int:
        return int(notice._accepted)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        newest = selectors.notice_in_force()
        return {"text": newest.text if newest else rules.FIRST_NOTICE}

    def save_model(self, request: HttpRequest, obj: UseNotice, form: Any, change: bool) -> None:
        made = terms.publish_notice(text=obj.text, now=timezone.now())
        obj.pk, obj.version = made.pk, made.version

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(NoticeAcceptance)
class NoticeAcceptanceAdmin(ReadOnlyAdmin):
    """Records of who accepted which version, and when."""

    list_display = ("user", "notice", "accepted_at")
    list_filter = ("notice", "accepted_at")
    search_fields = ("user__username", "user__email", "user__uuid")
    list_select_related = ("user", "notice")


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


@admin.register(Preview)
class PreviewAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Previews, and the invitations to them."""

    list_display = ("name", "starts_at", "ends_at", "seats_taken", "guests", "is_enabled")
    list_filter = ("is_enabled", "allows_guests", "ends_at")
    search_fields = ("name", "uuid")
    filter_horizontal = ("chat_models",)
    readonly_fields = ("time_zone", "guest_address", "created_at")
    change_form_template = "admin/access/preview/change_form.html"
    fieldsets = (
        (None, {"fields": ("name", "welcome", "is_enabled")}),
        (gettext_lazy("Schedule"), {"fields": ("time_zone", "starts_at", "ends_at")}),
        (
            gettext_lazy("Access and limits"),
            {"fields": ("seats", "email_domains", "messages_total", "messages_per_day", "chat_models")},
        ),
        (gettext_lazy("Guests"), {"fields": ("allows_guests", "guest_messages", "guest_address")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Preview]:
        is_guest = Q(memberships__user__standing=User.Standing.GUEST)
        counted = (
            super()
            .get_queryset(request)
            .annotate(
                _members=Count("memberships", filter=Q(memberships__ended_at__isnull=True) & ~is_guest),
                _guests=Count("memberships", filter=is_guest),
            )
        )
        return cast(QuerySet[Preview], counted)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        self._request = request
        return super().get_form(request, obj, change=change, **kwargs)

    @admin.display(description=gettext_lazy("seats taken"))
    def seats_taken(self, preview: Any) -> str:
        return f"{preview._members} / {preview.seats}" if preview.seats is not None else str(preview._members)

    @admin.display(description=gettext_lazy("guests"))
    def guests(self, preview: Any) -> str:
        return str(preview._guests) if preview.allows_guests else "–"

    @admin.display(description=gettext_lazy("time zone"))
    def time_zone(self, preview: Preview) -> str:
        return timezone.get_current_timezone_name()

    @admin.display(description=gettext_lazy("guest link"))
    def guest_address(self, preview: Preview) -> SafeString | str:
        if preview._state.adding:
            return "–"
        return format_html("<code>{}</code>", address_of(self._request, "preview", preview.uuid))

    def get_urls(self) -> list[URLPattern]:
        invite = path(
            "<int:object_id>/invite/",
            self.admin_site.admin_view(self.invite),
            name="access_preview_invite",
        )
        return [invite, *super().get_urls()]

    def invite(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Create invitations to a preview."""
        if not request.user.has_perm("access.add_invitation"):
            raise PermissionDenied
        preview = Preview.objects.filter(pk=object_id).first()
        if preview is None:
            raise Http404
        return invite_page(request, preview=preview, site=self.admin_site)


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


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    """Who takes part in which preview, and how many messages they have used."""

    list_display = ("user", "preview", "joined_at", "ended_at", "messages_used", "invitation")
    list_filter = ("preview", ("ended_at", admin.EmptyFieldListFilter))
    search_fields = ("user__username", "user__email", "user__uuid", "invitation__code")
    list_select_related = ("user", "preview", "invitation")
    actions = ("end",)

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("access.change_membership")

    @admin.action(description=gettext_lazy("End selected memberships"), permissions=["end"])
    def end(self, request: HttpRequest, chosen: QuerySet[Membership]) -> None:
        ended = chosen.filter(ended_at__isnull=True).update(ended_at=timezone.now())
        messages.success(
            request,
            ngettext("%(count)d membership ended.", "%(count)d memberships ended.", ended) % {"count": ended},
        )
