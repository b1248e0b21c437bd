"""Django admin for the catalogue."""

from django.contrib import admin

from .models import ChatModel


@admin.register(ChatModel)
class ChatModelAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Models that people can choose."""

    list_display = (
        "label",
        "slug",
        "provider",
        "upstream_name",
        "context_window",
        "max_output_tokens",
        "enabled",
        "is_default",
    )
    list_filter = ("provider", "enabled", "is_default")
    search_fields = ("label", "slug", "upstream_name")
    prepopulated_fields = {"slug": ("label",)}
