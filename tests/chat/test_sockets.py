"""Tests of the number of open pages per user."""

import datetime as dt

import pytest
from django.conf import LazySettings
from django.utils import timezone

from conversations.accounts.models import User
from conversations.chat.generation import journal
from conversations.chat.models.sockets import SocketLease
from conversations.chat.services import sockets
from tests.concurrency import at_once
from tests.factories import make_user

pytestmark = pytest.mark.django_db


def open_page(user: User, process: str = "elsewhere:1:a", *, now: dt.datetime | None = None) -> int | None:
    return sockets.open_socket(user=user, process=process, now=now or timezone.now())


def test_pages_are_counted_across_processes(alice: User, charlie: User, settings: LazySettings) -> None:
    settings.CHAT_SOCKETS_PER_USER = 2
    now = timezone.now()
    first = open_page(alice, "one:1:a", now=now)
    assert first is not None
    assert open_page(alice, "two:1:a", now=now) is not None
    assert open_page(alice, "two:1:a", now=now) is None
    assert open_page(charlie, "two:1:a", now=now) is not None
    sockets.close_sockets([first])
    assert open_page(alice, "two:1:a", now=now) is not None


def test_pages_of_a_dead_process_do_not_count(alice: User, settings: LazySettings) -> None:
    settings.CHAT_SOCKETS_PER_USER = 1
    now = timezone.now()
    lease = open_page(alice, "one:1:a", now=now)
    assert lease is not None
    sockets.keep_sockets({lease: alice.pk}, process="one:1:a", now=now + sockets.LEASE)
    assert open_page(alice, "two:1:a", now=now + sockets.LEASE * 1.5) is None
    assert open_page(alice, "two:1:a", now=now + sockets.LEASE * 2) is not None
    # A dead process on this machine is noticed at once. Its id is above the kernel's maximum, so it can't exist.
    dead = f"{journal._HOST}:4194999:a"
    SocketLease.objects.update(process=dead, seen_at=now)
    assert open_page(alice, "two:1:a", now=now) is not None


def test_leases_that_are_not_renewed_expire(alice: User, charlie: User) -> None:
    now = timezone.now()
    mine, leaked, gone = (open_page(alice, "one:1:a", now=now) for _ in range(3))
    assert mine and leaked and gone
    sockets.keep_sockets({mine: alice.pk}, process="one:1:a", now=now + sockets.LEASE)
    assert list(SocketLease.objects.values_list("pk", flat=True)) == [mine]


def test_a_deleted_lease_of_an_open_page_is_recreated(alice: User, charlie: User) -> None:
    now = timezone.now()
    mine, theirs = open_page(alice, now=now), open_page(charlie, now=now)
    assert mine and theirs
    SocketLease.objects.all().delete()
    charlie.delete()
    sockets.keep_sockets({mine: alice.pk, theirs: charlie.pk or 0}, process="one:1:a", now=now)
    assert list(SocketLease.objects.values_list("pk", "user", "process")) == [(mine, alice.pk, "one:1:a")]


@pytest.mark.django_db(transaction=True)
def test_the_limit_holds_for_thirty_pages_at_once(settings: LazySettings) -> None:
    settings.CHAT_SOCKETS_PER_USER = 5
    person = make_user("pat")
    assert at_once(30, lambda index: open_page(person, f"p{index % 3}:1:a") is not None) == 5
