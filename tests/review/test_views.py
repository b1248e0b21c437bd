"""The pages for reporters: filing, following up, privacy, notices and suspension."""

import datetime as dt
import re
import uuid
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from conversations.accounts.models import AccountNotice, User
from conversations.catalogue.models import ChatModel
from conversations.chat.models import Feedback, Message
from conversations.review.models import Report
from conversations.review.services import decisions, reports, reviewing
from tests.factories import LEAD, make_answer, make_decision, make_report, make_staff
from tests.page import signed_in

pytestmark = pytest.mark.django_db

FILED = {"category": "incorrect", "comment": "Wrong."}
FRAGMENT = {"HX-Request": "true"}


@pytest.fixture
def told(alice: User, model: ChatModel) -> Message:
    return make_answer(alice, "The moon is <i>cheese</i>.")


@pytest.fixture
def hers(alice: User) -> Client:
    return signed_in(alice)


def decide(filed: Report, outcome: str = "dismissed", **values: Any) -> None:
    staff = User.objects.filter(username="lead").first() or make_staff("lead", *LEAD)
    decision = make_decision(outcome, reply="Thank <b>you</b>.", **values)
    decisions.decide(staff=staff, case=filed.case.uuid, version=None, decision=decision, now=timezone.now())


def test_a_report_as_a_fragment_and_as_a_page(hers: Client, told: Message) -> None:
    url = reverse("report_answer", args=[told.uuid])
    assert "<html" in hers.get(url).text
    assert "<html" not in hers.get(url, headers=FRAGMENT).text
    thanks = hers.post(url, FILED, headers=FRAGMENT)
    filed = Report.objects.get()
    assert filed.reference in thanks.text
    assert hers.post(url, FILED).url == reverse("report", args=[filed.uuid])  # type: ignore[attr-defined]
    assert Report.objects.count() == 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"category": ""}, "Choose a category."),
        ({"category": "nonsense"}, "Choose a category."),
        ({"category": "other", "comment": "  "}, "Describe the problem"),
        ({"comment": "x" * 1_001}, "at most 1000 characters"),
        ({"comment": "a\0b"}, "Null characters"),
    ],
)
def test_an_invalid_report_is_shown_again_with_its_errors(
    hers: Client, told: Message, values: dict[str, str], reason: str
) -> None:
    response = hers.post(reverse("report_answer", args=[told.uuid]), {**FILED, **values})
    assert response.status_code == 422
    assert reason in response.text
    assert not Report.objects.exists()
    if values.get("comment", "").startswith("x"):
        assert "x" * 1_001 in response.text


def test_an_invalid_fragment_is_shown_again_with_its_text(hers: Client, told: Message) -> None:
    url = reverse("report_answer", args=[told.uuid])
    response = hers.post(url, {"comment": "My <words>"}, headers=FRAGMENT)
    assert response.status_code == 422
    assert "<html" not in response.text
    assert ">My &lt;words&gt;</textarea>" in response.text


def test_the_form_shows_the_earlier_report(hers: Client, alice: User, told: Message) -> None:
    make_answer(alice, "And more.", conversation=told.conversation.uuid)
    filed = make_report(alice, told, "biased", "First words", includes_context=True)
    page = " ".join(hers.get(reverse("report_answer", args=[told.uuid])).text.split())
    assert f"Sending this form updates your report {filed.reference}." in page
    assert 'value="biased" required checked' in page
    assert ">First words</textarea>" in page
    assert "Include 1 surrounding turn" in page
    assert 'name="includes_context" checked' in page
    alone = make_answer(alice, "Nothing around it.")
    assert "includes_context" not in hers.get(reverse("report_answer", args=[alone.uuid])).text


def test_a_report_about_the_site_stores_the_page(hers: Client) -> None:
    form = hers.get(reverse("report_application"), {"page": "/c/<x>/"})
    assert 'name="page" value="/c/&lt;x&gt;/"' in form.text
    values = {"category": "technical", "comment": "Slow", "page": "/c/<x>/"}
    page = hers.post(reverse("report_application"), values, follow=True).text
    assert "/c/&lt;x&gt;/" in page


