"""The case page: what it shows, every action, permissions and forged requests."""

import re
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from conversations.accounts.models import AccountNotice, User
from conversations.chat.models import Message
from conversations.common.rendering import highlighting
from conversations.evaluation.models import EvaluationItem
from conversations.review.models import BlocklistEntry, ReplyPreset, Report, ReviewCase, ReviewEvent
from conversations.review.services import reports, reviewing
from tests.factories import LEAD, REVIEWER, make_answer, make_report, make_reports, make_staff, make_user
from tests.review.helpers import QUEUE, act, address
from tests.site import wait_until

pytestmark = pytest.mark.django_db

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\n\n[a](javascript:alert(3)) ![b](https://e.org/b.png)"


def text_of(client: Client, case: ReviewCase, query: str = "") -> str:
    response = client.get(address(case) + query)
    assert response.status_code == 200
    return response.content.decode()


def kinds() -> list[str]:
    return [event.kind for event in ReviewEvent.objects.order_by("sequence")]


# --- What it shows ---


def test_user_text_is_escaped(client: Client, lead: User, alice: User) -> None:
    first = make_answer(alice, EVIL, prompt=EVIL)
    told = make_answer(alice, EVIL, prompt=EVIL, conversation=first.conversation.uuid)
    filed = make_report(alice, told, "other", EVIL, includes_context=True)
    case = filed.case
    reviewing.ask_reporter(
        staff=lead, case=case.uuid, version=None, report=filed.uuid, question=EVIL, now=timezone.now()
    )
    reports.answer_question(reporter=alice, report=filed.uuid, text=EVIL, now=timezone.now())
    reviewing.note(staff=lead, case=case.uuid, text=EVIL, now=timezone.now())
    act(client, case, "decide", outcome="dismissed", reason=EVIL, reply=EVIL)
    reports.appeal(reporter=alice, report=filed.uuid, text=EVIL, now=timezone.now())
    page = text_of(client, case)
    page += act(client, case, "decide", outcome="upheld", vetted_text=EVIL, warning=EVIL).content.decode()
    page += client.get(QUEUE).content.decode()
    read = f"/admin/review/reviewcase/conversations/{told.conversation.uuid}/read/"
    page += client.post(read, {"reason": EVIL}).content.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert not re.search(r"<[^>]*\sonerror", page)
    assert not re.search(r"(href|src)=[\"']?(javascript|https://e\.org)", page)


def test_answers_are_rendered_as_in_the_chat(client: Client, reviewer: User, alice: User) -> None:
    told = make_answer(alice, "**Bold**\n\n```python\nx = 1\n```", prompt="A *star*")
    # A page does not wait until the process that highlights code has started.
    wait_until(lambda: highlighting.highlight("x = 1\n", language="python"))
    page = text_of(client, make_report(alice, told).case)
    assert "<strong>Bold</strong>" in page
    assert 'class="hl-n">x</span>' in page
    assert "A *star*" in page
    assert "prose.css" in page
    assert page.count("message--reported") == 1
    for fact in ("Fake", "5 + 7", "complete · stop", "You are a helpful assistant."):
        assert fact in page


def test_earlier_snapshots_can_be_viewed(client: Client, reviewer: User, alice: User) -> None:
    told = make_answer(alice, "Old words.")
    filed = make_report(alice, told)
    Message.objects.filter(pk=told.pk).update(text="New words.")
    make_report(alice, Message.objects.select_related("conversation").get(pk=told.pk))
    older, newer = filed.case.snapshots.order_by("pk")
    page = text_of(client, filed.case)
    assert "New words." in page
    assert "Old words." not in page
    assert "Old words." in text_of(client, filed.case, f"?snapshot={older.pk}")
    [foreign] = make_reports(1)
    # A snapshot of another case or an invalid ID shows the newest snapshot of this case.
    for given in (foreign.snapshot_id, newer.pk, "x"):
        assert "New words." in text_of(client, filed.case, f"?snapshot={given}")


def test_a_case_about_the_application(client: Client, lead: User, alice: User) -> None:
    filed = reports.report_application(
        reporter=alice, category="technical", comment="Blank page", page="/c/1/", now=timezone.now()
    )
    page = text_of(client, filed.case)
    assert "/c/1/" in page
    assert "Blank page" in page
    for gone in ("hides_answer", "suspends", "run-again", "Open the full conversation"):
        assert gone not in page
    assert act(client, filed.case, "decide", outcome="upheld", reason="Mended.").status_code == 302


def test_queries_do_not_grow_with_the_case(client: Client, reviewer: User, alice: User) -> None:
    told = make_answer(alice)
    case = make_report(alice, told).case
    text_of(client, case)
    with CaptureQueriesContext(connection) as few:
        text_of(client, case)
    for number in range(10):
        reviewing.note(staff=reviewer, case=case.uuid, text=f"{number}", now=timezone.now())
        other = make_user(f"other-{number}")
        # Another person's report of the same answer.
        Report.objects.create(
            reference=f"P-{number}",
            case=case,
            reporter=other,
            pseudonym=f"OTHER{number}",
            category="incorrect",
            snapshot=case.snapshots.get(),
            created_at=timezone.now(),
            updated_at=timezone.now(),
        )
    with CaptureQueriesContext(connection) as many:
        assert "OTHER9" in text_of(client, case)
    assert len(many) == len(few)


# --- Reporters and reported users ---


def test_the_reporter_is_shown_by_pseudonym_until_revealed(client: Client, alice: User) -> None:
    lead = make_staff("lead", *LEAD, "view_user")
    client.force_login(lead)
    alice.email = "secret@example.org"
    alice.save()
    filed = make_report(alice, make_answer(alice), comment="Hm.")
    case = filed.case
    page = text_of(client, case)
    assert filed.pseudonym in page
    # Alice is both the reporter and the reported user, so neither may be named.
    for hidden in ("alice", "secret@", str(alice.uuid), f"/user/{alice.pk}/"):
        assert hidden not in page
    assert act(client, case, "reveal", report=str(filed.uuid), reason=" ").status_code == 422
    assert "alice" not in text_of(client, case)
    assert act(client, case, "reveal", report=str(filed.uuid), reason="Court order.").status_code == 302
    assert kinds()[-1] == "revealed"
    page = text_of(client, case)
    assert "= <strong>alice</strong>" in page
    assert "Court order." in page
    # Only the person who asked sees the name.
    client.force_login(make_staff("other", *LEAD, "view_user"))
    page = text_of(client, case)
    assert "Court order." in page
    assert "alice" not in page


def test_the_reported_user_is_named_only_to_staff_who_may_view_users(
    client: Client, reviewer: User, alice: User
) -> None:
    filed = make_report(alice, make_answer(alice))
    other = make_user("other")
    Report.objects.filter(pk=filed.pk).update(reporter=other, pseudonym="OTHER2")
    assert "alice" not in text_of(client, filed.case)
    client.force_login(make_staff("seer", *REVIEWER, "view_user"))
    page = text_of(client, filed.case)
    assert ">alice</a>" in page
    assert ">other<" not in page


def test_the_track_records_of_reporters_and_users_are_shown(client: Client, lead: User, alice: User) -> None:
    for outcome in ("upheld", "dismissed"):
        earlier = make_report(alice, make_answer(alice))
        given = {"warning": "Do not."} if outcome == "upheld" else {}
        act(client, earlier.case, "decide", outcome=outcome, reason="So.", **given)
    page = " ".join(text_of(client, make_report(alice, make_answer(alice)).case).split())
    assert "2 other reports, 1 of 2 decided reports upheld" in page
    facts = dict(re.findall(r"<dt>([^<]+)</dt> <dd> (\d+) </dd>", page))
    assert {name: facts[name] for name in ("Other cases", "of which upheld", "Warnings")} == {
        "Other cases": "2",
        "of which upheld": "1",
        "Warnings": "1",
    }


# --- Actions ---


def test_claim_and_release(client: Client, reviewer: User) -> None:
    [filed] = make_reports(1)
    assert act(client, filed.case, "claim").status_code == 302
    page = text_of(client, filed.case)
    assert "You're working on this case." in page
    extend = f"{QUEUE}{filed.case.uuid}/extend/"
    before = ReviewCase.objects.get().claim_expires_at
    assert before
    assert client.post(extend).json()["until"] > before.isoformat()
    assert client.get(extend).status_code == 405
    other = Client()
    other.force_login(make_staff("other", *REVIEWER))
    assert other.post(extend).status_code == 409
    assert "Claimed by reviewer until" in text_of(other, filed.case)
    assert act(other, filed.case, "release").status_code == 409
    assert act(other, filed.case, "claim").status_code == 409
    assert act(client, filed.case, "release").status_code == 302
    assert ReviewCase.objects.get().status == "open"
    assert kinds() == ["filed", "claimed", "released"]


def test_note_escalate_assign_and_ask(client: Client, lead: User) -> None:
    reviewer = make_staff("reviewer", *REVIEWER)
    [filed] = make_reports(1)
    case = filed.case
    assert act(client, case, "note", text="Looked at it.").status_code == 302
    asked = act(client, case, "ask", report=str(filed.uuid), question="Which one?")
    assert asked.status_code == 302
    filed.refresh_from_db()
    assert filed.question == "Which one?"
    assert act(client, case, "assign", to=str(reviewer.uuid), reason="Knows it.").status_code == 302
    assert ReviewCase.objects.get().assignee == reviewer
    assert act(client, case, "escalate", reason="Danger.").status_code == 302
    assert ReviewCase.objects.get().status == "escalated"
    page = text_of(client, case)
    for said in ("Looked at it.", "Which one?", "Knows it.", "Danger.", "assigned to reviewer"):
        assert said in page
    assert act(client, case, "assign", to="", reason="Free again.").status_code == 302
    assert ReviewCase.objects.get().assignee is None
    for verb in ("note", "ask", "assign", "escalate"):
        assert act(client, case, verb, report=str(filed.uuid)).status_code == 422


def test_invalid_forms_keep_what_was_typed(client: Client, lead: User) -> None:
    [filed] = make_reports(1)
    response = act(client, filed.case, "escalate", reason="A good reason.", version="0")
    assert response.status_code == 409
    assert "A good reason." in response.content.decode()
    response = act(client, filed.case, "ask", report=str(filed.uuid), question="x" * 1_001)
    assert response.status_code == 422
    assert "x" * 1_001 in response.content.decode()
    assert kinds() == ["filed"]


def test_a_decision_with_all_effects(client: Client, lead: User) -> None:
    [filed] = make_reports(1)
    preset = ReplyPreset.objects.create(title="Thanks", outcome="upheld", text="Many thanks.")
    given = {
        "outcome": "upheld",
        "reason": "It is wrong.",
        "vetted_text": "The right answer.",
        "warning": "Do not.",
        "suspends": "on",
        "suspension_days": "30",
        "suspension_text": "For that.",
        "blocklist_text": "bad words",
        "adds_to_evaluation": "on",
        "preset": str(preset.pk),
        "reply": "",
        f"verdict-{filed.uuid}": "ignored",
    }
    said = client.post(f"{QUEUE}{filed.case.uuid}/preview/", given).content.decode()
    assert "vetted text instead of the answer" in said
    assert "suspended for 30 days" in said
    plain = act(client, filed.case, "preview", **given)
    assert plain.status_code == 200
    assert "suspended for 30 days" in plain.content.decode()
    assert "The right answer." in plain.content.decode()
    assert kinds() == ["filed"]
    assert act(client, filed.case, "decide", **given).headers["Location"] == address(filed.case)
    filed.refresh_from_db()
    assert (filed.status, filed.reply) == ("ignored", "Many thanks.")
    notices = AccountNotice.objects.order_by("pk")
    assert [notice.kind for notice in notices] == ["warning", "suspension"]
    assert notices[1].ends_at
    assert (notices[1].ends_at - notices[1].created_at).days == 30
    assert BlocklistEntry.objects.get().text == "bad words"
    assert EvaluationItem.objects.get().vetted_answer == "The right answer."
    page = text_of(client, filed.case)
    for told in (
        "Earlier decisions",
        "The right answer.",
        "bad words",
        "Many thanks.",
        "This case is closed.",
    ):
        assert told in page


@pytest.mark.parametrize(("days", "expected"), [("0", None), ("1", 1)])
def test_suspension_duration(client: Client, lead: User, days: str, expected: int | None) -> None:
    [filed] = make_reports(1)
    given = {"suspends": "on", "suspension_days": days, "suspension_text": "For that."}
    act(client, filed.case, "decide", outcome="upheld", reason="So.", **given)
    notice = AccountNotice.objects.get()
    assert (notice.ends_at and (notice.ends_at - notice.created_at).days) == expected


def test_the_preview_shows_what_is_missing(client: Client, reviewer: User) -> None:
    [filed] = make_reports(1)
    where = f"{QUEUE}{filed.case.uuid}/preview/"
    assert "Choose an outcome" in client.post(where, {}).content.decode()
    said = client.post(where, {"outcome": "upheld"}).content.decode()
    assert "1 report: upheld." in said
    assert "Give a reason before you decide." in said
    said = client.post(where, {"outcome": "dismissed", "hides_answer": "on"}).content.decode()
    assert "A dismissed report can&#x27;t hide the answer" in said
    assert client.get(where).status_code == 405


def test_decide_and_next(client: Client, reviewer: User) -> None:
    first, second = make_reports(2)
    given = {"outcome": "dismissed", "reason": "Fine."}
    response = act(client, first.case, "decide-next", **given)
    assert response.headers["Location"] == address(second.case)
    assert ReviewCase.objects.get(pk=second.case_id).claimed_by == reviewer
    response = act(client, second.case, "decide-next", **given)
    assert response.headers["Location"] == QUEUE
    assert "No cases are available." in client.get(QUEUE).content.decode()


def test_a_decision_on_a_changed_case_is_refused(client: Client, reviewer: User) -> None:
    [filed] = make_reports(1)
    seen = ReviewCase.objects.get().version
    other = Client()
    other.force_login(make_staff("other", *REVIEWER))
    act(other, filed.case, "decide", outcome="upheld", reason="Mine.")
    typed = {
        "outcome": "dismissed",
        "reason": "My long reason.",
        "reply": "My reply.",
        "warning": "My warning.",
    }
    typed |= {f"verdict-{filed.uuid}": "ignored"}
    response = act(client, filed.case, "decide", version=str(seen), **typed)
    assert response.status_code == 409
    page = response.content.decode()
    assert "decided by other" in page
    for kept in ("My long reason.", "My reply.", "My warning.", 'value="dismissed"'):
        assert kept in page
    # The form now has the current version of the case.
    assert f'name="version" value="{ReviewCase.objects.get().version}"' in page
    assert f'name="version" value="{seen}"' not in page
    assert kinds().count("decided") == 1


# --- Forged requests ---


@pytest.mark.parametrize(
    "given",
    [
        {"version": "x"},
        {"version": ""},
        {"version": "-1"},
        {"version": "99"},
        {"outcome": ""},
        {"outcome": "pending"},
        {"reason": " "},
        {"reason": "nul\0"},
        {"blocklist_text": "x" * 201},
        {"outcome": "dismissed", "hides_answer": "on"},
        {f"verdict-{uuid.UUID(int=1)}": "upheld"},
        {"verdict-nonsense": "upheld"},
        {"{verdict}": "pending"},
        {"{verdict}": "nonsense"},
        {"{foreign}": "upheld"},
        {"verb": "nonsense"},
        {"verb": ""},
    ],
)
def test_invalid_decisions_change_nothing(client: Client, lead: User, given: dict[str, Any]) -> None:
    filed, foreign = make_reports(2)
    names = {"{verdict}": f"verdict-{filed.uuid}", "{foreign}": f"verdict-{foreign.uuid}"}
    sent = {"verb": "decide", "version": "2", "outcome": "upheld", "reason": "So."}
    sent |= {names.get(name, name): value for name, value in given.items()}
    before = list(ReviewCase.objects.order_by("pk").values())
    assert before[0]["version"] == 2
    assert client.post(address(filed.case), sent).status_code in {400, 409, 422}
    assert list(ReviewCase.objects.order_by("pk").values()) == before
    assert set(Report.objects.values_list("status", flat=True)) == {"pending"}
    assert kinds() == ["filed", "filed"]


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("decide", {"outcome": "upheld", "reason": "x", "suspends": "on", "suspension_text": "x"}),
        ("preview", {"outcome": "upheld", "reason": "x", "suspends": "on", "suspension_text": "x"}),
        ("assign", {"to": "", "reason": "x"}),
        ("reveal", {"report": "{report}", "reason": "x"}),
    ],
)
def test_reviewers_cannot_take_actions_of_leads(
    client: Client, reviewer: User, verb: str, given: dict[str, str]
) -> None:
    [filed] = make_reports(1)
    sent = {name: value.format(report=filed.uuid) for name, value in given.items()}
    assert act(client, filed.case, verb, **sent).status_code == 403
    if verb == "preview":
        assert client.post(f"{QUEUE}{filed.case.uuid}/preview/", sent).status_code == 403
    assert not AccountNotice.objects.exists()
    assert kinds() == ["filed"]
    page = text_of(client, filed.case)
    for offered in ("suspends", 'value="reveal"', 'value="assign"', "Open the full conversation"):
        assert offered not in page


