"""Django admin for the site as a whole: sign-up mode, approval of users, and the terms of use."""

from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext_lazy, ngettext

from conversations.access import rules, selectors
from conversations.access.models import (
    SiteAccess,
    TermsAcceptance,
    TermsVersion,
)
from conversations.access.services import terms
from conversations.access.services.approvals import approve
from conversations.accounts.admin import UserAdmin, extend_user_admin
from conversations.accounts.models import User
from conversations.common.admin import ReadOnlyAdmin


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


@admin.register(TermsVersion)
class TermsVersionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Versions of the terms of use. A published version can't be edited; changes create a new version."""

    list_display = ("version", "published_at", "accepted_by")
    fields = ("text",)
    ordering = ("-version",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[TermsVersion]:
        counted = super().get_queryset(request).annotate(_accepted=Count("acceptances"))
        return cast(QuerySet[TermsVersion], counted)

    @admin.display(description=gettext_lazy("users who accepted"))
    def accepted_by(self, terms: Any) -> int:
        return int(terms._accepted)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        newest = selectors.terms_in_force()
        return {"text": newest.text if newest else rules.DEFAULT_TERMS}

    def save_model(self, request: HttpRequest, obj: TermsVersion, form: Any, change: bool) -> None:
        made = terms.publish_terms(text=obj.text, now=timezone.now())
        obj.pk, obj.version = made.pk, made.version

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(TermsAcceptance)
class TermsAcceptanceAdmin(ReadOnlyAdmin):
    """Records of who accepted which version, and when."""

    list_display = ("user", "terms", "accepted_at")
    list_filter = ("terms", "accepted_at")
    search_fields = ("user__username", "user__email", "user__uuid")
    list_select_related = ("user", "terms")
