"""The visitor of a socket, and whether they still have access."""

import datetime as dt
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import cast

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from conversations.access import selectors as access
from conversations.accounts.models import User
from conversations.chat.generation import ending
from conversations.chat.models.generations import Generation


@dataclass(frozen=True, slots=True)
class Visitor:
    """The user of a socket and the session that admitted it. `session_auth_hash` changes with the password."""

    user: User
    session_key: str
    session_auth_hash: str


def identify(cookies: Mapping[str, str]) -> Visitor | None:
    """Return the visitor with these cookies, or None if nobody is signed in.

    Uses Django's own look-up, which also accepts the keys in SECRET_KEY_FALLBACKS.
    """
    key = cookies.get(settings.SESSION_COOKIE_NAME, "")
    if not key:
        return None
    session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user = get_user(cast(HttpRequest, SimpleNamespace(session=session)))
    if not isinstance(user, User) or not user.is_active or session.session_key is None:
        return None
    return Visitor(user, session.session_key, user.get_session_auth_hash())


class Ended(enum.Enum):
    """The reasons why a visitor has lost access."""

    SIGNED_OUT = "signed out"
    BLOCKED = "kept out"


def no_longer_valid(visitors: Iterable[Visitor], *, now: dt.datetime) -> dict[Visitor, Ended]:
    """Return the visitors who have lost access, each with the reason.

    They signed out, their password was changed, or they may no longer use the site. Takes at most five queries for any
    number of visitors.
    """
    visitors = list(visitors)
    sessions = set(
        Session.objects.filter(
            session_key__in={visitor.session_key for visitor in visitors}, expire_date__gt=now
        ).values_list("session_key", flat=True)
    )
    users = User.objects.filter(is_active=True).in_bulk({visitor.user.pk for visitor in visitors})
    marks = {pk: user.get_session_auth_hash() for pk, user in users.items()}
    ended = {}
    for visitor in visitors:
        if visitor.session_key not in sessions or not constant_time_compare(
            marks.get(visitor.user.pk, ""), visitor.session_auth_hash
        ):
            ended[visitor] = Ended.SIGNED_OUT
    verdicts = access.verdicts(users.values(), now=now)
    ended.update(
        (visitor, Ended.BLOCKED)
        for visitor in visitors
        if visitor not in ended and verdicts[visitor.user.pk].is_over
    )
    return ended


def stop_generations(visitors: Iterable[Visitor], *, now: dt.datetime) -> None:
    """Stop the queued and running generations of these visitors, and keep the text."""
    owners = {visitor.user.pk for visitor in visitors}
    ending.stop(Generation.objects.filter(conversation__owner__in=owners), now=now)


def is_written_for(visitors: Iterable[Visitor]) -> bool:
    """Return whether any of these visitors has a queued or running generation."""
    owners = {visitor.user.pk for visitor in visitors}
    return Generation.objects.active().filter(conversation__owner__in=owners).exists()
