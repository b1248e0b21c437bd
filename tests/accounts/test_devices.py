"""Test the list of devices where an account is signed in, and signing out one or all others."""

import re
import time

import pytest
from allauth.usersessions.models import UserSession
from channels.db import database_sync_to_async
from django.contrib.sessions.models import Session
from django.test import Client

from conversations.accounts.models import User
from conversations.accounts.views.pages import describe_browser
from tests.accounts.helpers import is_logged_in, logged_in
from tests.page import Page

pytestmark = pytest.mark.django_db


@pytest.fixture
def hers(alice: User) -> Client:
    """Return a client in which Alice is signed in."""
    return logged_in()


PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18.0 Safari/604.1"


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (PHONE, "Safari on iPhone"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit Chrome/140.0 Mobile Safari", "Chrome on Android"),
        ("curl/8", "Unknown browser"),
        ("", "Unknown browser"),
    ],
)
def test_browsers_are_shown_by_their_common_names(user_agent: str, name: str) -> None:
    assert describe_browser(user_agent) == name


def test_one_device_is_signed_out(alice: User, hers: Client) -> None:
    phone, third = logged_in(headers={"user-agent": PHONE}), logged_in()
    page = hers.get("/account/devices/").content.decode()
    assert "Safari on iPhone" in page
    assert page.count("This device") == 1
    session = UserSession.objects.get(user_agent=PHONE)
    hers.post(f"/account/devices/{session.pk}/end/")
    assert not is_logged_in(phone)
    assert is_logged_in(third)
    assert is_logged_in(hers)


def test_all_other_devices_are_signed_out(hers: Client) -> None:
    others = [logged_in(), logged_in()]
    hers.post("/account/devices/")
    assert not any(is_logged_in(other) for other in others)
    assert is_logged_in(hers)


def test_devices_of_other_users_are_not_found(hers: Client, charlie: User) -> None:
    his = logged_in("charlie")
    session = UserSession.objects.get(user=charlie)
    assert str(session.pk) not in re.findall(r"device-(\d+)", hers.get("/account/devices/").content.decode())
    assert hers.post(f"/account/devices/{session.pk}/end/").status_code == 404
    assert is_logged_in(his)


def test_a_session_from_before_devices_were_recorded_is_listed(alice: User) -> None:
    client = Client()
    client.force_login(alice)
    assert "This device" in client.get("/account/devices/").content.decode()


@pytest.mark.django_db(transaction=True)
async def test_open_pages_close_soon_after_their_device_is_signed_out(tab: Page) -> None:
    def log_out_the_others() -> None:
        session = Session.objects.get()
        client = Client()
        client.force_login(User.objects.get(username="alice"))
        UserSession.objects.create(
            user_id=session.get_decoded()["_auth_user_id"], session_key=session.session_key, ip="127.0.0.1"
        )
        client.post("/account/devices/")

    await database_sync_to_async(log_out_the_others)()
    began = time.monotonic()
    assert await tab.closed() == 4401
    assert time.monotonic() - began < 5
