"""The queue: permissions, contents, filters and the number of queries."""

import datetime as dt
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from conversations.accounts.models import User
from conversations.review.models import ReviewCase, ReviewEvent
from conversations.review.services import decisions, reviewing
from tests.factories import LEAD, REVIEWER, make_answer, make_report, make_reports, make_staff
from tests.review.helpers import QUEUE, act, address

pytestmark = pytest.mark.django_db


def listed(client: Client, query: str = "") -> list[int]:
    response = client.get(QUEUE + query)
    assert response.status_code == 200
    return [case.pk for case in response.context["cl"].result_list]


def test_the_highest_priority_comes_first(client: Client, reviewer: User) -> None:
    [light] = make_reports(1, category="technical")
    [grave] = make_reports(1, category="harmful")
    assert listed(client) == [grave.case_id, light.case_id]
    page = client.get(QUEUE).content.decode()
    assert "Answer" in page
    assert "Harmful or dangerous" in page
    assert "person-" not in page


def test_queue_filters_and_their_counts(client: Client, reviewer: User) -> None:
    lead = make_staff("lead", *LEAD)
    free, mine, given, escalated, closed = (filed.case for filed in make_reports(5))
    now = timezone.now()
    reviewing.claim(staff=reviewer, case=mine.uuid, version=None, now=now)
    reviewing.assign(staff=lead, case=given.uuid, version=None, to=reviewer, reason="Knows it.", now=now)
    reviewing.escalate(staff=lead, case=escalated.uuid, version=None, reason="Danger.", now=now)
    decision = decisions.Decision("dismissed", "Fine.")
    decisions.decide(staff=lead, case=closed.uuid, version=None, decision=decision, now=now)
    expected = {
        "": {free.pk, mine.pk, given.pk, escalated.pk},
        "?queue=waiting": {free.pk, mine.pk, given.pk, escalated.pk},
        "?queue=mine": {mine.pk},
        "?queue=assigned": {given.pk},
        "?queue=escalated": {escalated.pk},
        "?queue=closed": {closed.pk},
        "?queue=all": {free.pk, mine.pk, given.pk, escalated.pk, closed.pk},
        "?status=dismissed": {closed.pk},
        "?status=in_review": {mine.pk},
        f"?assignee={reviewer.pk}": {given.pk},
        "?assignee=nobody": {free.pk, mine.pk, escalated.pk},
        "?category=legal": set(),
    }
    assert {query: set(listed(client, query)) for query in expected} == expected
    page = client.get(QUEUE).content.decode()
    for choice in ("Waiting (4)", "Mine (1)", "Assigned to me (1)", "Escalated (1)", "Closed (1)", "All (5)"):
        assert choice in page
    for choice in ("Incorrect (4)", "Legal problem (0)", "dismissed (1)", "No one (3)", "reviewer (1)"):
        assert choice in page


def test_cases_can_be_found_by_their_identifiers(client: Client, reviewer: User) -> None:
    first, second = make_reports(2)
    decision = decisions.Decision("dismissed", "Fine.")
    decisions.decide(
        staff=reviewer, case=second.case.uuid, version=None, decision=decision, now=timezone.now()
    )
    # A search finds closed cases too.
    for typed in (
        second.reference,
        second.reference.lower(),
        str(second.uuid),
        str(second.case.uuid),
        f"%23{second.case_id}",
        second.pseudonym,
    ):
        assert listed(client, f"?q={typed}") == [second.case_id], typed
    assert listed(client, "?q=Answer") == []
    assert first.reporter
    assert listed(client, f"?q={first.reporter.username}") == []


def test_queries_do_not_grow_with_the_queue(client: Client, reviewer: User) -> None:
    make_reports(2)
    client.get(QUEUE)
    with CaptureQueriesContext(
        connection,
    ) as few:
        client.get(QUEUE)
    for filed in make_reports(8):
        reviewing.note(staff=reviewer, case=filed.case.uuid, text="Hm.", now=timezone.now())
    with CaptureQueriesContext(connection) as many:
        assert len(listed(client)) == 10
    assert len(many) == len(few)
    assert len(many) < 25


def test_lapsed_claims_are_released(client: Client, reviewer: User) -> None:
    other = make_staff("other", *REVIEWER)
    [filed] = make_reports(1)
    reviewing.claim(staff=other, case=filed.case.uuid, version=None, now=timezone.now())
    assert 'class="field-held_by">other<' in client.get(QUEUE).content.decode()
    ReviewCase.objects.update(claim_expires_at=timezone.now() - dt.timedelta(seconds=1))
    assert 'class="field-held_by">other<' not in client.get(QUEUE).content.decode()
    assert ReviewCase.objects.get().status == "open"


