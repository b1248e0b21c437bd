"""Stream the changes in a conversation to a viewer, starting at the viewer's position.

A viewer has a cursor instead of a queue. One loop compares the cursor with the current state, so a first visit, a
reload, a lost connection, a second tab, a slow phone and another process are all handled alike.
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

from conversations.accounts.models import User
from conversations.chat.models import Conversation, branches

from . import journal
from .attempts import Attempts
from .live import Hub, LiveText
from .transcript import Entry, NewEnd, NewTurn, Step, complete, read_entries

logger = logging.getLogger(__name__)

IDLE_POLL_SECONDS = 20.0
"""How often a viewer checks for changes without being notified, because notifications may be lost."""
COPY_POLL_SECONDS = 1.0
"""How often the journal is read for text that another process is writing, without being notified."""
COPY_PAUSE_SECONDS = 0.1
"""The shortest pause between two reads of the journal, however many notifications arrive."""
MAX_CATCH_UP = 200
"""The most messages a viewer can catch up on. A viewer who missed more has to reload the page."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A viewer's position: the last message shown, its generation, the offset in its text, and whether it was open.

    `revision` is the conversation's revision when the viewer last received changes by staff. `is_followed` means that
    this process streamed the text up to the offset, so it can also stream the end. `message_pk` saves a query.
    """

    message: uuid.UUID | None = None
    generation: uuid.UUID | None = None
    offset: int = 0
    is_open: bool = False
    revision: int = 0
    is_followed: bool = False
    message_pk: int | None = None
    reasoning: int = 0
    """Characters of reasoning already sent. The page doesn't report this, so after a reload all of it is sent again."""


@dataclass(frozen=True, slots=True)
class Added:
    """Messages new to the viewer. If the last is open, it holds the text so far, and Grown events bring the rest."""

    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Replaced:
    """A message to redraw because another generation has changed it."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class StaffEdited:
    """Messages anywhere in the conversation that staff hid, replaced or restored up to this revision."""

    entries: list[Entry]
    revision: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """The viewer's open message. Its text follows as Grown events from this offset; all its reasoning is included."""

    entry: Entry
    offset: int


@dataclass(frozen=True, slots=True)
class Grown:
    """New text of the open message."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoned:
    """New reasoning of the open message, and how long the model has reasoned in this message so far."""

    text: str
    so_far_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The open message is finished, and all its text has been sent."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Gone:
    """The conversation was deleted, or the viewer may no longer see it."""


Event = Added | Replaced | StaffEdited | Resumed | Grown | Reasoned | Ended | Gone


async def follow(
    *, hub: Hub, user: User, conversation_id: int, cursor: Cursor, turn: NewTurn | None = None
) -> AsyncGenerator[Event, None]:
    """Yield the changes in a conversation after the viewer's cursor. Ends only if the conversation is gone.

    Text arrives at the hub's pace, or at the caller's if that is slower. Text that has accumulated comes in one event.
    `turn` is a turn that the viewer has just saved in a new conversation.
    """
    with hub.watching(conversation_id) as watch:
        if turn is not None:
            watch.clear()
            watch.hear(turn)
        while True:
            step = watch.next_step()
            found = _found_in(step, cursor=cursor) if step is not None else None
            if found is None:
                watch.clear()
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
                try:
                    async with asyncio.timeout(IDLE_POLL_SECONDS):
                        await watch.heard.wait()
                except TimeoutError:
                    watch.is_stale = True
                continue
            live = hub.text_of(found.writing)
            growth = attach(hub=hub, live=live, offset=cursor.offset, reasoning=cursor.reasoning)
            position, thought = cursor.offset, cursor.reasoning
            async with contextlib.aclosing(growth):
                async for grown in growth:
                    if isinstance(grown, Grown):
                        position += len(grown.text)
                    else:
                        thought += len(grown.text)
                    yield grown
                    if not (watch.is_stale and watch.heard.is_set()):
                        continue
                    # Staff edits elsewhere in the conversation are shown at once, not only after this answer.
                    watch.heard.clear()
                    told = await database_sync_to_async(_read_staff_edits)(conversation_id, cursor=cursor)
                    if told is not None:
                        cursor = replace(cursor, revision=told.revision)
                        yield told
            cursor = replace(cursor, offset=position, reasoning=thought, is_followed=True)


async def attach(
    *, hub: Hub, live: LiveText, offset: int, reasoning: int
) -> AsyncGenerator[Grown | Reasoned, None]:
    """Yield text and reasoning from these offsets to the end: the existing part at once, the rest at the hub's pace.

    Text that arrives after a silence is yielded at once as well.
    """
    try:
        with live.watched() as changed:
            if not live.is_written_here:
                _start_copying(hub)
            while True:
                changed.clear()
                thought, text = live.reasoning.since(reasoning), live.since(offset)
                if thought:
                    reasoning += len(thought)
                    yield Reasoned(thought, live.reasoning_ms)
                if text:
                    offset += len(text)
                    yield Grown(text)
                if thought or text:
                    await hub.pace.sending()
                elif live.has_ended:
                    return
                else:
                    await changed.wait()
    finally:
        hub.leave(live)


@dataclass(frozen=True, slots=True)
class _Found:
    """The result of one check: events to send, the viewer's new cursor, and the generation being written, if any."""

    events: list[Event]
    cursor: Cursor
    writing: int | None


