"""Django admin for the evaluation set."""

import json
import uuid

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from conversations.accounts.models import User
from conversations.common.admin import ReadOnlyAdmin
from conversations.common.downloads import download
from conversations.common.refusals import Refused
from conversations.review.models import ReviewCase
from conversations.review.services import exports, reviewing

from .models import EvaluationItem, Rerun
from .rendering import rerun_result
from .selectors import evaluation_items
from .services import reruns


@admin.register(EvaluationItem)
class EvaluationItemAdmin(ReadOnlyAdmin):
    """Prompts with answers that staff judged."""

    list_display = ("uuid", "case", "category", "has_vetted_answer", "added_by", "created_at")
    list_filter = ("category", "created_at", ("vetted_answer", admin.EmptyFieldListFilter))
    list_select_related = ("case", "added_by")
    search_fields = ("uuid", "case__uuid")
    actions = ("export",)

    @admin.display(description=_("vetted text"), boolean=True)
    def has_vetted_answer(self, item: EvaluationItem) -> bool:
        return bool(item.vetted_answer)

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Return whether the user can export items."""
        return request.user.has_perm("review.export_reviewcase")

    @admin.action(description=_("Export selected items as JSON Lines"), permissions=["export"])
    def export(self, request: HttpRequest, queryset: QuerySet[EvaluationItem]) -> HttpResponseBase:
        assert isinstance(request.user, User)
        now = timezone.now()
        details = {"items": queryset.count()}
        exports.begin(staff=request.user, what="evaluation set", details=details, now=now)
        lines = (
            json.dumps(item, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            for item in evaluation_items(queryset)
        )
        name = f"evaluation-set-{now:%Y-%m-%d}.jsonl"
        return download(request, lines, filename=name, content_type="application/jsonl; charset=utf-8")

    # --- Prompts that are run again, from the page of a case ---

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "cases/<uuid:public_id>/run-again/",
                self.admin_site.admin_view(self.run_again),
                name="evaluation_run_again",
            ),
            path(
                "reruns/<uuid:public_id>/",
                self.admin_site.admin_view(self.rerun),
                name="evaluation_rerun",
            ),
            *super().get_urls(),
        ]

    @method_decorator(require_POST)
    def run_again(self, request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
        """Run the prompt of a case again, and go back to its page."""
        assert isinstance(request.user, User)
        reviewing.require(request.user, "rerun_reviewcase")
        found = get_object_or_404(ReviewCase, uuid=public_id)
        try:
            reruns.run_again(staff=request.user, case=public_id, now=timezone.now())
        except Refused as error:
            messages.error(request, str(error))
        return redirect(reverse("admin:review_reviewcase_change", args=[found.pk]) + "#rerun")

    @method_decorator(require_GET)
    def rerun(self, request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
        """Show how far a prompt that is run again has come, while its page asks for it."""
        assert isinstance(request.user, User)
        reviewing.require(request.user, "view_reviewcase")
        found = get_object_or_404(Rerun.objects.select_related("conversation"), uuid=public_id)
        return render(request, "admin/evaluation/_rerun.html", {"rerun": rerun_result(found)})
