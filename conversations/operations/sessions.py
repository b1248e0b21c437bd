"""Who is behind a socket, and whether they still may be."""

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

from conversations.generation import doorbell
from conversations.models import Generation, User

from . import access


@dataclass(frozen=True, slots=True)
class Visitor:
    """The user of a socket, with what it was let in by. `password_mark` changes when the password does."""

    user: User
    session_key: str
    password_mark: str


def identify(cookies: Mapping[str, str]) -> Visitor | None:
    """Return who these cookies belong to, or None where nobody is signed in by them.

    Django's own look-up is used, which also knows keys that are being rotated out.
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
    """Why somebody may no longer be behind a socket."""

    SIGNED_OUT = "signed out"
    KEPT_OUT = "kept out"


def no_longer_valid(visitors: Iterable[Visitor], *, now: dt.datetime) -> dict[Visitor, Ended]:
    """Return those who were signed out, got another password, or may not use the site any more, and why.

    At most three queries, whatever their number.
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
            marks.get(visitor.user.pk, ""), visitor.password_mark
        ):
            ended[visitor] = Ended.SIGNED_OUT
    kept_out = access.kept_out(users.values(), now=now)
    ended.update(
        (visitor, Ended.KEPT_OUT)
        for visitor in visitors
        if visitor not in ended and visitor.user.pk in kept_out
    )
    return ended


def stop_generations(visitors: Iterable[Visitor], *, now: dt.datetime) -> None:
    """Ask that what is being written for these people ends, with its text kept."""
    active = Generation.objects.active().filter(
        conversation__owner__in={visitor.user.pk for visitor in visitors}, stop_requested_at__isnull=True
    )
    for conversation_id in list(active.values_list("conversation_id", flat=True)):
        active.filter(conversation=conversation_id).update(stop_requested_at=now)
        doorbell.ring(conversation_id)


def is_written_for(visitors: Iterable[Visitor]) -> bool:
    """Whether anything is still being written for any of these people."""
    owners = {visitor.user.pk for visitor in visitors}
    return Generation.objects.active().filter(conversation__owner__in=owners).exists()
