"""Django admin of feedback."""

from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from conversations.chat.models import Feedback, Generation
from conversations.common.admin import PseudonymousAdmin


@admin.register(Feedback)
class FeedbackAdmin(PseudonymousAdmin):
    """Thumbs up and down, with counts in the filters. Their authors stay hidden."""

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
