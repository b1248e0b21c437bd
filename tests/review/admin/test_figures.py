"""The statistics page and its exports: contents and permissions."""

import csv
import io
import re
from typing import Any

import pytest
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from conversations.accounts.models import User
from conversations.review.admin import plots
from conversations.review.models import ReviewCase, ReviewEvent
from conversations.review.services import decisions
from tests.factories import LEAD, REVIEWER, make_reports, make_staff
from tests.review.helpers import QUEUE

pytestmark = pytest.mark.django_db

FIGURES = "/admin/review/reviewevent/figures/"
EXPORT = FIGURES + "export/"


def decide(case: ReviewCase, staff: User, outcome: str = "upheld") -> None:
    decision = decisions.Decision(outcome, "Because.")
    decisions.decide(staff=staff, case=case.uuid, version=None, decision=decision, now=timezone.now())


def dates(**given: str) -> dict[str, str]:
    today = timezone.localdate().isoformat()
    return {"first": today, "last": today, **given}


def rows(response: Any) -> list[list[str]]:
    written = b"".join(response.streaming_content)
    assert written.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(written.decode("utf-8-sig"), newline="")))


# --- The page ---


def test_the_page_shows_the_statistics(client: Client, lead: User) -> None:
    upheld, dismissed, _waiting = make_reports(3)
    decide(upheld.case, lead)
    decide(dismissed.case, lead, "dismissed")
    assert reverse("admin:review_figures") == FIGURES
    response = client.get(FIGURES)
    tiles = {tile.name: tile.value for tile in response.context["tiles"]}
    assert tiles["Waiting now"] == "1"
    assert tiles["Opened"] == "3"
    assert tiles["Closed"] == "2"
    assert tiles["Upheld"] == "50 %"
    page = response.content.decode()
    assert "1 of 2 decisions" in page
    assert page.count("<svg") >= 3
    # Each plot has a name, and its data is also shown as a table.
    assert page.count('role="img"') == page.count("<desc") == 2
    assert "Daily statistics as a table" in page
    assert not re.search(r"\sstyle\s*=", page)
    assert "person-" not in page


def test_the_page_works_without_data(client: Client, lead: User) -> None:
    page = client.get(FIGURES).content.decode()
    assert page.count("No data for this period.") == 3


def test_the_period_can_be_chosen(client: Client, lead: User) -> None:
    days = {7: 7, 30: 30, 90: 90}
    for choice in client.get(FIGURES).context["choices"]:
        period = choice["period"]
        found = client.get(FIGURES, {"first": str(period.first), "last": str(period.last)}).context["figures"]
        days.pop(len(found.days))
        assert found.period.last == timezone.localdate()
    assert not days
    found = client.get(FIGURES, {"first": "2026-02-27", "last": "2026-03-01"}).context["figures"]
    assert [str(day.date) for day in found.days] == ["2026-02-27", "2026-02-28", "2026-03-01"]


@pytest.mark.parametrize(
    "given",
    [
        {"first": "2026-03-02", "last": "2026-03-01"},
        {"first": "2020-01-01", "last": "2026-03-01"},
        {"first": "yesterday", "last": "2026-03-01"},
        {"first": "2026-03-01"},
        {"last": ""},
    ],
)
def test_an_invalid_period_shows_an_error(client: Client, lead: User, given: dict[str, str]) -> None:
    response = client.get(FIGURES, given)
    assert response.status_code == 422
    assert len(response.context["figures"].days) == 30
    assert client.post(EXPORT, {"what": "cases", **given}).status_code == 422
    assert ReviewEvent.objects.count() == 0


def test_plot_coordinates_do_not_depend_on_the_language(client: Client, lead: User) -> None:
    make_reports(3)
    page = client.get(FIGURES, headers={"accept-language": "de"}).content.decode()
    rectangles = " ".join(re.findall(r"<rect[^>]*>", page))
    values = re.findall(r'\s(?:x|y|width|height)="([^"]*)"', rectangles)
    assert len(values) > 100
    for value in values:
        assert re.fullmatch(r"\d+(\.\d+)?", value)


def test_the_page_requires_its_permission(client: Client) -> None:
    client.force_login(make_staff("reviewer", *REVIEWER))
    assert client.get(FIGURES).status_code == 403
    assert FIGURES not in client.get("/admin/").content.decode()
    assert FIGURES not in client.get(QUEUE).content.decode()
    client.force_login(make_staff("analyst", "view_review_figures"))
    page = client.get(FIGURES).content.decode()
    assert EXPORT not in page
    assert QUEUE not in page
    assert FIGURES in client.get("/admin/").content.decode()
    client.force_login(make_staff("lead", *LEAD))
    assert EXPORT in client.get(FIGURES).content.decode()
    assert FIGURES in client.get(QUEUE).content.decode()


