"""The review statistics page and its CSV exports."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_GET, require_POST

from conversations.accounts.models import User
from conversations.common import csv_cells
from conversations.common.downloads import download
from conversations.review.models import Category
from conversations.review.selectors import figures
from conversations.review.selectors.figures import DurationStats, Figures
from conversations.review.selectors.periods import Period
from conversations.review.services import exports, reviewing

from . import plots

DAYS = (7, 30, 90)
USUAL_DAYS = 30
MAX_DAYS = 366
LONGEST_IN_HOURS = 100


class DateInput(forms.DateInput):
    """The browser's native date field, which always submits ISO 8601."""

    input_type = "date"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%d")


class PeriodForm(forms.Form):
    """A range of days, including the first and the last."""

    first = forms.DateField(label=gettext_lazy("From"), widget=DateInput, input_formats=["%Y-%m-%d"])
    last = forms.DateField(label=gettext_lazy("To"), widget=DateInput, input_formats=["%Y-%m-%d"])

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        first, last = given.get("first"), given.get("last")
        if first and last and first > last:
            raise forms.ValidationError(_("The start date must not be after the end date."))
        if first and last and (last - first).days >= MAX_DAYS:
            raise forms.ValidationError(
                _("The period is too long. Choose at most %(days)d days.") % {"days": MAX_DAYS}
            )
        return given

    @property
    def period(self) -> Period:
        """Return the chosen period."""
        return Period(self.cleaned_data["first"], self.cleaned_data["last"])


