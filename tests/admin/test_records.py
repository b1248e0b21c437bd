"""What the review keeps, in Django admin: who sees it, and that nobody changes evidence."""

import json
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.utils import timezone

from conversations.models import (
    AccountNotice,
    BlocklistEntry,
    EvaluationItem,
    Feedback,
    ReplyPreset,
    Report,
    ReviewEvent,
    ReviewLogHead,
    User,
)
from conversations.operations import decisions, feedback, review_log
from tests.answers import answer, report
from tests.staff import REVIEWER, make_staff

pytestmark = pytest.mark.django_db

ADMIN = "/admin/conversations/"
EVIDENCE = ("report", "reviewevent", "evaluationitem", "accountnotice", "feedback")


@pytest.fixture
def filed(alice: User) -> Report:
    """A report that was decided, with everything that a decision leaves behind."""
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    filed = report(alice, answer(alice, "Wrong — über α."), comment="It is wrong.")
    decision = decisions.Decision(
        "upheld",
        "It is.",
        vetted_text="Right.",
        warning="Please don't.",
        blocklist_text="so wrong",
        adds_to_evaluation=True,
    )
    staff = make_staff("somebody", *REVIEWER)
    decisions.decide(staff=staff, case=filed.case.uuid, version=None, decision=decision, now=timezone.now())
    feedback.rate(user=alice, message=answer(alice).uuid, rating=-1, reason="wrong", now=timezone.now())
    return filed


@pytest.fixture
def root(client: Client) -> User:
    """Signed in at `client`: an administrator, who may do everything that anybody may."""
    root = User.objects.create_superuser("root", password="correct horse battery")
    client.force_login(root)
    return root


def one(name: str) -> Any:
    return next(
        model for model in admin.site._registry if model._meta.model_name == name
    )._default_manager.first()


@pytest.mark.parametrize("name", EVIDENCE)
def test_evidence_is_changed_by_nobody(client: Client, root: User, filed: Report, name: str) -> None:
    shown = one(name)
    page = f"{ADMIN}{name}/{shown.pk}/"
    before = type(shown)._default_manager.filter(pk=shown.pk).values().get()
    assert client.get(f"{ADMIN}{name}/").status_code == 200
    response = client.get(f"{page}change/")
    assert response.status_code == 200
    assert b'type="submit" value="Save"' not in response.content
    assert client.post(f"{page}change/", {"text": "Else."}).status_code == 403
    assert client.get(f"{page}delete/").status_code == 403
    assert client.post(f"{page}delete/", {"post": "yes"}).status_code == 403
    assert client.get(f"{ADMIN}{name}/add/").status_code == 403
    action = {"action": "delete_selected", "_selected_action": [shown.pk], "post": "yes"}
    client.post(f"{ADMIN}{name}/", action)
    assert type(shown)._default_manager.filter(pk=shown.pk).values().get() == before
    assert review_log.verify().faults == []


@pytest.mark.parametrize("name", [*EVIDENCE, "replypreset", "blocklistentry"])
def test_staff_without_the_permission_see_nothing(client: Client, filed: Report, name: str) -> None:
    client.force_login(make_staff("onlooker", "view_reviewcase"))
    for address in (
        "",
        "add/",
        f"{one(name).pk}/change/",
        f"{one(name).pk}/delete/",
        f"{one(name).pk}/history/",
    ):
        assert client.get(f"{ADMIN}{name}/{address}").status_code == 403
    client.force_login(make_staff("viewer", f"view_{name}"))
    assert client.get(f"{ADMIN}{name}/").status_code == 200
    assert client.get(f"{ADMIN}{name}/{one(name).pk}/change/").status_code == 200
    assert client.get(f"{ADMIN}{name}/{one(name).pk}/delete/").status_code == 403


def test_the_end_of_the_log_and_snapshots_are_nowhere(client: Client, root: User, filed: Report) -> None:
    assert ReviewLogHead not in admin.site._registry
    for name in ("reviewloghead", "snapshot", "rerun"):
        assert client.get(f"{ADMIN}{name}/").status_code == 404


def test_a_report_does_not_say_whose_it_is(client: Client, filed: Report, alice: User) -> None:
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
def test_reports_are_not_found_by_who_filed_them(
    client: Client, filed: Report, alice: User, query: str
) -> None:
    client.force_login(make_staff("viewer", "view_report"))
    response = client.get(f"{ADMIN}report/?{query.format(pk=alice.pk)}")
    assert response.status_code == 400
    page = client.get(f"{ADMIN}report/?q=alice").content.decode()
    assert filed.reference not in page


