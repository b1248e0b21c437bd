"""Following a conversation: what is new in it for one viewer, from wherever that viewer stands.

A viewer is a cursor and no queue: a first look, a reload, a lost network, a second tab, a slow phone and another process
are all the same loop, which compares the cursor with what there is.
"""

import asyncio
import contextlib
import contextvars
import logging
import uuid
import weakref
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from channels.db import database_sync_to_async

from conversations.models import Conversation, Message, User

from . import journal
from .live import Hub, LiveText
from .transcript import Entry, read_entries

logger = logging.getLogger(__name__)

IDLE_LOOK_SECONDS = 20.0
"""How often a viewer without news looks by itself, since a hint may be lost."""
COPY_LOOK_SECONDS = 1.0
"""How often the journal is read for texts that another process writes, without a hint."""
COPY_PAUSE_SECONDS = 0.1
"""How long it is left alone after each time, whatever hints come."""
MAX_CATCH_UP = 200
"""The most messages that a viewer who was away is brought; one who missed more reloads the page."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a viewer stands: the last message it shows, by which generation, how far, and whether that is still open.

    `revision` is the conversation's when the viewer last saw what staff changed in it. `is_followed` says that the text up
    to the offset was given by this very process, which can then say how it ended; `message_pk` spares it a query.
    """

    message: uuid.UUID | None = None
    generation: uuid.UUID | None = None
    offset: int = 0
    is_open: bool = False
    revision: int = 0
    is_followed: bool = False
    message_pk: int | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """Messages that the viewer has not seen; if the last is open, its text so far is in it, and more comes as Grown."""

    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Replaced:
    """A message that is to be shown anew: another generation has gone on with it."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Moderated:
    """Messages, anywhere in the conversation, that staff hid, replaced or showed again up to this revision."""

    entries: list[Entry]
    revision: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """The message that the viewer shows as open; its text comes as Grown from this offset on."""

    entry: Entry
    offset: int


@dataclass(frozen=True, slots=True)
class Grown:
    """Text that came since."""

    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The open message came to its end; all of its text has been given."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Gone:
    """The conversation is no longer there for this viewer."""


Event = Added | Replaced | Moderated | Resumed | Grown | Ended | Gone


async def follow(
    *, hub: Hub, user: User, conversation_id: int, cursor: Cursor
) -> AsyncGenerator[Event, None]:
    """Yield what is new in this conversation for a viewer who stands at this cursor, without end until it is gone.

    Text is given at the pace of the hub, and no faster than the caller takes it: what came meanwhile is given at once.
    """
    with hub.watching(conversation_id) as news:
        while True:
            news.clear()
            found = await database_sync_to_async(_look)(
                user=user, conversation_id=conversation_id, cursor=cursor
            )
            if found is None:
                yield Gone()
                return
            for event in found.events:
                yield event
            cursor = found.cursor
            if found.writing is None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), IDLE_LOOK_SECONDS)
                continue
            texts = attach(hub=hub, live=hub.text_of(found.writing), offset=cursor.offset)
            position = cursor.offset
            async with contextlib.aclosing(texts):
                async for text in texts:
                    position += len(text)
                    yield Grown(text)
                    if not news.is_set():
                        continue
                    # What staff change elsewhere in the conversation need not wait for the end of this answer.
                    news.clear()
                    told = await database_sync_to_async(_look_at_staff)(conversation_id, cursor=cursor)
                    if told is not None:
                        cursor = replace(cursor, revision=told.revision)
                        yield told
            cursor = replace(cursor, offset=position, is_followed=True)


async def attach(*, hub: Hub, live: LiveText, offset: int) -> AsyncGenerator[str, None]:
    """Yield all text since `offset`, the first at once and the rest in frames, until the generation ends."""
    try:
        with live.watched() as changed, hub.pace.counted():
            if not live.is_written_here:
                _start_copying(hub)
            while True:
                changed.clear()
                text = live.since(offset)
                if text:
                    offset += len(text)
                    yield text
                    await asyncio.sleep(hub.pace.interval)
                elif live.has_ended:
                    return
                else:
                    await changed.wait()
    finally:
        hub.leave(live)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look found: what brings the viewer up to date, where it then stands, and the generation that is writing."""

    events: list[Event]
    cursor: Cursor
    writing: int | None


