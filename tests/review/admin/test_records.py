"""Reports, the log, presets and other records in Django admin: who sees them, and what can be changed."""

import json
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from conversations.accounts.models import AccountNotice, User
from conversations.chat.models import Conversation, Feedback
from conversations.chat.services import feedback
from conversations.evaluation.models import EvaluationItem
from conversations.review.models import BlocklistEntry, ReplyPreset, Report, ReviewEvent, ReviewLogHead
from conversations.review.services import decisions, review_log
from tests.admin_urls import admin_of
from tests.factories import REVIEWER, make_answer, make_decision, make_pending, make_report, make_staff

pytestmark = pytest.mark.django_db

ADMIN = "/admin/review/"
EVIDENCE = ("report", "reviewevent", "evaluationitem", "accountnotice", "feedback")


@pytest.fixture
def filed(alice: User) -> Report:
    """Return a decided report with every kind of record that a decision can create."""
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    filed = make_report(alice, make_answer(alice, "Wrong — über α."), comment="It is wrong.")
    decision = make_decision(
        "upheld",
        "It is.",
        vetted_text="Right.",
        warning="Please don't.",
        blocklist_text="so wrong",
        adds_to_evaluation=True,
    )
    staff = make_staff("somebody", *REVIEWER)
    decisions.decide(staff=staff, case=filed.case.uuid, version=None, decision=decision, now=timezone.now())
    feedback.rate(user=alice, message=make_answer(alice).uuid, rating=-1, reason="wrong", now=timezone.now())
    return filed


@pytest.fixture
def root(client: Client) -> User:
    """Return a superuser signed in with `client`."""
    root = User.objects.create_superuser("root", password="correct horse battery")
    client.force_login(root)
    return root


def one(name: str) -> Any:
    return next(
        model for model in admin.site._registry if model._meta.model_name == name
    )._default_manager.first()


@pytest.mark.parametrize("name", EVIDENCE)
def test_evidence_cannot_be_changed(client: Client, root: User, filed: Report, name: str) -> None:
    shown = one(name)
    page = f"{admin_of(name)}{shown.pk}/"
    before = type(shown)._default_manager.filter(pk=shown.pk).values().get()
    assert client.get(admin_of(name)).status_code == 200
    response = client.get(f"{page}change/")
    assert response.status_code == 200
    assert b'type="submit" value="Save"' not in response.content
    assert client.post(f"{page}change/", {"text": "Else."}).status_code == 403
    assert client.get(f"{page}delete/").status_code == 403
    assert client.post(f"{page}delete/", {"post": "yes"}).status_code == 403
    assert client.get(f"{admin_of(name)}add/").status_code == 403
    action = {"action": "delete_selected", "_selected_action": [shown.pk], "post": "yes"}
    client.post(admin_of(name), action)
    assert type(shown)._default_manager.filter(pk=shown.pk).values().get() == before
    assert review_log.verify().faults == []


@pytest.mark.parametrize("name", [*EVIDENCE, "replypreset", "blocklistentry"])
def test_staff_without_the_permission_see_no_records(client: Client, filed: Report, name: str) -> None:
    client.force_login(make_staff("onlooker", "view_reviewcase"))
    for address in (
        "",
        "add/",
        f"{one(name).pk}/change/",
        f"{one(name).pk}/delete/",
        f"{one(name).pk}/history/",
    ):
        assert client.get(f"{admin_of(name)}{address}").status_code == 403
    client.force_login(make_staff("viewer", f"view_{name}"))
    assert client.get(admin_of(name)).status_code == 200
    assert client.get(f"{admin_of(name)}{one(name).pk}/change/").status_code == 200
    assert client.get(f"{admin_of(name)}{one(name).pk}/delete/").status_code == 403


def test_snapshots_and_the_log_head_have_no_admin_pages(client: Client, root: User, filed: Report) -> None:
    assert ReviewLogHead not in admin.site._registry
    for name in ("reviewloghead", "snapshot", "rerun"):
        assert client.get(admin_of(name)).status_code == 404


