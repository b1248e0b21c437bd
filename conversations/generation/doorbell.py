"""The hint that something changed in a conversation: a turn was queued, a stop was asked for, an answer ended.

A hint may be lost; whoever waits for one also looks by itself now and then. It is rung from any thread, after the
commit, and needs no event loop to be there.
"""

import enum
from collections.abc import Callable


class News(enum.Enum):
    """What changed. Who follows the conversation looks at any of it; runners at what is for them."""

    TURN = "turn"
    STOP = "stop"
    END = "end"
    ANY = "any"


Listener = Callable[[int, News], None]
_listeners: list[Listener] = []


def ring(conversation_id: int, news: News = News.ANY) -> None:
    """Tell all listeners of this process that this conversation changed."""
    for listener in list(_listeners):
        listener(conversation_id, news)


def listen(listener: Listener) -> None:
    """Call `listener` with the id of each conversation that changes, in the thread that rings."""
    _listeners.append(listener)


def stop_listening(listener: Listener) -> None:
    """Call it no more; nothing happens where it was not called."""
    if listener in _listeners:
        _listeners.remove(listener)
