"""The review queue in Django admin, and the URLs of all actions on cases."""

import datetime as dt
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Max, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_GET, require_POST

from conversations.common.admin import ReadOnlyAdmin
from conversations.review import rules
from conversations.review.models import Report, ReviewCase, Snapshot
from conversations.review.services import reviewing

from . import case_bulk, case_views
from .case_filters import AssigneeFilter, CategoryFilter, QueueFilter, StatusFilter
from .evidence import excerpt_of, read_conversation, search_by_id

CASES_PER_PAGE = 50


class Queue(ChangeList):
    """The list of cases. Reads the excerpts for its columns in two queries per page."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        found = list(self.result_list)
        newest = (
            Snapshot.objects.filter(case__in=[case.pk for case in found])
            .order_by()
            .values("case")
            .annotate(newest=Max("pk"))
            .values("newest")
        )
        contents = dict(Snapshot.objects.filter(pk__in=newest).values_list("case_id", "content"))
        told = dict(
            Report.objects.filter(case__in=[case.pk for case in found], case__message__isnull=True)
            .order_by("pk")
            .values_list("case_id", "comment")
        )
        now = timezone.now()
        for case in found:
            case.seen_at = now
            case.excerpt = excerpt_of(contents.get(case.pk, {}), comment=told.get(case.pk, ""))
        self.result_list = found


@admin.register(ReviewCase)
class ReviewCaseAdmin(ReadOnlyAdmin):
    """The review queue. Cases can't be added or deleted, and are changed only on the case page."""

    list_display = ("number", "priority", "what", "answer", "reported", "age", "state", "held_by")
    list_display_links = ("number",)
    list_filter = (QueueFilter, CategoryFilter, StatusFilter, AssigneeFilter)
    list_per_page = CASES_PER_PAGE
    list_max_show_all = CASES_PER_PAGE
    list_select_related = ("claimed_by", "assignee")
    show_facets = admin.ShowFacets.ALWAYS
    show_full_result_count = False
    search_fields = ("uuid",)
    search_help_text = gettext_lazy("Case number, report reference number, pseudonym or public ID")
    ordering = ("queue_key",)
    actions = ("bulk_decide",)
    change_list_template = "admin/review/reviewcase/queue.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return Queue

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return search_by_id(queryset, search_term), False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # A URL such as ?subject=5 would reveal which cases concern that person.
        return lookup.split("__")[0] != "subject" and super().lookup_allowed(lookup, value, request)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may make bulk decisions."""
        return request.user.has_perm("review.decide_reviewcase")

    # --- Columns ---

    @admin.display(description=gettext_lazy("number"), ordering="pk")
    def number(self, case: Any) -> str:
        return f"#{case.pk}"

    @admin.display(description=gettext_lazy("priority"), ordering="queue_key")
    def priority(self, case: Any) -> SafeString:
        points = rules.priority_at(queue_key=case.queue_key, now=case.seen_at) if case.is_open else "–"
        return _labelled(_("Priority"), points)

    @admin.display(description=gettext_lazy("category"), ordering="category")
    def what(self, case: Any) -> str:
        return str(case.get_category_display())

    @admin.display(description=gettext_lazy("reported answer"))
    def answer(self, case: Any) -> SafeString:
        return format_html('<span class="excerpt" dir="auto">{}</span>', case.excerpt)

    @admin.display(description=gettext_lazy("reports, reporters"))
    def reported(self, case: Any) -> SafeString:
        return _labelled(_("Reports, reporters:"), f"{case.reports_pending}, {case.reporters}")

    @admin.display(description=gettext_lazy("waiting"), ordering="opened_at")
    def age(self, case: Any) -> SafeString:
        until = case.closed_at or case.seen_at
        return format_html('<span class="age">{}</span>', timesince(case.waiting_since, until, depth=1))

    @admin.display(description=gettext_lazy("status"), ordering="status")
    def state(self, case: Any) -> SafeString:
        again = format_html(' <span class="mark">{}</span>', _("reopened")) if case.reopened_at else ""
        return format_html(
            '<span class="mark mark--{}">{}</span>{}', case.status, case.get_status_display(), again
        )

    @admin.display(description=gettext_lazy("claimed by"))
    def held_by(self, case: Any) -> str:
        if case.has_live_claim(case.seen_at):
            return str(case.claimed_by.get_username())
        return f"→ {case.assignee.get_username()}" if case.assignee and case.is_open else "–"

    # --- Pages ---

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: Any, name: str) -> URLPattern:
            found: URLPattern = path(
                route, self.admin_site.admin_view(view), name=f"review_reviewcase_{name}"
            )
            return found

        return [
            at("next/", self.take_next, "next"),
            at("news/", self.news, "news"),
            at("bulk/", self.decide_many, "bulk"),
            at("conversations/<uuid:public_id>/read/", self.read, "read"),
            at("<uuid:public_id>/extend/", self.extend, "extend"),
            at("<uuid:public_id>/preview/", self.preview, "preview"),
            *super().get_urls(),
        ]

    def require_view(self, request: HttpRequest) -> None:
        """Raise PermissionDenied if the user may not view cases."""
        if not self.has_view_permission(request):
            raise PermissionDenied

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        self.require_view(request)
        now = timezone.now()
        if request.method == "GET":
            reviewing.expire_claims(now)
        return super().changelist_view(
            request,
            {
                "title": _("Review queue"),
                "seen": now.isoformat(),
                "may_claim": self._may_claim(request),
                **(extra_context or {}),
            },
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        self.require_view(request)
        case = self.get_object(request, unquote(object_id))
        if case is None:
            return self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined,no-any-return]
                request, self.opts, object_id
            )
        return case_views.case_page_of(request, case.pk, site=self.admin_site)

    @method_decorator(require_GET)
    def news(self, request: HttpRequest) -> HttpResponse:
        """Announce how many cases were opened since the page loaded. Returns status 204 if the page already shows that."""
        self.require_view(request)
        seen = _time(request.GET.get("seen", ""))
        came = ReviewCase.objects.open().filter(Q(opened_at__gt=seen) | Q(reopened_at__gt=seen)).count()
        if str(came) == request.GET.get("known", "0"):
            return HttpResponse(status=204)
        said = ngettext("%(count)d new case", "%(count)d new cases", came) % {"count": came}
        return render(request, "admin/review/reviewcase/_news.html", {"count": came, "said": said})

    @method_decorator(require_POST)
    def take_next(self, request: HttpRequest) -> HttpResponse:
        """Claim the highest-priority case and redirect to its page."""
        self.require_view(request)
        return case_views.take_next(request)

    @method_decorator(require_POST)
    def extend(self, request: HttpRequest, public_id: Any) -> HttpResponse:
        self.require_view(request)
        return case_views.extend(request, public_id)

    @method_decorator(require_POST)
    def preview(self, request: HttpRequest, public_id: Any) -> HttpResponse:
        self.require_view(request)
        return case_views.preview(request, public_id)

    def read(self, request: HttpRequest, public_id: Any) -> HttpResponse:
        """Show a full conversation to staff who give a reason."""
        return read_conversation(request, public_id, site=self.admin_site)

    @method_decorator(require_POST)
    def decide_many(self, request: HttpRequest) -> HttpResponse:
        self.require_view(request)
        return case_bulk.decide_many(request, site=self.admin_site)

    @admin.action(description=gettext_lazy("Decide selected cases in bulk"), permissions=["decide"])
    def bulk_decide(self, request: HttpRequest, queryset: QuerySet[ReviewCase]) -> HttpResponse:
        return case_bulk.begin(request, queryset, site=self.admin_site)

    def _may_claim(self, request: HttpRequest) -> bool:
        return request.user.has_perm("review.claim_reviewcase")


def _labelled(label: str, value: Any) -> SafeString:
    """Return a cell that includes the name of its column, for narrow screens that show no columns."""
    return format_html('<span class="queue-label">{}</span> {}', label, value)


def _time(given: str) -> dt.datetime:
    """Return the submitted load time of a page, or the current time if it is invalid."""
    try:
        found = parse_datetime(given)
    except ValueError:
        found = None
    return found if found is not None and timezone.is_aware(found) else timezone.now()
