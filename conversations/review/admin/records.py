"""Admin pages for reports, the review log, reply presets, the blocklist and account notices."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from conversations.accounts.models import AccountNotice, User
from conversations.common.admin import PseudonymousAdmin, ReadOnlyAdmin
from conversations.review.models import BlocklistEntry, ReplyPreset, Report, ReviewEvent

from . import figures


@admin.register(Report)
class ReportAdmin(PseudonymousAdmin):
    """Reports, by reference number and pseudonym. Staff can reveal a reporter on the case page if they give a reason."""

    hides = "reporter"
    list_display = (
        "reference",
        "pseudonym",
        "case",
        "category",
        "status",
        "appeal_status",
        "created_at",
        "decided_at",
    )
    list_filter = ("status", "appeal_status", "category", "created_at")
    list_select_related = ("case",)
    search_fields = ("reference", "pseudonym", "uuid", "case__uuid")
    date_hierarchy = "created_at"
    show_full_result_count = False


@admin.register(ReviewEvent)
class ReviewEventAdmin(ReadOnlyAdmin):
    """The review log, read-only."""

    list_display = ("sequence", "at", "kind", "case", "outcome", "is_overturn", "actor_name")
    list_filter = ("kind", "outcome", "is_overturn", "at")
    list_select_related = ("case",)
    search_fields = ("=actor_name", "case__uuid", "report__reference")
    search_help_text = _("Reviewer name, case public ID or report reference number")
    ordering = ("-sequence",)
    show_full_result_count = False

    def get_urls(self) -> list[URLPattern]:
        def show(request: HttpRequest) -> HttpResponseBase:
            return figures.figures_page(request, site=self.admin_site)

        wrap = self.admin_site.admin_view
        return [
            path("figures/", wrap(show), name="review_figures"),
            path("figures/export/", wrap(figures.export), name="review_export"),
            *super().get_urls(),
        ]


@admin.register(ReplyPreset)
class ReplyPresetAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Prewritten replies to reporters."""

    list_display = ("title", "outcome", "position", "is_enabled")
    list_filter = ("outcome", "is_enabled")
    search_fields = ("title", "text")


@admin.register(BlocklistEntry)
class BlocklistEntryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Blocklist entries."""

    list_display = ("text", "note", "case", "added_by", "created_at")
    list_select_related = ("case", "added_by")
    search_fields = ("text", "note")
    fields = ("text", "note", "case", "added_by", "created_at")
    readonly_fields = ("case", "added_by", "created_at")
    date_hierarchy = "created_at"

    def save_model(self, request: HttpRequest, obj: BlocklistEntry, form: Any, change: bool) -> None:
        if not change:
            assert isinstance(request.user, User)
            obj.added_by, obj.created_at = request.user, timezone.now()
        super().save_model(request, obj, form, change)


@admin.register(AccountNotice)
class AccountNoticeAdmin(ReadOnlyAdmin):
    """Warnings and suspensions, as shown to users."""

    list_display = ("kind", "user", "case", "created_at", "ends_at", "acknowledged_at", "lifted_at")
    list_filter = ("kind", "created_at", ("lifted_at", admin.EmptyFieldListFilter))
    list_select_related = ("user",)
    search_fields = ("uuid", "user__username", "cases__uuid")

    def get_queryset(self, request: HttpRequest) -> QuerySet[AccountNotice]:
        found: QuerySet[AccountNotice] = super().get_queryset(request)
        return found.prefetch_related("cases")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [*super().get_fields(request, obj), "case"]

    @admin.display(description=_("review case"))
    def case(self, notice: AccountNotice) -> str:
        return ", ".join(str(case) for case in notice.cases.all())
