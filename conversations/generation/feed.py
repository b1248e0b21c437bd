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
from .transcript import Entry, read_branch, read_entries

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

    `revision` is the conversation's when the viewer last saw what staff changed in it.
    """

    message: uuid.UUID | None = None
    generation: uuid.UUID | None = None
    offset: int = 0
    is_open: bool = False
    revision: int = 0


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
            looked = await database_sync_to_async(_look)(
                user=user, conversation_id=conversation_id, cursor=cursor
            )
            if looked is None:
                yield Gone()
                return
            events, tip, position = looked
            revision = cursor.revision
            for event in events:
                if isinstance(event, Moderated):
                    revision = event.revision
                yield event
            cursor = replace(cursor, revision=revision)
            if tip is None or tip.generation is None or not tip.is_open:
                cursor = _at(tip, revision=revision) if tip is not None else cursor
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), IDLE_LOOK_SECONDS)
                continue
            texts = attach(hub=hub, live=hub.text_of(tip.generation.pk), offset=position)
            async with contextlib.aclosing(texts):
                async for text in texts:
                    position += len(text)
                    yield Grown(text)
            ended = await database_sync_to_async(_read_entry)(tip.message.pk)
            if (
                ended is None
                or ended.is_open
                or ended.generation != tip.generation
                or len(ended.text) < position
            ):
                # Another generation goes on with it, or the end could not be written: the next look shows it anew.
                cursor = Cursor(tip.message.uuid, revision=revision)
                continue
            if len(ended.text) > position:
                yield Grown(ended.text[position:])
            yield Ended(ended)
            cursor = _at(ended, revision=revision)


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


def _at(entry: Entry, *, revision: int) -> Cursor:
    generation = entry.generation.uuid if entry.generation else None
    return Cursor(entry.message.uuid, generation, len(entry.text), entry.is_open, revision)


def _look(
    *, user: User, conversation_id: int, cursor: Cursor
) -> tuple[list[Event], Entry | None, int] | None:
    """Compare the cursor with what there is.

    Returns the events that bring the viewer up to date, the entry at the tip, and the offset from which the text of that
    entry is still to be given. None where the conversation is not there for the user.
    """
    conversation = Conversation.objects.visible_to(user).filter(pk=conversation_id).first()
    if conversation is None:
        return None
    events: list[Event] = []
    if conversation.revision > cursor.revision:
        events.append(_changed_by_staff(conversation, cursor=cursor))
    seen = None
    if cursor.message is not None:
        seen = Message.objects.filter(conversation=conversation, uuid=cursor.message).first()
    if seen is not None:
        entry = read_entries([seen.pk])[0]
        position = len(entry.text)
        generation = entry.generation.uuid if entry.generation else None
        if generation == cursor.generation and cursor.is_open and entry.is_open:
            # The page may be ahead of the journal, so what it says is taken as it is. If it says nonsense, it gets no text
            # until the end, and then the message anew.
            position = cursor.offset
            events.append(Resumed(entry, position))
        elif generation != cursor.generation or cursor.is_open:
            # Another generation went on with it, or it ended while the viewer was away.
            events.append(Replaced(entry))
        if seen.pk == conversation.head_id:
            return events, entry, position
    entries = read_branch(conversation, limit=MAX_CATCH_UP, after=seen)
    if not entries:
        return events, None, 0
    return [*events, Added(entries)], entries[-1], len(entries[-1].text)


def _changed_by_staff(conversation: Conversation, *, cursor: Cursor) -> Moderated:
    # Who has seen nothing yet is brought everything as it is now.
    since = cursor.revision if cursor.message is not None else conversation.revision
    changed = conversation.messages.filter(revision__gt=since).order_by("-revision")
    entries = read_entries(list(changed.values_list("pk", flat=True)[:MAX_CATCH_UP]))
    # What is still being written comes anew when that ends.
    return Moderated([entry for entry in entries if not entry.is_open], conversation.revision)


def _read_entry(message_id: int) -> Entry | None:
    entries = read_entries([message_id])
    return entries[0] if entries else None


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
