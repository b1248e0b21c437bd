"""Base classes for Django admin pages."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """An admin page for evidence, which people with permission may view but no one may change."""

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [field.name for field in self.opts.fields if field.name not in {"id", *(self.exclude or ())}]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        # Listed explicitly to include fields that no form can edit, such as the public ID.
        return self.get_fields(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class EvidenceInline(admin.TabularInline):  # type: ignore[type-arg]
    """Read-only rows of evidence on the page of their parent object."""

    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class PseudonymousAdmin(ReadOnlyAdmin):
    """An admin page for evidence that neither shows nor can be filtered by the person it came from."""

    hides = ""

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> Any:
        return (self.hides,)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [name for name in super().get_fields(request, obj) if name != self.hides]

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        # Otherwise a URL such as ?reporter=5 would reveal which rows belong to that person.
        return lookup.split("__")[0] != self.hides and super().lookup_allowed(lookup, value, request)