def test_reports_are_paginated_with_a_constant_number_of_queries(
    hers: Client, alice: User, told: Message, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    # Session, user, count, page, decisions about deleted answers, mark as seen, name of the site.
    queries = 7
    gone = make_report(alice, told)
    decide(gone)
    told.conversation.delete()
    hers.get(reverse("reports"))
    with django_assert_num_queries(queries):
        hers.get(reverse("reports"))
    # The reports are old so that the hourly limit doesn't apply.
    earlier = timezone.now() - dt.timedelta(days=1)
    for number in range(20):
        make_report(alice, make_answer(alice, f"Answer {number}."), now=earlier + dt.timedelta(hours=number))
    with django_assert_num_queries(queries):
        page = hers.get(reverse("reports")).text
    assert page.count("reports__item") == 20
    assert 'href="?page=2"' in page
    assert hers.get(reverse("reports"), {"page": "2"}).text.count("reports__item") == 1


def test_too_many_reports_are_refused_with_an_explanation(
    hers: Client, told: Message, settings: LazySettings
) -> None:
    settings.REPORTS_PER_HOUR = 1
    url = reverse("report_application")
    assert hers.post(url, {"category": "technical", "comment": "One"}).status_code == 302
    response = hers.post(url, {"category": "technical", "comment": "Two"})
    assert response.status_code == 422
    assert "1 report in the last hour" in response.text
    assert ">Two</textarea>" in response.text


def test_other_people_cannot_see_a_report(charlie: User, alice: User, told: Message) -> None:
    filed = make_report(alice, told, comment="My secret")
    decide(filed)
    notice = AccountNotice.objects.create(
        user=alice, kind="warning", text="Only for Alice", created_at=timezone.now()
    )
    his = signed_in(charlie)
    for name, public_id in (
        ("report_answer", told.uuid),
        ("report", filed.uuid),
        ("report_appeal", filed.uuid),
        ("report_reply", filed.uuid),
        ("feedback", told.uuid),
        ("notice_acknowledge", notice.uuid),
    ):
        url = reverse(name, args=[public_id])
        for response in (his.get(url), his.post(url, {**FILED, "text": "Mine", "rating": "1"})):
            assert response.status_code in {404, 405}
            assert "secret" not in response.text
    assert "secret" not in his.get(reverse("reports")).text
    assert "Only for Alice" not in his.get("/").text
    assert Report.objects.count() == 1
    assert not Feedback.objects.exists()
    notice.refresh_from_db()
    assert notice.acknowledged_at is None


def test_a_decided_report_shows_the_outcome_and_accepts_an_appeal(
    hers: Client, alice: User, told: Message
) -> None:
    filed = make_report(alice, told, comment="<script>1</script>")
    decide(filed)
    url = reverse("report", args=[filed.uuid])
    page = hers.get(url).text
    assert "Thank &lt;b&gt;you&lt;/b&gt;." in page
    assert "&lt;script&gt;" in page
    assert "The moon is &lt;i&gt;cheese&lt;/i&gt;." in page
    assert '<textarea class="input report__text" id="why" name="text"' in " ".join(page.split())
    refused = hers.post(reverse("report_appeal", args=[filed.uuid]), {"text": " "})
    assert (refused.status_code, "Enter some text." in refused.text) == (422, True)
    assert hers.post(reverse("report_appeal", args=[filed.uuid]), {"text": "Look again."}).status_code == 302
    assert "Look again." in hers.get(url).text
    again = hers.post(reverse("report_appeal", args=[filed.uuid]), {"text": "And again."})
    assert (again.status_code, "only once" in again.text) == (422, True)


def test_replies_are_counted_in_the_user_menu_until_they_are_seen(
    hers: Client, alice: User, charlie: User, told: Message
) -> None:
    def counted() -> list[str]:
        return re.findall(r"(\d+) reports? with a new reply", hers.get("/").text)

    filed = [make_report(alice, told), make_report(alice, make_answer(alice, "Also wrong."))]
    make_report(charlie, make_answer(charlie))
    assert counted() == []
    for report in filed:
        decide(report)
    # On the button for the sidebar, on the one for the menu, and in the menu.
    assert counted() == ["2", "2", "2"]
    hers.get(reverse("report", args=[filed[0].uuid]))
    assert counted() == ["1", "1", "1"]
    assert signed_in(charlie).get("/reports/").text.count("new reply") == 0
    assert counted() == ["1", "1", "1"]
    assert hers.get("/reports/").text.count("new reply") == 1
    assert hers.get("/reports/").text.count("new reply") == 0
    assert counted() == []
    reports.appeal(reporter=alice, report=filed[0].uuid, text="No.", now=timezone.now())
    assert counted() == []
    decide(filed[0])
    assert counted() == ["1", "1", "1"]


def test_a_question_counts_as_a_reply(hers: Client, alice: User, told: Message) -> None:
    filed = make_report(alice, told)
    reviewing.ask_reporter(
        staff=make_staff("lead", *LEAD),
        case=filed.case.uuid,
        version=None,
        report=filed.uuid,
        question="Which part?",
        now=timezone.now(),
    )
    assert "1 report with a new reply" in hers.get("/").text
    assert "Which part?" in hers.get(reverse("report", args=[filed.uuid])).text
    assert "with a new reply" not in hers.get("/").text


def test_a_question_from_staff_can_be_answered(hers: Client, alice: User, told: Message) -> None:
    filed = make_report(alice, told)
    reviewing.ask_reporter(
        staff=make_staff("lead", *LEAD),
        case=filed.case.uuid,
        version=None,
        report=filed.uuid,
        question="Which part?",
        now=timezone.now(),
    )
    assert "question for you" in hers.get(reverse("reports")).text
    assert hers.post(reverse("report_reply", args=[filed.uuid]), {"text": "The end."}).status_code == 302
    filed.refresh_from_db()
    assert filed.clarification == "The end."
    assert "The end." in hers.get(reverse("report", args=[filed.uuid])).text


def test_a_hidden_answer_is_not_on_any_page(hers: Client, alice: User, told: Message) -> None:
    filed = make_report(alice, told)
    decide(filed, "upheld", hides_answer=True)
    url = reverse("conversation", args=[told.conversation.uuid])
    for page in (hers.get(url).text, hers.get(reverse("report", args=[filed.uuid])).text):
        assert "cheese" not in page
    assert "Staff have hidden this answer" in hers.get(url).text
    assert reverse("report_answer", args=[told.uuid]) not in hers.get(url).text
    assert hers.post(reverse("feedback", args=[told.uuid]), {"rating": "1"}).status_code == 404


def test_a_hidden_answer_stays_hidden_after_it_is_deleted(hers: Client, alice: User, told: Message) -> None:
    filed = make_report(alice, told)
    hers.post(reverse("conversation_delete", args=[told.conversation.uuid]))
    decide(filed, "upheld", hides_answer=True)
    told.conversation.delete()
    pages = [reverse("reports"), reverse("report", args=[filed.uuid])]
    assert all("cheese" not in hers.get(url).text for url in pages)
    assert "Staff have hidden" in hers.get(pages[1]).text
    # An answer that wasn't hidden stays visible in its report.
    kept = make_answer(alice, "The sun is a lamp.")
    decide(make_report(alice, kept))
    kept.conversation.delete()
    assert "The sun is a lamp." in hers.get(pages[0]).text


def test_a_vetted_text_replaces_the_answer(hers: Client, alice: User, told: Message) -> None:
    decide(make_report(alice, told), "upheld", vetted_text="The moon is **rock**.")
    page = hers.get(reverse("conversation", args=[told.conversation.uuid])).text
    assert "<strong>rock</strong>" in page
    assert "cheese" not in page
    assert "replaced this answer" in page


def test_feedback_is_limited_to_one_per_person(hers: Client, told: Message) -> None:
    url = reverse("feedback", args=[told.uuid])
    for values in ({"rating": "1"}, {"rating": "-1"}, {"rating": "-1", "reason": "wrong"}):
        assert hers.post(url, values, headers=FRAGMENT).status_code == 200
    assert Feedback.objects.values_list("rating", "reason").get() == (-1, "wrong")
    wrong = ({"rating": "1", "reason": "wrong"}, {"rating": "0", "reason": "wrong"})
    for values in ({"rating": "5"}, {"rating": "x"}, {"rating": "1", "reason": "nonsense"}, {}, *wrong):
        assert hers.post(url, values).status_code == 404
    hers.post(url, {"rating": "0"})
    assert not Feedback.objects.exists()


def test_a_warning_is_shown_until_acknowledged(hers: Client, alice: User, told: Message) -> None:
    decide(make_report(alice, told), "upheld", warning="Be <b>kind</b>.")
    notice = AccountNotice.objects.get()
    assert "Be &lt;b&gt;kind&lt;/b&gt;." in hers.get("/").text
    hers.post(reverse("notice_acknowledge", args=[notice.uuid]))
    assert "kind" not in hers.get("/").text


def test_a_suspended_user_sees_the_reason_and_their_reports(hers: Client, alice: User, told: Message) -> None:
    filed = make_report(alice, told)
    decide(filed, "upheld", suspends=True, suspension_days=7, suspension_text="For <that>.")
    for response in (
        hers.get("/"),
        hers.get(reverse("conversation", args=[told.conversation.uuid])),
        hers.post(reverse("send"), {"text": "Hello", "client_id": str(uuid.uuid4())}),
        hers.get(reverse("report_answer", args=[told.uuid])),
        hers.get("/accounts/password/change/"),
    ):
        assert response.status_code == 403
        assert "For &lt;that&gt;." in response.text
    assert hers.get(reverse("reports")).status_code == 200
    assert hers.get(reverse("report", args=[filed.uuid])).status_code == 200
    User.objects.filter(pk=alice.pk).update(suspended_until=timezone.now() - dt.timedelta(seconds=1))
    assert hers.get("/").status_code == 200


def test_deleting_a_reported_conversation_explains_that_it_is_kept(
    hers: Client, alice: User, told: Message
) -> None:
    make_report(alice, told)
    response = hers.post(reverse("conversation_delete", args=[told.conversation.uuid]), follow=True)
    assert "deleted once the report about it is decided" in response.text
    assert Message.objects.filter(pk=told.pk).exists()
    assert hers.get(reverse("conversation", args=[told.conversation.uuid])).status_code == 404