def test_claiming_the_next_case(client: Client, reviewer: User) -> None:
    [light] = make_reports(1, category="technical")
    [grave] = make_reports(1, category="harmful")
    for filed in (grave, light):
        response = client.post(f"{QUEUE}next/")
        assert response.headers["Location"] == address(filed.case)
        assert ReviewCase.objects.get(pk=filed.case_id).claimed_by == reviewer
    response = client.post(f"{QUEUE}next/", follow=True)
    assert "No cases are available." in response.content.decode()
    assert client.get(f"{QUEUE}next/").status_code == 405


def test_new_cases_are_announced_once(client: Client, reviewer: User) -> None:
    make_reports(1)
    seen = client.get(QUEUE).context["seen"]
    assert client.get(f"{QUEUE}news/", {"seen": seen}).status_code == 204
    make_reports(2)
    news = client.get(f"{QUEUE}news/", {"seen": seen})
    assert "2 new cases" in news.content.decode()
    assert client.get(f"{QUEUE}news/", {"seen": seen, "known": "2"}).status_code == 204
    assert client.get(f"{QUEUE}news/", {"seen": "nonsense"}).status_code == 204
    assert client.get(f"{QUEUE}news/", {"seen": "2026-99-99T00:00:00Z"}).status_code == 204


def test_cases_cannot_be_added_or_deleted(client: Client, reviewer: User) -> None:
    [filed] = make_reports(1)
    for path in ("add/", f"{filed.case_id}/delete/"):
        assert client.get(QUEUE + path).status_code == 403
        assert client.post(QUEUE + path, {"post": "yes"}).status_code == 403
    page = client.get(QUEUE).content.decode()
    assert "delete_selected" not in page
    assert "addlink" not in page


EVERYTHING: list[tuple[str, str, dict[str, Any]]] = [
    ("get", QUEUE, {}),
    ("post", QUEUE, {"action": "bulk_decide", "_selected_action": "1"}),
    ("post", f"{QUEUE}next/", {}),
    ("get", f"{QUEUE}news/", {}),
    ("post", f"{QUEUE}bulk/", {"outcome": "upheld", "reason": "x", "cases": "", "decide": "yes"}),
    ("get", "{page}", {}),
    ("post", f"{QUEUE}{{uuid}}/extend/", {}),
    ("post", f"{QUEUE}{{uuid}}/preview/", {"outcome": "upheld"}),
    *(
        ("post", "{page}", {"verb": verb, "version": 1, "reason": "x", "text": "x", "outcome": "upheld"})
        for verb in ("claim", "release", "note", "escalate", "assign", "ask", "reveal")
    ),
    *(
        ("post", "{page}", {"verb": verb, "version": 1, "reason": "x", "outcome": "upheld"})
        for verb in ("decide", "decide-next", "preview")
    ),
]


@pytest.mark.parametrize("codenames", [(), ("view_report",), ("view_reviewcase",)])
@pytest.mark.parametrize(("method", "path", "given"), EVERYTHING)
def test_staff_without_permission_are_refused(
    client: Client, codenames: tuple[str, ...], method: str, path: str, given: dict[str, Any]
) -> None:
    [filed] = make_reports(1)
    client.force_login(make_staff("outsider", *codenames))
    before = ReviewCase.objects.values().get()
    where = path.format(page=address(filed.case), uuid=filed.case.uuid)
    response = getattr(client, method)(where, given)
    may_look = "view_reviewcase" in codenames and method == "get"
    if may_look:
        assert response.status_code in {200, 204}
    elif path == QUEUE and "view_reviewcase" in codenames:
        # Django doesn't know the action without the permission, so it shows the list again.
        assert response.status_code in {200, 302}
    else:
        assert response.status_code == 403
    assert ReviewCase.objects.values().get() == before
    assert [event.kind for event in ReviewEvent.objects.all()] == ["filed"]


def test_staff_with_view_permission_only_are_offered_no_actions(client: Client) -> None:
    [filed] = make_reports(1)
    client.force_login(make_staff("onlooker", "view_reviewcase"))
    page = client.get(address(filed.case)).content.decode()
    assert 'name="verb"' not in page
    assert "Take the next case" not in client.get(QUEUE).content.decode()


def test_users_cannot_see_the_queue(client: Client, alice: User) -> None:
    [filed] = make_reports(1)
    client.force_login(alice)
    for path in (QUEUE, address(filed.case), f"{QUEUE}news/"):
        assert client.get(path).status_code in {302, 403}
    assert act(client, filed.case, "claim").status_code in {302, 403}
    assert ReviewCase.objects.get().claimed_by is None


def test_reports_about_the_application_appear_in_the_queue(
    client: Client, reviewer: User, alice: User
) -> None:
    from conversations.review.services import reports

    reports.report_application(
        reporter=alice, category="technical", comment="Blank page", page="/c/1/", now=timezone.now()
    )
    make_report(alice, make_answer(alice, "<b>Bold</b> " * 60))
    page = client.get(QUEUE).content.decode()
    assert "/c/1/: Blank page" in page
    assert "&lt;b&gt;Bold" in page
    assert "<b>Bold" not in page
