"""Read a conversation in its current state, including text that is still being written."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db.models import prefetch_related_objects

from conversations.chat.models import (
    Conversation,
    Generation,
    GenerationChunk,
    Message,
    MessagePart,
    PartKind,
    branches,
)
from conversations.chat.models.conversations import PART_SEPARATOR


@dataclass(frozen=True, slots=True)
class Entry:
    """A message and the latest generation that wrote it, which is None for a user's message."""

    message: Message
    generation: Generation | None
    text: str
    reasoning: str = ""
    reasoning_ms: int = 0
    is_reasoning: bool = False
    """Whether the last piece to arrive was reasoning."""

    @property
    def is_open(self) -> bool:
        """Whether more text may follow."""
        return self.generation is not None and self.generation.is_active


@dataclass(frozen=True, slots=True)
class NewTurn:
    """A turn that has just been saved: its question and its empty answer, which follow the message `after`."""

    after: int | None
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class NewEnd:
    """An answer that has just ended, with all its text."""

    entry: Entry


Step = NewTurn | NewEnd
"""A change of a conversation that says everything a viewer needs, so that nothing has to be read."""


@dataclass(slots=True)
class Part:
    """A part of an answer other than its text. `offset` counts the characters of the generation's text before it."""

    position: int
    kind: PartKind
    offset: int
    text: str
    duration_ms: int


@dataclass(slots=True)
class Written:
    """What a generation has written so far."""

    text: str = ""
    reasoning: str = ""
    reasoning_ms: int = 0
    parts: list[Part] = field(default_factory=list)
    is_reasoning: bool = False

    def add(self, chunk: GenerationChunk) -> None:
        """Add the next chunk of the journal."""
        self.is_reasoning = chunk.kind == PartKind.REASONING
        if not self.is_reasoning:
            self.text += chunk.text
            return
        self.reasoning += chunk.text
        if not self.parts or self.parts[-1].position != chunk.part:
            text = chunk.text.removeprefix(PART_SEPARATOR) if chunk.offset else chunk.text
            self.parts.append(Part(chunk.part, PartKind.REASONING, len(self.text), text, 0))
        else:
            self.parts[-1].text += chunk.text
        self.parts[-1].duration_ms += max(0, chunk.reasoning_ms - self.reasoning_ms)
        self.reasoning_ms = max(self.reasoning_ms, chunk.reasoning_ms)


def read_entries(message_ids: Sequence[int]) -> list[Entry]:
    """Return the entries of these messages, sorted by depth, in at most three queries."""
    return complete(branches.read_messages(message_ids))


def complete(read: Sequence[branches.Read]) -> list[Entry]:
    """Return the entries of messages that have just been read, in at most two queries.

    A generation that ends moves its text from the journal into the message, so the message and the status of its generation
    are read first, in one statement. If a generation ends before the journal is read, its entry is open and perhaps
    incomplete, and following it brings the rest. In any other order the entry could appear to be finished and empty.
    """
    nothing = MessagePart.objects.none()
    nothing._result_cache = []
    for found in read:
        if not found.has_parts:
            found.message._prefetched_objects_cache = {"parts": nothing}
    prefetch_related_objects([found.message for found in read if found.has_parts], "parts")
    journal = read_journal(
        [found.generation.pk for found in read if found.generation is not None and found.generation.is_active]
    )
    return [_entry(found.message, found.generation, journal) for found in read]


def _entry(message: Message, found: Generation | None, journal: dict[int, Written]) -> Entry:
    if message.is_hidden:
        return Entry(message, found, message.shown_text)
    written = journal.get(found.pk, Written()) if found else Written()
    return Entry(
        message,
        found,
        message.text + written.text,
        message.reasoning + written.reasoning,
        max(sum(part.duration_ms for part in message.parts.all()), written.reasoning_ms),
        written.is_reasoning,
    )


def read_journal(generation_ids: Sequence[int]) -> dict[int, Written]:
    """Return what the journal holds of these generations, by generation ID."""
    found = {pk: Written() for pk in generation_ids}
    if found:
        chunks = GenerationChunk.objects.filter(generation__in=generation_ids)
        for chunk in chunks.order_by("generation_id", "part", "offset"):
            found[chunk.generation_id].add(chunk)
    return found


def read_branch(conversation: Conversation, *, limit: int, before: Message | None = None) -> list[Entry]:
    """Return the last `limit` entries of the current branch, oldest first; with `before`, only those above it."""
    tip = before.parent_id if before is not None else conversation.head_id
    return complete(branches.read_branch(tip, limit=limit))