def test_reports_of_other_cases_are_inaccessible(client: Client, lead: User) -> None:
    filed, foreign = make_reports(2)
    for verb, given in (("ask", {"question": "Who?"}), ("reveal", {"reason": "Why not."})):
        for report_id in (str(foreign.uuid), str(uuid.uuid4()), "nonsense"):
            response = act(client, filed.case, verb, report=report_id, **given)
            assert response.status_code == 422
            assert "person-" not in response.content.decode()
    assert kinds() == ["filed", "filed"]
    assert ReviewCase.objects.get(pk=filed.case_id).claimed_by is None


def test_unknown_cases(client: Client, lead: User) -> None:
    [filed] = make_reports(1)
    nowhere = ReviewCase(pk=filed.case_id + 99)
    assert client.get(address(nowhere)).status_code == 302
    assert client.post(address(nowhere), {"verb": "claim", "version": 1}).status_code == 302
    for path in ("extend", "preview"):
        assert client.post(f"{QUEUE}{uuid.uuid4()}/{path}/", {"outcome": "upheld"}).status_code in {404, 409}
    assert client.put(address(filed.case)).status_code == 405


def test_posts_require_the_csrf_token(lead: User) -> None:
    [filed] = make_reports(1)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(lead)
    assert act(strict, filed.case, "claim").status_code == 403
    assert strict.post(f"{QUEUE}next/").status_code == 403
    assert kinds() == ["filed"]