def _found_in(step: Step, *, cursor: Cursor) -> _Found | None:
    """Return what a step means for a viewer, or None if they don't stand exactly where it begins."""
    match step:
        case NewTurn(after, entries) if not cursor.is_open and _stands_at(cursor, after):
            return _found([Added(entries)], entries[-1], cursor=cursor)
        case NewEnd(entry) if cursor.is_open and cursor.is_followed and _wrote(entry) == cursor.generation:
            return _found(_changes_of(entry, cursor=cursor), entry, cursor=cursor)
    return None


def _stands_at(cursor: Cursor, message: int | None) -> bool:
    # The page says which message it shows last, but not its primary key.
    return cursor.message_pk == message and (message is not None or cursor.message is None)


def _look(*, user: User, conversation_id: int, cursor: Cursor) -> _Found | None:
    """Compare the cursor with the current state. Returns None if the user can't see the conversation."""
    conversation = Conversation.objects.visible_to(user).filter(pk=conversation_id).first()
    if conversation is None:
        return None
    # Staff edits are read first but sent last. They leave out text that is still being written, and an open message
    # has to end in the form in which the viewer has it.
    changed: list[Event] = []
    if conversation.revision > cursor.revision:
        changed.append(_staff_edits(conversation, cursor=cursor))
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
    found = _found(events, tip, cursor=cursor)
    return replace(found, events=[*events, *changed])


def _found(events: list[Event], tip: Entry, *, cursor: Cursor) -> _Found:
    """Return these events with the cursor of a viewer who has received them, and whose last message is `tip`."""
    # The page may be ahead of the journal, so its offset is trusted. If the offset is wrong, the page gets no text
    # until the answer ends, and then the whole message.
    is_resumed = isinstance(events[-1] if events else None, Resumed)
    return _Found(
        events,
        Cursor(
            tip.message.uuid,
            _wrote(tip),
            cursor.offset if is_resumed else len(tip.text),
            tip.is_open,
            cursor.revision,
            message_pk=tip.message.pk,
            reasoning=len(tip.reasoning),
        ),
        tip.generation.pk if tip.generation and tip.is_open else None,
    )


def _wrote(entry: Entry) -> uuid.UUID | None:
    """Return the public ID of the generation that wrote an entry."""
    return entry.generation.uuid if entry.generation else None