def test_a_report_does_not_reveal_its_reporter(client: Client, filed: Report, alice: User) -> None:
    client.force_login(make_staff("viewer", "view_report", "view_reviewevent"))
    for address in (
        "report/",
        f"report/{filed.pk}/change/",
        f"report/{filed.pk}/history/",
        f"report/?q={filed.reference}",
        "reviewevent/",
        *(f"reviewevent/{event.pk}/change/" for event in ReviewEvent.objects.all()),
    ):
        page = client.get(ADMIN + address).content.decode()
        assert filed.pseudonym in page or "reviewevent" in address or "history" in address
        assert "alice" not in page
        assert str(alice.uuid) not in page


@pytest.mark.parametrize(
    "query",
    [
        "reporter={pk}",
        "reporter__id__exact={pk}",
        "reporter__username=alice",
        "reporter__username__startswith=a",
    ],
)
def test_reports_cannot_be_found_by_reporter(client: Client, filed: Report, alice: User, query: str) -> None:
    client.force_login(make_staff("viewer", "view_report"))
    response = client.get(f"/admin/review/report/?{query.format(pk=alice.pk)}")
    assert response.status_code == 400
    page = client.get("/admin/review/report/?q=alice").content.decode()
    assert filed.reference not in page


def test_feedback_is_counted_anonymously(client: Client, filed: Report, alice: User) -> None:
    client.force_login(make_staff("viewer", "view_feedback"))
    page = client.get("/admin/chat/feedback/").content.decode()
    assert "bad (1)" in page
    assert "good (0)" in page
    assert "Fake" in page
    shown = client.get(f"/admin/chat/feedback/{Feedback.objects.get().pk}/change/").content.decode()
    assert "alice" not in page + shown
    assert client.get(f"/admin/chat/feedback/?user={alice.pk}").status_code == 400


def test_users_cannot_be_found_by_their_reports(client: Client, filed: Report) -> None:
    client.force_login(make_staff("viewer", "view_user"))
    for query in (
        f"reports={filed.pk}",
        f"reports__id__exact={filed.pk}",
        f"reports__pseudonym={filed.pseudonym}",
        f"cases_about={filed.case_id}",
        f"conversations={Conversation.objects.latest('pk').pk}",
    ):
        assert client.get(f"/admin/accounts/user/?{query}").status_code == 400


def test_every_subject_adds_its_part_to_the_pages_of_users(client: Client, root: User, filed: Report) -> None:
    page = client.get("/admin/accounts/user/?account_type__exact=member").context["cl"]
    assert page.list_display[-1] == "conversation_count"
    assert {user.username: user._conversations for user in page.result_list}["alice"] == 2
    client.post("/admin/accounts/user/", {"action": "approve", "_selected_action": [make_pending("pat").pk]})
    assert User.objects.get(username="pat").account_type == "member"
    assert client.get(reverse("admin:accounts_user_trace")).status_code == 200


def test_cases_cannot_be_found_by_reported_user(client: Client, filed: Report, alice: User) -> None:
    # People report answers in their own conversations, so the reported user is usually the reporter.
    client.force_login(make_staff("viewer", "view_reviewcase"))
    for query in (f"subject={alice.pk}", f"subject__id__exact={alice.pk}", "subject__username=alice"):
        assert client.get(f"/admin/review/reviewcase/?queue=all&{query}").status_code == 400


def test_the_log_can_be_filtered(client: Client, root: User, filed: Report) -> None:
    def listed(query: str) -> set[str]:
        response = client.get(f"/admin/review/reviewevent/?{query}")
        return {event.kind for event in response.context["cl"].result_list}

    assert listed("kind__exact=decided") == {"decided"}
    assert listed("outcome__exact=upheld") == {"decided"}
    assert listed("is_overturn__exact=1") == set()
    assert listed("q=somebody") == {"claimed", "decided"}
    assert listed(f"q={filed.case.uuid}") == {"filed", "claimed", "decided"}
    assert listed(f"q={filed.reference}") == {"filed"}


