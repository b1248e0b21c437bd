"""Django admin of what the review keeps: its log, reports, and what decisions leave behind."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from conversations.models import (
    AccountNotice,
    BlocklistEntry,
    EvaluationItem,
    Feedback,
    Generation,
    ReplyPreset,
    Report,
    ReviewEvent,
    User,
)
from conversations.operations import exports

from . import figures
from .chat import ReadOnlyAdmin
from .downloads import download


class PseudonymousAdmin(ReadOnlyAdmin):
    """Evidence that does not say who it comes from, and is not found by that either."""

    hides = ""

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> Any:
        return (self.hides,)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [name for name in super().get_fields(request, obj) if name != self.hides]

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        # An address such as ?reporter=5 would otherwise tell which ones are of that person.
        return lookup.split("__")[0] != self.hides and super().lookup_allowed(lookup, value, request)


@admin.register(Report)
class ReportAdmin(PseudonymousAdmin):
    """Reports, by reference number and pseudonym. Who filed one is said in its case, for a stated reason."""

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
    """The log of the review. It is only ever added to, and by what it tells of."""

    list_display = ("sequence", "at", "kind", "case", "outcome", "is_overturn", "actor_name")
    list_filter = ("kind", "outcome", "is_overturn", "at")
    list_select_related = ("case",)
    search_fields = ("=actor_name", "case__uuid", "report__reference")
    search_help_text = _("Name of a reviewer, public id of a case, or reference number of a report")
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
    """Replies that staff wrote beforehand."""

    list_display = ("title", "outcome", "position", "is_enabled")
    list_filter = ("outcome", "is_enabled")
    search_fields = ("title", "text")


@admin.register(BlocklistEntry)
class BlocklistEntryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Wordings that are kept out."""

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


@admin.register(EvaluationItem)
class EvaluationItemAdmin(ReadOnlyAdmin):
    """Prompts with answers that were judged."""

    list_display = ("uuid", "case", "category", "has_vetted_answer", "added_by", "created_at")
    list_filter = ("category", "created_at", ("vetted_answer", admin.EmptyFieldListFilter))
    list_select_related = ("case", "added_by")
    search_fields = ("uuid", "case__uuid")
    actions = ("export",)

    @admin.display(description=_("vetted answer"), boolean=True)
    def has_vetted_answer(self, item: EvaluationItem) -> bool:
        return bool(item.vetted_answer)

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Whether the export is offered."""
        return request.user.has_perm("conversations.export_reviewcase")

    @admin.action(description=_("Export the selected items as JSON lines"), permissions=["export"])
    def export(self, request: HttpRequest, queryset: QuerySet[EvaluationItem]) -> HttpResponseBase:
        assert isinstance(request.user, User)
        now = timezone.now()
        details = {"items": queryset.count()}
        exports.begin(staff=request.user, what="evaluation set", details=details, now=now)
        lines = (
            json.dumps(item, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            for item in exports.evaluation_items(queryset)
        )
        name = f"evaluation-set-{now:%Y-%m-%d}.jsonl"
        return download(request, lines, filename=name, content_type="application/jsonl; charset=utf-8")


@admin.register(AccountNotice)
class AccountNoticeAdmin(ReadOnlyAdmin):
    """What staff told users about their accounts."""

    list_display = ("kind", "user", "case", "created_at", "ends_at", "acknowledged_at", "lifted_at")
    list_filter = ("kind", "created_at", ("lifted_at", admin.EmptyFieldListFilter))
    list_select_related = ("user", "case")
    search_fields = ("uuid", "user__username", "case__uuid")


@admin.register(Feedback)
class FeedbackAdmin(PseudonymousAdmin):
    """Thumbs, counted beside the filters. Whose they are is nobody's business."""

    hides = "user"
    list_display = ("rating_mark", "reason", "of_model", "created_at")
    list_filter = ("rating", "reason", "created_at")
    show_facets = admin.ShowFacets.ALWAYS
    date_hierarchy = "created_at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Feedback]:
        newest = Generation.objects.filter(message=OuterRef("message")).order_by("-pk")
        found: QuerySet[Feedback] = super().get_queryset(request)
        return found.annotate(_model=Subquery(newest.values("model__label")[:1]))

    @admin.display(description=_("rating"), ordering="rating")
    def rating_mark(self, feedback: Feedback) -> SafeString:
        sign = "👍" if feedback.rating == Feedback.Rating.UP else "👎"
        return format_html('<span aria-hidden="true">{}</span> {}', sign, feedback.get_rating_display())

    @admin.display(description=_("model"))
    def of_model(self, feedback: Any) -> str:
        return feedback._model or "–"