def _look(*, user: User, conversation_id: int, cursor: Cursor) -> _Found | None:
    """Compare the cursor with what there is. None where the conversation is not there for the user."""
    conversation = Conversation.objects.visible_to(user).filter(pk=conversation_id).first()
    if conversation is None:
        return None
    # Read first, said last: what is written meanwhile is not among it, and what ends is to be ended where it stands.
    changed: list[Event] = []
    if conversation.revision > cursor.revision:
        changed.append(_changed_by_staff(conversation, cursor=cursor))
        cursor = replace(cursor, revision=conversation.revision)
    seen, new = _read_branch_since(conversation, cursor=cursor)
    events: list[Event] = []
    if seen is not None:
        events += _changes_of(seen, cursor=cursor)
    if new:
        events.append(Added(new))
    tip = new[-1] if new else seen
    if tip is None:
        return _Found([*events, *changed], cursor, None)
    # The page may be ahead of the journal, so what it says is taken as it is. If it says nonsense, it gets no text until
    # the end, and then the message anew.
    is_resumed = isinstance(events[-1] if events else None, Resumed)
    return _Found(
        [*events, *changed],
        Cursor(
            tip.message.uuid,
            tip.generation.uuid if tip.generation else None,
            cursor.offset if is_resumed else len(tip.text),
            tip.is_open,
            cursor.revision,
            message_pk=tip.message.pk,
        ),
        tip.generation.pk if tip.generation and tip.is_open else None,
    )


def _read_branch_since(conversation: Conversation, *, cursor: Cursor) -> tuple[Entry | None, list[Entry]]:
    """Return the message that the viewer shows last, if it is there, and those after it in the branch in view."""
    seen = cursor.message_pk
    if seen is None and cursor.message is not None:
        known = conversation.messages.filter(uuid=cursor.message)
        seen = known.values_list("pk", flat=True).first()
    ids = []
    if seen is None or seen != conversation.head_id:
        ids = Message.objects.path_ids(conversation.head_id, limit=MAX_CATCH_UP)
    if seen in ids:
        ids = ids[: ids.index(seen)]
    entries = read_entries(ids if seen is None else [seen, *ids])
    return (
        next((entry for entry in entries if entry.message.pk == seen), None),
        [entry for entry in entries if entry.message.pk != seen],
    )


def _changes_of(entry: Entry, *, cursor: Cursor) -> list[Event]:
    """Return what became of the message that the viewer shows last."""
    generation = entry.generation.uuid if entry.generation else None
    if generation == cursor.generation and not cursor.is_open:
        return []
    if generation == cursor.generation and entry.is_open and not cursor.is_followed:
        return [Resumed(entry, cursor.offset)]
    is_as_given = cursor.offset <= len(entry.text) and not entry.message.is_hidden
    if generation == cursor.generation and cursor.is_followed and not entry.is_open and is_as_given:
        rest = entry.text[cursor.offset :]
        return [Grown(rest), Ended(entry)] if rest else [Ended(entry)]
    # Another generation went on with it, it ended while the viewer was away, or its end could not be written.
    return [Replaced(entry)]


def _look_at_staff(conversation_id: int, *, cursor: Cursor) -> Moderated | None:
    changed = Conversation.objects.filter(pk=conversation_id, revision__gt=cursor.revision).first()
    return _changed_by_staff(changed, cursor=cursor) if changed is not None else None


def _changed_by_staff(conversation: Conversation, *, cursor: Cursor) -> Moderated:
    # Who has seen nothing yet is brought everything as it is now.
    since = cursor.revision if cursor.message is not None else conversation.revision
    changed = conversation.messages.filter(revision__gt=since).order_by("-revision")
    entries = read_entries(list(changed.values_list("pk", flat=True)[:MAX_CATCH_UP]))
    # What is still being written comes anew when that ends.
    return Moderated([entry for entry in entries if not entry.is_open], conversation.revision)


# --- Texts that another process writes ---

_copying: "weakref.WeakKeyDictionary[Hub, asyncio.Task[None]]" = weakref.WeakKeyDictionary()


def _start_copying(hub: Hub) -> None:
    hub.copies_wanted.set()
    task = _copying.get(hub)
    if task is None or task.done():
        loop = asyncio.get_running_loop()
        _copying[hub] = loop.create_task(_copy(hub), context=contextvars.Context())


async def _copy(hub: Hub) -> None:
    """Fill the texts that are watched here and written elsewhere from the journal, while there are any."""
    while copies := hub.copies():
        hub.copies_wanted.clear()
        try:
            found = await database_sync_to_async(journal.read_copies)(
                {live.generation_id: live.journaled for live in copies}
            )
        except Exception:
            logger.exception("Texts that another process writes could not be read; it is tried again.")
            await asyncio.sleep(COPY_LOOK_SECONDS)
            continue
        for live in copies:
            if live.is_written_here:
                continue
            offset, text, has_ended = found[live.generation_id]
            live.put(offset, text)
            live.journaled = offset + len(text)
            if has_ended:
                live.end()
                hub.forget(live.generation_id)
        await asyncio.sleep(COPY_PAUSE_SECONDS)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hub.copies_wanted.wait(), COPY_LOOK_SECONDS - COPY_PAUSE_SECONDS)
