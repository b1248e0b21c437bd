"""Django admin for accounts. Other apps extend the user pages with `extend_user_admin`."""

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialApp, SocialToken
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from conversations.accounts.models import User


@admin.register(User)
class UserAdmin(DjangoUserAdmin):  # type: ignore[type-arg]
    """User accounts, with their type, suspension and public ID."""

    list_display = ("username", "email", "account_type", "is_active", "is_staff", "date_joined", "last_login")
    list_filter = ("account_type", "is_active", "is_staff", "is_superuser", "groups", "date_joined")
    search_fields = ("username", "email", "first_name", "last_name", "uuid")
    date_hierarchy = "date_joined"
    readonly_fields = ("uuid", "last_login", "date_joined", "suspended_at", "suspended_until")
    fieldsets = (
        *(DjangoUserAdmin.fieldsets or ()),
        (
            _("Suspension"),
            {
                "fields": ("suspended_at", "suspended_until"),
                "description": _("Set and lifted by decisions on review cases."),
            },
        ),
        (_("Public ID"), {"fields": ("uuid",)}),
    )

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # A query such as ?reports=5 would otherwise reveal who filed that report.
        relations = {relation.name for relation in User._meta.related_objects}
        return lookup.split("__")[0] not in relations and bool(super().lookup_allowed(lookup, value, request))

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[Any, Any], set[Any], list[Any]]:
        to_delete, counts, permissions, protected = super().get_deleted_objects(objs, request)
        # If an open case prevents deletion, show that rather than missing permissions.
        return to_delete, counts, set() if protected else permissions, protected


def extend_user_admin(extension: type) -> None:
    """Register users again with a mixin in front of their admin class, so that other apps can add to their pages."""
    current = type(admin.site.get_model_admin(User))
    admin.site.unregister(User)
    admin.site.register(User, type("UserAdmin", (extension, current), {"__module__": current.__module__}))


class AuthenticatorAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Second factors. Staff can remove one if its owner has lost their phone and recovery codes."""

    fields = ("user", "type", "created_at", "last_used_at")
    list_display = fields
    list_filter = ("type",)
    search_fields = ("user__username", "user__email")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Authenticator | None = None) -> bool:
        return False


def customise_admin(site: admin.AdminSite) -> None:
    """Hide the models that hold provider secrets, and show second factors without their secrets."""
    for model in (SocialApp, SocialToken, Authenticator):
        site.unregister(model)
    site.register(Authenticator, AuthenticatorAdmin)
