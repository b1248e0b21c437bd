"""Test that dates and times are in the person's time zone: on pages, over the socket and in emails."""

import datetime as dt
import re

import pytest
from allauth.usersessions.models import UserSession
from channels.db import database_sync_to_async
from django.conf import LazySettings
from django.core import mail
from django.test import Client
from django.utils import timezone

from conversations.access.services.guests import create_guest
from conversations.accounts.mails import notify_of_notice
from conversations.accounts.models import User
from conversations.accounts.rules import time_zone_of
from conversations.catalogue.models import ChatModel
from conversations.chat.models import Message
from tests.accounts.helpers import logged_in
from tests.factories import make_answer, make_preview
from tests.fakes import RunningUpstream
from tests.page import Page, signed_in

pytestmark = pytest.mark.django_db

AT = dt.datetime(2026, 7, 1, 20, 30, tzinfo=dt.UTC)
IN_TOKYO, IN_UTC = "July 2, 2026, 5:30 AM", "July 1, 2026, 8:30 PM"


def with_cookie(client: Client, name: str) -> Client:
    """Return the client after the script has told the server the browser's time zone."""
    client.cookies["time_zone"] = name
    return client


def test_the_browsers_time_zone_is_stored_once(alice: User) -> None:
    with_cookie(signed_in(alice), "Asia/Tokyo").get("/account/")
    alice.refresh_from_db()
    assert alice.time_zone == "Asia/Tokyo"
    page = with_cookie(signed_in(alice), "Europe/Berlin").get("/account/").text
    alice.refresh_from_db()
    assert alice.time_zone == "Asia/Tokyo"
    assert "Asia/Tokyo" in page
    assert "time_zone.js" not in page


@pytest.mark.parametrize("name", ["", "Nowhere", "../../etc/passwd", "Europe", "x" * 100])
def test_an_unknown_time_zone_is_replaced_by_the_sites(
    alice: User, settings: LazySettings, name: str
) -> None:
    page = with_cookie(signed_in(alice), name).get("/account/")
    assert page.status_code == 200
    assert "time_zone.js" in page.text
    alice.refresh_from_db()
    assert alice.time_zone == ""
    alice.time_zone = name[:64]
    assert time_zone_of(alice) == timezone.get_default_timezone()


def test_the_time_zone_can_be_changed(alice: User) -> None:
    client = with_cookie(signed_in(alice), "Asia/Tokyo")
    page = client.get("/account/time-zone/").text
    assert '<option value="Asia/Tokyo" selected>' in page
    assert '<option value="America/New_York">America/New York</option>' in page
    refused = client.post("/account/time-zone/", {"time_zone": "Nowhere"})
    assert (refused.status_code, "Choose a time zone from the list." in refused.text) == (422, True)
    assert client.post("/account/time-zone/", {"time_zone": "America/New_York"}).status_code == 302
    alice.refresh_from_db()
    assert alice.time_zone == "America/New_York"


def test_pages_use_the_persons_time_zone_and_leave_it(alice: User, charlie: User, model: ChatModel) -> None:
    User.objects.filter(pk=alice.pk).update(time_zone="Asia/Tokyo")
    for person, expected in ((alice, IN_TOKYO), (charlie, IN_UTC)):
        answer = make_answer(person)
        Message.objects.filter(pk=answer.pk).update(created_at=AT)
        assert expected in signed_in(person).get(f"/c/{answer.conversation.uuid}/").text
        client = logged_in(person.username)
        UserSession.objects.filter(user=person).update(created_at=AT)
        assert f"signed in {expected}" in client.get("/account/devices/").text
        assert timezone.get_current_timezone() == timezone.get_default_timezone()


def test_the_admin_uses_the_time_zone_of_staff(admin_user: User) -> None:
    User.objects.filter(pk=admin_user.pk).update(time_zone="Asia/Tokyo", last_login=AT)
    client = signed_in(admin_user)
    User.objects.filter(pk=admin_user.pk).update(last_login=AT)
    assert IN_TOKYO in client.get("/admin/accounts/user/").text


def test_visitors_see_the_browsers_time_zone() -> None:
    preview = make_preview(allows_guests=True)
    page = with_cookie(Client(), "Asia/Tokyo").get(f"/preview/{preview.uuid}/").text
    assert "(JST)" in page
    assert "(UTC)" in Client().get(f"/preview/{preview.uuid}/").text


def test_mails_use_the_recipients_time_zone(
    alice: User, charlie: User, django_capture_on_commit_callbacks: object
) -> None:
    User.objects.update(email="them@example.org")
    for person, zone in ((alice, "Asia/Tokyo"), (charlie, "")):
        person.refresh_from_db()
        person.time_zone = zone
        with timezone.override("America/New_York"), django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
            notify_of_notice(person, text="No.", kind="suspension", ends_at=AT)
    assert f"until {IN_TOKYO} (JST)" in mail.outbox[0].body
    assert f"until {IN_UTC} (UTC)" in mail.outbox[1].body


@pytest.mark.django_db(transaction=True)
async def test_the_socket_uses_the_persons_time_zone(
    alice: User, upstream: RunningUpstream, model: ChatModel, service: object
) -> None:
    alice.time_zone = "Asia/Kathmandu"
    await alice.asave(update_fields=["time_zone"])
    tab = Page(await database_sync_to_async(signed_in)(alice))
    assert await tab.open()
    upstream.answer_with("Hi.")
    await tab.say("Hello")
    frames = await tab.until("The answer is complete")
    assert set(re.findall(r'<time[^>]* datetime="[^"]*([+-]\d\d:\d\d)"', frames)) == {"+05:45"}
    await tab.close()


def test_a_guest_has_a_time_zone_too() -> None:
    preview = make_preview(allows_guests=True)
    guest = create_guest(preview=preview.uuid, address="192.0.2.1", now=timezone.now())
    assert "(JST)" in with_cookie(signed_in(guest), "Asia/Tokyo").get("/").text
