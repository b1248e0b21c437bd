"""Reminders to reviewers about overdue cases."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import LazySettings
from django.core import mail
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.utils import timezone

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.review import mails
from conversations.review.models import ReviewCase
from conversations.review.services import decisions, reports
from tests.factories import LEAD, REVIEWER, make_answer, make_report, make_reports, make_staff

pytestmark = pytest.mark.django_db

HOUR = dt.timedelta(hours=1)


@pytest.fixture(autouse=True)
def _model(model: ChatModel, settings: LazySettings) -> None:
    settings.REVIEW_REMINDER_HOURS = 24


@pytest.fixture
def lead(db: None) -> User:
    return make_staff("lead", *LEAD)


def remind(now: dt.datetime, capture: Any) -> int:
    mail.outbox.clear()
    with capture(execute=True):
        return mails.remind_reviewers(now=now)


def test_ten_overdue_cases_make_one_mail(lead: User, django_capture_on_commit_callbacks: Any) -> None:
    make_reports(10)
    now = timezone.now()
    assert remind(now + 23 * HOUR, django_capture_on_commit_callbacks) == 0
    assert mail.outbox == []
    assert remind(now + 25 * HOUR, django_capture_on_commit_callbacks) == 10
    [sent] = mail.outbox
    assert sent.to == ["lead@example.org"]
    assert "10 reports are waiting" in sent.subject
    assert "/admin/review/reviewcase/" in sent.body
    # The mail contains no text written by users.
    assert "Answer" not in sent.body
    assert "It is wrong" not in sent.body
    assert "person-" not in sent.body


def test_a_case_is_not_listed_again_until_it_has_waited_as_long_again(
    lead: User, django_capture_on_commit_callbacks: Any
) -> None:
    make_reports(2)
    capture, now = django_capture_on_commit_callbacks, timezone.now()
    assert remind(now + 25 * HOUR, capture) == 2
    for hours in (25, 30, 48):
        assert remind(now + hours * HOUR, capture) == 0
        assert mail.outbox == []
    [later] = make_reports(1)
    assert remind(now + 26 * HOUR, capture) == 1
    assert f"#{later.case_id}" in mail.outbox[0].body
    assert remind(now + 49 * HOUR, capture) == 2


def test_closed_cases_are_not_listed_and_reopened_cases_wait_afresh(
    alice: User, lead: User, django_capture_on_commit_callbacks: Any
) -> None:
    capture, now = django_capture_on_commit_callbacks, timezone.now()
    filed = make_report(alice, make_answer(alice))
    decision = decisions.Decision("dismissed", "It is right.")
    decisions.decide(staff=lead, case=filed.case.uuid, version=None, decision=decision, now=now)
    assert remind(now + 25 * HOUR, capture) == 0
    reports.appeal(reporter=alice, report=filed.uuid, text="Look again.", now=now + 30 * HOUR)
    assert remind(now + 50 * HOUR, capture) == 0
    assert remind(now + 55 * HOUR, capture) == 1


def test_only_active_reviewers_with_an_address_are_reminded(
    lead: User, django_capture_on_commit_callbacks: Any
) -> None:
    make_reports(1)
    make_staff("reviewer", *REVIEWER)
    make_staff("onlooker", "view_reviewcase")
    make_staff("gone", *REVIEWER)
    User.objects.filter(username="gone").update(is_active=False)
    make_staff("silent", *REVIEWER)
    User.objects.filter(username="silent").update(email="")
    User.objects.create_superuser("root", email="root@example.org")
    assert remind(timezone.now() + 25 * HOUR, django_capture_on_commit_callbacks) == 1
    # Separate mails keep reviewers from seeing each other's addresses.
    assert [sent.to for sent in mail.outbox] == [["lead@example.org"], ["reviewer@example.org"]]


def test_administrators_are_reminded_if_there_are_no_reviewers(
    django_capture_on_commit_callbacks: Any,
) -> None:
    make_reports(1)
    User.objects.create_superuser("root", email="root@example.org")
    assert remind(timezone.now() + 25 * HOUR, django_capture_on_commit_callbacks) == 1
    assert [sent.to for sent in mail.outbox] == [["root@example.org"]]


def test_reminders_can_be_turned_off(
    lead: User, settings: LazySettings, django_capture_on_commit_callbacks: Any
) -> None:
    settings.REVIEW_REMINDER_HOURS = 0
    make_reports(1)
    assert remind(timezone.now() + 1000 * HOUR, django_capture_on_commit_callbacks) == 0


def test_the_command_prints_the_number_of_cases(
    lead: User, capsys: pytest.CaptureFixture[str], django_capture_on_commit_callbacks: Any
) -> None:
    make_reports(3)
    ReviewCase.objects.update(opened_at=timezone.now() - 25 * HOUR)
    with django_capture_on_commit_callbacks(execute=True):
        call_command("remind_reviewers")
        call_command("remind_reviewers")
    assert capsys.readouterr().out.splitlines() == ["Cases in the reminder: 3", "Cases in the reminder: 0"]
    assert len(mail.outbox) == 1


@pytest.mark.django_db(transaction=True)
def test_concurrent_processes_list_each_case_once(lead: User) -> None:
    make_reports(6)
    now = timezone.now() + 25 * HOUR

    def run(_number: int) -> int:
        try:
            return mails.remind_reviewers(now=now)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) == 6
    listed = [line for sent in mail.outbox for line in sent.body.splitlines() if line.strip().startswith("#")]
    assert len(listed) == len(set(listed)) == 6


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks the whole database.")
def test_a_locked_case_is_left_for_the_next_reminder(lead: User) -> None:
    held, _free = make_reports(2)
    now = timezone.now() + 25 * HOUR

    def run() -> int:
        try:
            return mails.remind_reviewers(now=now)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        ReviewCase.objects.select_for_update().get(pk=held.case_id)
        assert pool.submit(run).result() == 1
    assert mails.remind_reviewers(now=now) == 1
    assert len(mail.outbox) == 2
