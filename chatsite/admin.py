"""The Django admin site of the project, with its sections in the order of daily work."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.apps import AdminConfig
from django.http import HttpRequest

ORDER = ("review", "chat", "access", "accounts", "catalogue", "evaluation", "branding")


class Site(admin.AdminSite):
    """An admin site whose index lists daily tasks first and the sections of libraries last."""

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        found = super().get_app_list(request, app_label)
        positions = {label: position for position, label in enumerate(ORDER)}
        return sorted(found, key=lambda app: positions.get(app["app_label"], len(ORDER)))


class Config(AdminConfig):
    """Make `admin.site` an instance of this site."""

    default_site = "chatsite.admin.Site"