# --- Editable records ---


def test_editing_presets_requires_the_permission(client: Client, filed: Report) -> None:
    preset = ReplyPreset.objects.earliest("pk")
    page = f"/admin/review/replypreset/{preset.pk}/change/"
    given = {"title": "New", "outcome": "", "text": "Thank you.", "position": 3, "is_enabled": "on"}
    client.force_login(make_staff("viewer", "view_replypreset"))
    assert client.post(page, given).status_code == 403
    client.force_login(make_staff("editor", "view_replypreset", "change_replypreset"))
    assert client.post(page, given).status_code == 302
    preset.refresh_from_db()
    assert (preset.title, preset.text, preset.position) == ("New", "Thank you.", 3)


def test_blocklist_entries_can_be_added_changed_and_deleted(client: Client, filed: Report) -> None:
    actions = ("view", "add", "change", "delete")
    staff = make_staff("editor", *(f"{action}_blocklistentry" for action in actions))
    client.force_login(staff)
    entry = BlocklistEntry.objects.get()
    assert client.post("/admin/review/blocklistentry/add/", {"text": "so bad"}).status_code == 302
    assert BlocklistEntry.objects.get(text="so bad").added_by == staff
    page = f"/admin/review/blocklistentry/{entry.pk}/"
    # Editing an entry keeps its author and its case.
    assert (
        client.post(f"{page}change/", {"text": "wrong", "added_by": staff.pk, "case": ""}).status_code == 302
    )
    entry.refresh_from_db()
    assert (entry.text, entry.added_by, entry.case) == (
        "wrong",
        User.objects.get(username="somebody"),
        filed.case,
    )
    assert client.post(f"{page}delete/", {"post": "yes"}).status_code == 302
    assert not BlocklistEntry.objects.filter(pk=entry.pk).exists()


# --- Export of the evaluation set ---


def export(client: Client) -> Any:
    chosen = EvaluationItem.objects.values_list("pk", flat=True)
    return client.post(
        "/admin/evaluation/evaluationitem/", {"action": "export", "_selected_action": list(chosen)}
    )


def test_the_evaluation_set_can_be_exported(client: Client, filed: Report) -> None:
    staff = make_staff("exporter", "view_evaluationitem", "export_reviewcase")
    client.force_login(staff)
    response = export(client)
    assert response["Content-Type"].startswith("application/jsonl")
    [line] = b"".join(response.streaming_content).decode().splitlines()
    item = json.loads(line)
    assert item["case"] == str(filed.case.uuid)
    assert item["messages"][0]["text"] == "The prompt"
    assert (item["answer"], item["vetted_answer"]) == ("Wrong — über α.", "Right.")
    assert "alice" not in line
    assert filed.pseudonym not in line
    event = ReviewEvent.objects.latest("sequence")
    assert (event.kind, event.actor) == ("exported", staff)
    assert event.details == {"what": "evaluation set", "items": 1}


def test_the_export_requires_its_permission(client: Client, filed: Report) -> None:
    client.force_login(make_staff("viewer", "view_evaluationitem"))
    response = export(client)
    assert not response.streaming
    assert not ReviewEvent.objects.filter(kind="exported").exists()


def test_an_account_notice_is_shown_with_its_case(client: Client, root: User, filed: Report) -> None:
    notice = AccountNotice.objects.get()
    page = client.get(f"/admin/accounts/accountnotice/{notice.pk}/change/").content.decode()
    assert "Please don&#x27;t." in page
    # The notice page and the list both name the case.
    for shown in (page, client.get("/admin/accounts/accountnotice/").content.decode()):
        assert f"#{filed.case_id}" in shown