def test_thumbs_are_counted_and_nobodys(client: Client, filed: Report, alice: User) -> None:
    client.force_login(make_staff("viewer", "view_feedback"))
    page = client.get(f"{ADMIN}feedback/").content.decode()
    assert "bad (1)" in page
    assert "good (0)" in page
    assert "Fake" in page
    shown = client.get(f"{ADMIN}feedback/{Feedback.objects.get().pk}/change/").content.decode()
    assert "alice" not in page + shown
    assert client.get(f"{ADMIN}feedback/?user={alice.pk}").status_code == 400


def test_people_are_not_found_by_their_reports(client: Client, filed: Report) -> None:
    client.force_login(make_staff("viewer", "view_user"))
    for query in (
        f"reports={filed.pk}",
        f"reports__id__exact={filed.pk}",
        f"reports__pseudonym={filed.pseudonym}",
    ):
        assert client.get(f"{ADMIN}user/?{query}").status_code == 400


def test_cases_are_not_found_by_whom_they_are_about(client: Client, filed: Report, alice: User) -> None:
    # Who reports an answer is who asked for it, so this would tell who reported.
    client.force_login(make_staff("viewer", "view_reviewcase"))
    for query in (f"subject={alice.pk}", f"subject__id__exact={alice.pk}", "subject__username=alice"):
        assert client.get(f"{ADMIN}reviewcase/?queue=all&{query}").status_code == 400


def test_the_log_is_filtered(client: Client, root: User, filed: Report) -> None:
    def listed(query: str) -> set[str]:
        response = client.get(f"{ADMIN}reviewevent/?{query}")
        return {event.kind for event in response.context["cl"].result_list}

    assert listed("kind__exact=decided") == {"decided"}
    assert listed("outcome__exact=upheld") == {"decided"}
    assert listed("is_overturn__exact=1") == set()
    assert listed("q=somebody") == {"claimed", "decided"}
    assert listed(f"q={filed.case.uuid}") == {"filed", "claimed", "decided"}
    assert listed(f"q={filed.reference}") == {"filed"}


# --- What may be changed ---


def test_presets_are_edited_with_the_permission(client: Client, filed: Report) -> None:
    preset = ReplyPreset.objects.earliest("pk")
    page = f"{ADMIN}replypreset/{preset.pk}/change/"
    given = {"title": "New", "outcome": "", "text": "Thank you.", "position": 3, "is_enabled": "on"}
    client.force_login(make_staff("viewer", "view_replypreset"))
    assert client.post(page, given).status_code == 403
    client.force_login(make_staff("editor", "view_replypreset", "change_replypreset"))
    assert client.post(page, given).status_code == 302
    preset.refresh_from_db()
    assert (preset.title, preset.text, preset.position) == ("New", "Thank you.", 3)


def test_a_wording_is_added_changed_and_taken_away(client: Client, filed: Report) -> None:
    actions = ("view", "add", "change", "delete")
    staff = make_staff("editor", *(f"{action}_blocklistentry" for action in actions))
    client.force_login(staff)
    entry = BlocklistEntry.objects.get()
    assert client.post(f"{ADMIN}blocklistentry/add/", {"text": "so bad"}).status_code == 302
    assert BlocklistEntry.objects.get(text="so bad").added_by == staff
    page = f"{ADMIN}blocklistentry/{entry.pk}/"
    # Who added it, and in which case, stays.
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


# --- The evaluation set as a file ---


def export(client: Client) -> Any:
    chosen = EvaluationItem.objects.values_list("pk", flat=True)
    return client.post(f"{ADMIN}evaluationitem/", {"action": "export", "_selected_action": list(chosen)})


def test_the_evaluation_set_is_exported(client: Client, filed: Report) -> None:
    staff = make_staff("exporter", "view_evaluationitem", "export_reviewcase")
    client.force_login(staff)
    response = export(client)
    assert response["Content-Type"].startswith("application/jsonl")
    [line] = b"".join(response.streaming_content).decode().splitlines()
    item = json.loads(line)
    assert item["case"] == str(filed.case.uuid)
    assert item["turns"][0]["text"] == "The prompt"
    assert (item["answer"], item["vetted_answer"]) == ("Wrong — über α.", "Right.")
    assert "alice" not in line
    assert filed.pseudonym not in line
    event = ReviewEvent.objects.latest("sequence")
    assert (event.kind, event.actor) == ("exported", staff)
    assert event.details == {"what": "evaluation set", "items": 1}


def test_the_export_needs_its_permission(client: Client, filed: Report) -> None:
    client.force_login(make_staff("viewer", "view_evaluationitem"))
    response = export(client)
    assert not response.streaming
    assert not ReviewEvent.objects.filter(kind="exported").exists()


def test_a_notice_is_shown(client: Client, root: User, filed: Report) -> None:
    notice = AccountNotice.objects.get()
    assert "Please don&#x27;t." in client.get(f"{ADMIN}accountnotice/{notice.pk}/change/").content.decode()
