"""Django admin for the name and logo of the site."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from . import services
from .forms import BrandingForm
from .models import Branding


@admin.register(Branding)
class BrandingAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The name and logo: a single row, created when the page is first opened."""

    form = BrandingForm
    fields = ("name", "logo_file", "dark_logo_file", "shows_name", "logo_alt")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        row, _created = Branding.objects.get_or_create(pk=1)
        return redirect("admin:branding_branding_change", row.pk)

    def save_model(self, request: HttpRequest, obj: Branding, form: Any, change: bool) -> None:
        services.save_branding(branding=obj, logos=form.logos())
