"""Filters for the queue. Each needs only one aggregate query for its counts."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from conversations.accounts.models import User
from conversations.review.models import Category, ReviewCase
from conversations.review.models.reports import CASE_IS_OPEN, claim_is_live


def conditions(staff: Any, now: dt.datetime) -> dict[str, Q]:
    """Return the query condition for each part of the queue, as this member of staff sees it."""
    return {
        "waiting": CASE_IS_OPEN,
        "mine": CASE_IS_OPEN & claim_is_live(now) & Q(claimed_by=staff),
        "assigned": CASE_IS_OPEN & Q(assignee=staff),
        "escalated": Q(status=ReviewCase.Status.ESCALATED),
        "closed": Q(status__in=[ReviewCase.Status.RESOLVED, ReviewCase.Status.DISMISSED]),
        "all": Q(),
    }


class QueueFilter(admin.SimpleListFilter):
    """Filter by part of the queue. Shows waiting cases unless something else is chosen."""

    title = _("queue")
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("waiting", _("Waiting")),
            ("mine", _("Mine")),
            ("assigned", _("Assigned to me")),
            ("escalated", _("Escalated")),
            ("closed", _("Closed")),
            ("all", _("All")),
        ]

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.conditions = conditions(request.user, timezone.now())
        given = self.used_parameters.get(self.parameter_name)
        self.is_given = given in self.conditions
        # A search or a status filter covers closed cases too.
        looks_further = bool(request.GET.get("q") or request.GET.get("status"))
        self.chosen = str(given) if self.is_given else ("all" if looks_further else "waiting")

    def value(self) -> str:
        return self.chosen

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(self.conditions[self.chosen])

    def get_facet_counts(self, pk_attname: str, filtered_qs: QuerySet[Any]) -> dict[str, Any]:
        wanted = [self.conditions[str(name)] for name, _label in self.lookup_choices]
        return {
            f"{index}__c": Count(pk_attname, filter=condition) if condition else Count(pk_attname)
            for index, condition in enumerate(wanted)
        }

    def choices(self, changelist: Any) -> Iterator[Any]:
        # Without the first one, "All", which Django adds: the default here is what waits.
        choices = super().choices(changelist)
        next(choices)
        return choices


class GroupedFilter(admin.SimpleListFilter):
    """Filter by the value of a field, counting all values with a single GROUP BY."""

    field = ""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        known = {str(value) for value, _label in self.lookup_choices}
        value = self.value()
        return queryset if value not in known else self.having(queryset, str(value))

    def having(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        """Return the cases with this value."""
        return queryset.filter(**{self.field: value})

    def counted(self, changelist: Any) -> QuerySet[Any]:
        """Return the cases to count: those that match all other filters."""
        found: QuerySet[Any] = changelist.get_queryset(
            self.request, exclude_parameters=self.expected_parameters()
        )
        return found

    def get_facet_queryset(self, changelist: Any) -> dict[str, int]:
        groups = self.counted(changelist).order_by().values_list(self.field).annotate(Count("pk"))
        counts = {self.name_of(value): count for value, count in groups}
        return {
            f"{index}__c": counts.get(str(value), 0)
            for index, (value, _label) in enumerate(self.lookup_choices)
        }

    def name_of(self, value: Any) -> str:
        """Return the field's value as it appears in the URL."""
        return str(value)


class CategoryFilter(GroupedFilter):
    """Filter by category."""

    title = _("category")
    parameter_name = field = "category"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(Category.choices)


class StatusFilter(GroupedFilter):
    """Filter by status. Counts closed cases too, because choosing a status also shows those."""

    title = _("status")
    parameter_name = field = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(ReviewCase.Status.choices)

    def counted(self, changelist: Any) -> QuerySet[Any]:
        if "queue" in self.request.GET or changelist.query:
            return super().counted(changelist)
        cases: QuerySet[Any] = changelist.root_queryset
        for spec in changelist.filter_specs:
            if not isinstance(spec, QueueFilter | StatusFilter):
                cases = spec.queryset(self.request, cases)
        return cases


class AssigneeFilter(GroupedFilter):
    """Filter by assignee."""

    title = _("assigned to")
    parameter_name = "assignee"
    field = "assignee"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        # Django creates the filters again for each count, so the staff list is cached on the request.
        if not hasattr(request, "_assignees"):
            staff = User.objects.filter(is_staff=True, is_active=True).order_by("username")
            request._assignees = list(staff.values_list("pk", "username"))
        return [("nobody", _("No one")), *((str(pk), name) for pk, name in request._assignees)]

    def having(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset.filter(assignee=None if value == "nobody" else int(value))

    def name_of(self, value: Any) -> str:
        return "nobody" if value is None else str(value)
