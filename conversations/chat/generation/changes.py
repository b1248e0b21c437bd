"""Notify this process that a conversation changed: a turn began, a stop was requested, or an answer ended.

Notifications may be lost, so listeners also poll from time to time. They can be sent from any thread, without an event
loop, and are sent after the commit.
"""

import enum
from collections.abc import Callable

from django.db import transaction

from .transcript import Step


class Change(enum.Enum):
    """What changed. Viewers of the conversation react to all of these, runners only to those that concern them."""

    QUEUED = "queued"
    """A generation was queued."""
    STARTED = "started"
    """A generation was handed to its runner."""
    STOP = "stop"
    END = "end"
    ANY = "any"


Listener = Callable[[int, Change, Step | None], None]
_listeners: list[Listener] = []


def announce(conversation_id: int, change: Change = Change.ANY, step: Step | None = None) -> None:
    """Notify all listeners in this process that the conversation changed. `step` is the whole change, if known."""
    for listener in list(_listeners):
        listener(conversation_id, change, step)


def announce_after_commit(
    conversation_id: int, change: Change = Change.ANY, step: Step | None = None
) -> None:
    """Notify all listeners once the current transaction is committed, or at once if there is none."""
    transaction.on_commit(lambda: announce(conversation_id, change, step))


def listen(listener: Listener) -> None:
    """Call `listener` with the ID of each conversation that changes, in the thread that sends the notification."""
    _listeners.append(listener)


def stop_listening(listener: Listener) -> None:
    """Stop calling `listener`. Does nothing if it isn't registered."""
    if listener in _listeners:
        _listeners.remove(listener)