def test_non_staff_cannot_see_the_page(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert client.get(FIGURES).status_code == 302
    assert client.post(EXPORT, dates(what="cases")).status_code == 302


def test_queries_do_not_grow_with_the_data(client: Client, lead: User) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(FIGURES).status_code == 200
        return len(captured)

    make_reports(1)
    one = queries()
    for filed in make_reports(5):
        decide(filed.case, lead)
    assert queries() == one


# --- Exports ---


def test_cases_as_csv(client: Client, lead: User) -> None:
    waiting, upheld = make_reports(2)
    decide(upheld.case, lead)
    response = client.post(EXPORT, dates(what="cases"))
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert 'attachment; filename="review-cases-' in response["Content-Disposition"]
    columns, first, second = rows(response)
    assert dict(zip(columns, first, strict=True))["reporters"] == waiting.pseudonym
    found = dict(zip(columns, second, strict=True))
    assert (found["case"], found["outcome"], found["reviewer"]) == (str(upheld.case_id), "upheld", "lead")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["closed_at"])


def test_names_in_csv_files_are_not_read_as_formulas(client: Client) -> None:
    staff = make_staff("-2+3@evil", *LEAD)
    client.force_login(staff)
    [filed] = make_reports(1)
    decide(filed.case, staff)
    for what in ("cases", "figures"):
        cells = [cell for row in rows(client.post(EXPORT, dates(what=what))) for cell in row]
        assert "'-2+3@evil" in cells
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def test_statistics_as_csv(client: Client, lead: User) -> None:
    [filed] = make_reports(1)
    decide(filed.case, lead)
    found = {tuple(row[:3]): row[3] for row in rows(client.post(EXPORT, dates(what="figures")))}
    today = timezone.localdate().isoformat()
    assert found["period", f"{today}/{today}", "decided"] == "1"
    assert found["days", today, "closed"] == "1"
    assert found["categories", "incorrect", "upheld"] == "1"
    assert found["reviewers", "lead", "decisions"] == "1"


def test_an_export_is_logged_before_its_first_line(client: Client, lead: User) -> None:
    client.post(EXPORT, dates(what="figures"))
    client.post(EXPORT, dates(what="cases"))
    events = ReviewEvent.objects.order_by("sequence").values_list("kind", "actor_name", "details__what")
    assert list(events) == [("exported", "lead", "figures"), ("exported", "lead", "cases")]


def test_exports_require_their_permissions(client: Client) -> None:
    client.force_login(make_staff("analyst", "view_review_figures"))
    assert client.post(EXPORT, dates(what="figures")).status_code == 403
    client.force_login(make_staff("exporter", "export_reviewcase"))
    assert client.post(EXPORT, dates(what="figures")).status_code == 403
    assert ReviewEvent.objects.count() == 0
    assert client.post(EXPORT, dates(what="cases")).status_code == 200
    assert client.get(EXPORT).status_code == 405
    assert client.post(EXPORT, dates(what="users")).status_code == 422


@pytest.mark.django_db(transaction=True)
def test_files_are_streamed_by_an_asynchronous_server() -> None:
    async def fetch() -> list[bytes]:
        client = AsyncClient()
        await client.aforce_login(staff)
        response: Any = await client.post(EXPORT, dates(what="cases"))
        assert response.is_async
        return [piece async for piece in response.streaming_content]

    staff = make_staff("lead", *LEAD)
    make_reports(2)
    written = b"".join(_run(fetch))
    assert written.count(b"\r\n") == 3


def _run(work: Any) -> Any:
    from asgiref.sync import async_to_sync

    return async_to_sync(work)()


# --- Plots ---


@pytest.mark.parametrize(
    ("values", "top"), [([], 2), ([0], 2), ([3], 4), ([7, 2], 10), ([41], 60), ([61], 100), ([4_001], 6_000)]
)
def test_top_of_a_plot(values: list[int], top: int) -> None:
    assert plots.top_of(values) == top


def test_width_of_a_strip() -> None:
    drawn = plots.share([("upheld", 1), ("dismissed", 2)], whole=6)
    assert [(bar.name, bar.x, bar.width) for bar in drawn] == [
        ("upheld", "0", "16.67"),
        ("dismissed", "16.67", "33.33"),
    ]
    assert plots.share([("upheld", 0)], whole=0) == []