@dataclass(frozen=True, slots=True)
class Tile:
    """A single headline figure with a note."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell with either text or a strip that shows a share."""

    text: str = ""
    strip: Sequence[plots.Bar] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first column names the row."""

    key: str
    title: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]
    note: str = ""


@require_GET
def figures_page(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """Show the statistics on a period, by default the last 30 days."""
    staff = _staff(request)
    reviewing.require(staff, "view_review_figures")
    now = timezone.now()
    today = timezone.localdate(now, timezone.get_default_timezone())
    period, form, status = Period.ending(today, days=USUAL_DAYS), None, 200
    if "first" in request.GET or "last" in request.GET:
        form = PeriodForm(request.GET)
        if form.is_valid():
            period = form.period
        else:
            status = 422
    found = figures.collect(period=period, now=now)
    context = {
        **site.each_context(request),
        "title": _("Review statistics"),
        "figures": found,
        "form": form or PeriodForm(initial={"first": period.first, "last": period.last}),
        "choices": [_choice(today, days, period) for days in DAYS],
        "tiles": _tiles(found),
        "flow": _flow(found),
        "waiting": _waiting(found),
        "by_day": _by_day(found),
        "tables": [_by_category(found), _by_reviewer(found), _by_model(found)],
        "may_export": staff.has_perm("review.export_reviewcase"),
    }
    return render(request, "admin/review/figures.html", context, status=status)


@require_POST
def export(request: HttpRequest) -> HttpResponseBase:
    """Export the statistics or the cases of a period as CSV, and log the export."""
    staff = _staff(request)
    reviewing.require(staff, "export_reviewcase")
    what = request.POST.get("what")
    form = PeriodForm(request.POST)
    if what not in {"figures", "cases"} or not form.is_valid():
        return HttpResponse(
            _("Choose a valid period and what to export."), status=422, content_type="text/plain"
        )
    if what == "figures":
        reviewing.require(staff, "view_review_figures")
    now, period = timezone.now(), form.period
    exports.begin(staff=staff, what=what, details=exports.details_of(period), now=now)
    if what == "figures":
        rows = exports.figure_rows(figures.collect(period=period, now=now))
    else:
        rows = exports.case_rows(period)
    lines = (csv_cells.line(row) for row in rows)
    return download(
        request,
        _after_bom(lines),
        filename=f"review-{what}-{period.first}-{period.last}.csv",
        content_type="text/csv; charset=utf-8",
    )


def _staff(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _after_bom(lines: Iterator[bytes]) -> Iterator[bytes]:
    yield csv_cells.BOM
    yield from lines


def _choice(today: dt.date, days: int, shown: Period) -> dict[str, Any]:
    period = Period.ending(today, days=days)
    label = ngettext("%(days)d day", "%(days)d days", days) % {"days": days}
    return {"period": period, "label": label, "is_shown": period == shown}


# --- Formatting ---


def duration(hours: float | None) -> str:
    """Return a duration in hours, or in days from 100 hours. A non-breaking space follows the number."""
    if hours is None:
        return "–"
    if hours < LONGEST_IN_HOURS:
        said = _("%(number)s h") % {"number": _decimal(hours)}
    else:
        said = _("%(number)s days") % {"number": _decimal(hours / 24)}
    return said.replace(" ", "\N{NO-BREAK SPACE}")


def _decimal(value: float) -> str:
    # Django truncates extra decimals, so round first.
    return number_format(round(value, 1), decimal_pos=1)


def _percent(part: int, whole: int) -> str:
    return f"{number_format(round(part / whole * 100))} %" if whole else "–"


def _number(value: int) -> str:
    return number_format(value, decimal_pos=0, use_l10n=True, force_grouping=True)


def _p90(spread: DurationStats) -> str:
    return _("90%% within %(time)s") % {"time": duration(spread.p90)} if spread.count else ""


def _tiles(found: Figures) -> list[Tile]:
    age = _("oldest %(oldest)s, median %(median)s") % {
        "oldest": duration(found.oldest),
        "median": duration(found.median_age),
    }
    reports = ngettext("%(count)d report", "%(count)d reports", found.reports) % {"count": found.reports}
    reopened = _("%(count)d reopened") % {"count": found.reopened}
    return [
        Tile(_("Waiting now"), _number(found.waiting), age if found.waiting else ""),
        Tile(_("Opened"), _number(found.opened), f"{reports}, {reopened}"),
        Tile(_("Closed"), _number(found.closed), _("by a decision")),
        Tile(_("Time to claim"), duration(found.to_claim.median), _p90(found.to_claim)),
        Tile(_("Time to decide"), duration(found.to_decide.median), _p90(found.to_decide)),
        Tile(_("Upheld"), _percent(found.upheld, found.decided), _of(found.upheld, found.decided)),
        Tile(_("Overturned"), _number(found.overturned), _of(found.overturned, found.decided)),
        Tile(
            _("Appeals granted"),
            _number(found.appeals_granted),
            _("%(denied)d denied, %(pending)d waiting")
            % {"denied": found.appeals_denied, "pending": found.appeals_pending},
        ),
    ]


def _of(part: int, whole: int) -> str:
    return _("%(part)d of %(whole)d decisions") % {"part": part, "whole": whole}


def _flow(found: Figures) -> plots.Plot:
    return plots.bars(
        [day.date for day in found.days],
        [
            ([("opened", day.opened), ("reopened", day.reopened)], [("closed", day.closed)])
            for day in found.days
        ],
        [
            _("%(date)s: %(opened)d opened, %(reopened)d reopened, %(closed)d closed")
            % {
                "date": date_format(day.date, "DATE_FORMAT"),
                "opened": day.opened,
                "reopened": day.reopened,
                "closed": day.closed,
            }
            for day in found.days
        ],
    )


def _waiting(found: Figures) -> plots.Plot:
    return plots.line(
        [day.date for day in found.days],
        [day.waiting for day in found.days],
        [
            _("%(date)s: %(count)d waiting")
            % {"date": date_format(day.date, "DATE_FORMAT"), "count": day.waiting}
            for day in found.days
        ],
    )


def _by_day(found: Figures) -> Table:
    return Table(
        "days",
        _("By day"),
        [_("Day"), _("Opened"), _("Reopened"), _("Closed"), _("Waiting at end of day")],
        [
            (
                date_format(day.date, "DATE_FORMAT"),
                _cells(day.opened, day.reopened, day.closed, day.waiting),
            )
            for day in found.days
        ],
    )


def _cells(*values: int | str) -> list[Cell]:
    return [Cell(_number(value) if isinstance(value, int) else value) for value in values]


def _by_category(found: Figures) -> Table:
    most = max((one.decided for one in found.categories), default=0)
    return Table(
        "categories",
        _("By category"),
        [
            _("Category"),
            _("Opened"),
            _("Waiting now"),
            _("Oldest"),
            _("Decided"),
            _("Upheld"),
            _("Upheld and dismissed"),
            _("Time to decide, median"),
            _("Time to decide, 90th percentile"),
        ],
        [
            (
                str(Category(one.category).label),
                [
                    *_cells(one.opened, one.waiting, duration(one.oldest), one.decided),
                    Cell(_percent(one.upheld, one.decided)),
                    Cell(
                        strip=plots.share(
                            [("upheld", one.upheld), ("dismissed", one.decided - one.upheld)], whole=most
                        )
                    ),
                    *_cells(duration(one.to_decide.median), duration(one.to_decide.p90)),
                ],
            )
            for one in found.categories
        ],
        _("Time to decide runs from when a case was opened or last reopened to the decision."),
    )


def _by_reviewer(found: Figures) -> Table:
    return Table(
        "reviewers",
        _("By reviewer"),
        [_("Reviewer"), _("Decisions"), _("Upheld"), _("Claim to decision, median"), _("Overturned")],
        [
            (
                one.name or "–",
                _cells(
                    one.decisions,
                    _percent(one.upheld, one.decisions),
                    duration(one.to_decide.median),
                    one.overturned,
                ),
            )
            for one in found.reviewers
        ],
        _(
            "“Overturned” counts the reviewer's decisions that were reversed in this period, whenever they were made."
        ),
    )


def _by_model(found: Figures) -> Table:
    most = max((one.up + one.down for one in found.models), default=0)
    return Table(
        "models",
        _("Feedback by model"),
        [_("Model"), _("Thumbs up"), _("Thumbs down"), _("Share of thumbs up"), _("Thumbs up and down")],
        [
            (
                one.label or _("unknown"),
                [
                    *_cells(one.up, one.down, _percent(one.up, one.up + one.down)),
                    Cell(strip=plots.share([("upheld", one.up), ("dismissed", one.down)], whole=most)),
                ],
            )
            for one in found.models
        ],
    )
