"""The statements that every turn runs, assembled once; see `conversations.common.statements`.

A test compares each with what the ORM does.
"""

from django.db.models import Exists, F, OuterRef

from conversations.common.statements import (
    Delete,
    Given,
    Insert,
    InsertMissing,
    Select,
    SelectInstances,
    Update,
)

from .conversations import Conversation, Message
from .generations import Generation, GenerationChunk


def _field(model: type[Conversation | Message | Generation | GenerationChunk], name: str) -> Given:
    """Return a value for a column, under the column's name."""
    return Given(name, model._meta.get_field(name))  # type: ignore[arg-type]


insert_conversation = Insert(Conversation)
insert_message = Insert(Message)
insert_generation = Insert(Generation)
insert_missing_chunks = InsertMissing(GenerationChunk)

sent_message = Select(
    lambda: Message.objects.filter(
        author=_field(Message, "author"), client_id=_field(Message, "client_id")
    ).values_list("pk")
)
"""The ID of the message that this author has sent with this client ID."""

conversation_to_write_in = SelectInstances(
    Conversation,
    lambda: (
        Conversation.objects.in_view_of(_field(Conversation, "owner"))
        .select_for_update(of=("self",))
        .filter(uuid=_field(Conversation, "uuid"))
        .annotate(
            head_depth=F("head__depth"),
            is_writing=Exists(Generation.objects.active().filter(conversation=OuterRef("pk"))),
        )
    ),
)
"""A conversation, locked, with the depth of its head and whether an answer is being written."""

move_head = Update(
    lambda: Conversation.objects.filter(pk=_field(Conversation, "id")),
    head=_field(Conversation, "head"),
    last_activity_at=_field(Conversation, "last_activity_at"),
)
touch_conversation = Update(
    lambda: Conversation.objects.filter(pk=_field(Conversation, "id")),
    last_activity_at=_field(Conversation, "last_activity_at"),
)

ENDING = (
    "status",
    "finish_reason",
    "error_code",
    "retry_at",
    "first_token_at",
    "heartbeat_at",
    "ended_at",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "usage_is_estimated",
)
"""What the end of a generation changes."""

end_generation = Update(
    lambda: Generation.objects.filter(
        pk=_field(Generation, "id"),
        status=Generation.Status.RUNNING,
        runner=_field(Generation, "runner"),
    ),
    **{name: _field(Generation, name) for name in ENDING},
)
"""Ends a running generation for the runner that wrote it."""

set_shown_text = Update(
    lambda: Message.objects.filter(pk=_field(Message, "id"), hidden_at__isnull=True),
    text=_field(Message, "text"),
    token_count=_field(Message, "token_count"),
    token_vocabulary=_field(Message, "token_vocabulary"),
)
"""Sets the text of a message that staff have not hidden."""
delete_journal = Delete(
    lambda: GenerationChunk.objects.filter(generation=_field(GenerationChunk, "generation"))
)
