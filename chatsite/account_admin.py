"""What Django admin shows of django-allauth's tables: no keys and no secrets, and providers come from settings alone."""

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialApp, SocialToken
from django.contrib import admin
from django.http import HttpRequest


class AuthenticatorAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Second factors, so that staff can remove one of somebody who lost their phone and their recovery codes."""

    fields = ("user", "type", "created_at", "last_used_at")
    list_display = fields
    list_filter = ("type",)
    search_fields = ("user__username", "user__email")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Authenticator | None = None) -> bool:
        return False


def arrange(site: admin.AdminSite) -> None:
    """Take out what holds secrets of providers, and show second factors without theirs."""
    for model in (SocialApp, SocialToken, Authenticator):
        site.unregister(model)
    site.register(Authenticator, AuthenticatorAdmin)
