"""Reading a conversation as it is now, including what a running generation has written so far."""

from collections.abc import Sequence
from dataclasses import dataclass

from conversations.models import Conversation, Generation, GenerationChunk, Message


@dataclass(frozen=True, slots=True)
class Entry:
    """A message with the newest generation that writes or wrote it (none for a message of the user)."""

    message: Message
    generation: Generation | None
    text: str

    @property
    def is_open(self) -> bool:
        """Whether text may still come."""
        return self.generation is not None and self.generation.is_active


def read_entries(message_ids: Sequence[int]) -> list[Entry]:
    """Return the entries of these messages, oldest first. At most three queries, whatever their number.

    The order of the queries matters: a generation that ends between them has moved its text from the journal into the
    message. Read in this order, its entry is open and perhaps short, and following it brings the rest; the other way
    round it could look ended and empty.
    """
    newest: dict[int, Generation] = {}
    generations = Generation.objects.filter(message__in=message_ids).select_related("model", "message")
    for generation in generations.order_by("pk"):
        newest[generation.message_id] = generation
    messages = [generation.message for generation in newest.values()]
    of_users = set(message_ids) - newest.keys()
    if of_users:
        messages += Message.objects.filter(pk__in=of_users)
    messages.sort(key=lambda message: message.depth)
    journal = read_journal([generation.pk for generation in newest.values() if generation.is_active])
    entries = []
    for message in messages:
        found = newest.get(message.pk)
        text = message.shown_text
        if found and not message.is_hidden:
            text += journal.get(found.pk, "")
        entries.append(Entry(message, found, text))
    return entries


def read_journal(generation_ids: Sequence[int]) -> dict[int, str]:
    """Return what the journal holds of these generations, by their id."""
    texts = dict.fromkeys(generation_ids, "")
    if texts:
        chunks = GenerationChunk.objects.filter(generation__in=generation_ids).order_by(
            "generation_id", "offset"
        )
        for generation_id, text in chunks.values_list("generation_id", "text"):
            texts[generation_id] += text
    return texts


def read_branch(conversation: Conversation, *, limit: int, before: Message | None = None) -> list[Entry]:
    """Return the last `limit` entries of the branch in view, oldest first; with `before`, those above that message."""
    tip = before.parent_id if before is not None else conversation.head_id
    return read_entries(Message.objects.path_ids(tip, limit=limit))
