"""Django admin for previews and memberships."""

from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy, ngettext

from conversations.access.models import (
    Membership,
    Preview,
)
from conversations.accounts.models import User
from conversations.common.admin import ReadOnlyAdmin

from .invitations import address_of, invite_page


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
        is_guest = Q(memberships__user__account_type=User.AccountType.GUEST)
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
