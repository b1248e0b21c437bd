"""Bulk decisions: the preview, and cases that are claimed or have changed."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from conversations.accounts.models import User
from conversations.review.models import Report, ReviewCase, ReviewEvent
from conversations.review.services import reviewing
from tests.factories import REVIEWER, make_reports, make_staff
from tests.review.helpers import QUEUE

pytestmark = pytest.mark.django_db

BULK = f"{QUEUE}bulk/"
DECISION = {"outcome": "dismissed", "reason": "A wave of spam.", "reply": "Thank you."}


def begin(client: Client, reports: list[Report]) -> dict[str, Any]:
    selected = [filed.case_id for filed in reports]
    response = client.post(QUEUE, {"action": "bulk_decide", "_selected_action": selected})
    assert response.status_code == 200
    return {**DECISION, "cases": response.context["form"]["cases"].value()}


def decided() -> int:
    return ReviewEvent.objects.filter(kind="decided").count()


def test_the_preview_shows_which_cases_will_be_decided(client: Client, reviewer: User) -> None:
    reports = make_reports(4)
    given = begin(client, reports)
    assert decided() == 0
    other = make_staff("other", *REVIEWER)
    now = timezone.now()
    reviewing.claim(staff=other, case=reports[0].case.uuid, version=None, now=now)
    held = begin(client, reports)
    reviewing.claim(staff=reviewer, case=reports[1].case.uuid, version=None, now=now)
    page = client.post(BULK, held).content.decode()
    assert "2 cases will be decided." in page
    assert "Someone else is working on this case." in page
    assert "It has changed since you selected it." in page
    assert decided() == 0
    page = client.post(BULK, {**given, "decide": "yes"}).content.decode()
    assert "2 cases were decided." in page
    assert "Not decided:" in page
    assert decided() == 2
    assert set(Report.objects.values_list("status", "reply")) == {
        ("pending", ""),
        ("not_upheld", "Thank you."),
    }


def test_all_selected_cases_are_decided(client: Client, reviewer: User) -> None:
    given = begin(client, make_reports(3))
    assert "3 cases will be decided." in client.post(BULK, given).content.decode()
    response = client.post(BULK, {**given, "decide": "yes"}, follow=True)
    assert response.redirect_chain == [(QUEUE, 302)]
    assert "3 cases were decided." in response.content.decode()
    # Repeating the request changes nothing.
    client.post(BULK, {**given, "decide": "yes"})
    assert decided() == 3


@pytest.mark.parametrize(
    "forged",
    [
        {"cases": "nonsense"},
        {"cases": "a:b:c"},
        {"cases": ""},
        {"outcome": ""},
        {"outcome": "both"},
        {"reason": " "},
    ],
)
def test_invalid_bulk_decisions_change_nothing(
    client: Client, reviewer: User, forged: dict[str, str]
) -> None:
    given = begin(client, make_reports(2)) | {"decide": "yes"} | forged
    assert client.post(BULK, given).status_code == 422
    assert decided() == 0


def test_bulk_decisions_ignore_effects(client: Client, reviewer: User) -> None:
    given = begin(client, make_reports(1)) | {"outcome": "upheld", "suspends": "on", "hides_answer": "on"}
    client.post(BULK, {**given, "decide": "yes"})
    event = ReviewEvent.objects.get(kind="decided")
    assert set(event.details) == {"reports", "reply"}


def test_cases_at_another_version_are_skipped(client: Client, reviewer: User) -> None:
    [filed] = make_reports(1)
    client.post(BULK, {**DECISION, "cases": f"{filed.case.uuid}:99", "decide": "yes"})
    assert decided() == 0
    assert ReviewCase.objects.get().status == "open"


def test_bulk_decisions_require_the_permission_to_decide(client: Client) -> None:
    [filed] = make_reports(1)
    client.force_login(make_staff("onlooker", "view_reviewcase", "claim_reviewcase"))
    assert "bulk_decide" not in client.get(QUEUE).content.decode()
    given = {**DECISION, "cases": f"{filed.case.uuid}:2", "decide": "yes"}
    assert client.post(BULK, given).status_code == 403
    assert client.get(BULK).status_code == 405
    assert decided() == 0