def _read_branch_since(conversation: Conversation, *, cursor: Cursor) -> tuple[Entry | None, list[Entry]]:
    """Return the viewer's last message, if it still exists, and the messages after it on the current branch."""
    seen = cursor.message_pk
    if seen is None and cursor.message is not None:
        known = conversation.messages.filter(uuid=cursor.message)
        seen = known.values_list("pk", flat=True).first()
    entries = complete(branches.read_branch(conversation.head_id, limit=MAX_CATCH_UP, since=seen))
    if seen is not None and all(entry.message.pk != seen for entry in entries):
        entries += read_entries([seen])
    return (
        next((entry for entry in entries if entry.message.pk == seen), None),
        [entry for entry in entries if entry.message.pk != seen],
    )


def _changes_of(entry: Entry, *, cursor: Cursor) -> list[Event]:
    """Return the events that update the viewer's last message."""
    generation = _wrote(entry)
    if generation == cursor.generation and not cursor.is_open:
        return []
    if generation == cursor.generation and entry.is_open and not cursor.is_followed:
        return [Resumed(entry, cursor.offset)]
    is_as_given = (
        cursor.offset <= len(entry.text)
        and cursor.reasoning <= len(entry.reasoning)
        and not entry.message.is_hidden
    )
    if generation == cursor.generation and cursor.is_followed and not entry.is_open and is_as_given:
        events: list[Event] = []
        if thought := entry.reasoning[cursor.reasoning :]:
            events.append(Reasoned(thought, entry.reasoning_ms))
        if rest := entry.text[cursor.offset :]:
            events.append(Grown(rest))
        return [*events, Ended(entry)]
    # Another generation continued it, it ended while the viewer was away, or saving its end failed.
    return [Replaced(entry)]


def _read_staff_edits(conversation_id: int, *, cursor: Cursor) -> StaffEdited | None:
    changed = Conversation.objects.filter(pk=conversation_id, revision__gt=cursor.revision).first()
    return _staff_edits(changed, cursor=cursor) if changed is not None else None


def _staff_edits(conversation: Conversation, *, cursor: Cursor) -> StaffEdited:
    # A viewer with no messages yet receives them all in their current state.
    since = cursor.revision if cursor.message is not None else conversation.revision
    changed = conversation.messages.filter(revision__gt=since).order_by("-revision")
    entries = read_entries(list(changed.values_list("pk", flat=True)[:MAX_CATCH_UP]))
    # Messages still being written are redrawn when they end.
    return StaffEdited([entry for entry in entries if not entry.is_open], conversation.revision)


# --- Texts that another process writes ---

_copying: "weakref.WeakKeyDictionary[Hub, asyncio.Task[None]]" = weakref.WeakKeyDictionary()


def _start_copying(hub: Hub) -> None:
    hub.copies_wanted.set()
    task = _copying.get(hub)
    if task is None or task.done():
        loop = asyncio.get_running_loop()
        _copying[hub] = loop.create_task(_copy(hub), context=contextvars.Context())


async def _copy(hub: Hub) -> None:
    """Update the copies that viewers here are following from the journal, until there are none left."""
    reading = Attempts("The text of answers in other processes could not be read", logger=logger)
    while copies := hub.copies():
        hub.copies_wanted.clear()
        known = {
            live.generation_id: journal.Known(live.journaled, live.reasoning.journaled) for live in copies
        }
        found: dict[int, journal.Progress] = {}
        with reading:
            found = await database_sync_to_async(journal.read_copies)(known)
        if reading.is_failing:
            await asyncio.sleep(COPY_POLL_SECONDS)
            continue
        for live in copies:
            if live.is_written_here:
                continue
            progress = found[live.generation_id]
            # Reasoning first, in the order it was written: viewers take new text as the end of the reasoning.
            live.put_reasoning(live.reasoning.journaled, progress.reasoning, so_far_ms=progress.reasoning_ms)
            live.reasoning.journaled += len(progress.reasoning)
            live.put(live.journaled, progress.text)
            live.journaled += len(progress.text)
            if progress.has_ended:
                live.end()
                hub.forget(live.generation_id)
        await asyncio.sleep(COPY_PAUSE_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COPY_POLL_SECONDS - COPY_PAUSE_SECONDS):
                await hub.copies_wanted.wait()
