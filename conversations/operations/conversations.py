"""What a person does to a conversation as a whole."""

import uuid

from django.db import transaction

from conversations.generation import doorbell
from conversations.models import Conversation, Generation, User


@transaction.atomic
def rename_conversation(*, user: User, conversation: uuid.UUID, title: str) -> Conversation:
    """Give a conversation another title. Raises Conversation.DoesNotExist where it is not there or not the user's."""
    found = Conversation.objects.visible_to(user).select_for_update().get(uuid=conversation)
    found.title = title
    found.save(update_fields=["title"])
    return found


@transaction.atomic
def delete_conversation(*, user: User, conversation: uuid.UUID) -> None:
    """Delete a conversation with all its messages; an answer that is being written ends.

    Raises Conversation.DoesNotExist where it is not there or not the user's.
    """
    # Generations before their conversation, as whoever ends one locks them. A runner that is just adding to the journal is
    # waited for, so that it adds nothing to what is no longer there.
    generations = Generation.objects.visible_to(user).active().filter(conversation__uuid=conversation)
    list(generations.select_for_update(of=("self",)).values_list("pk"))
    found = Conversation.objects.visible_to(user).select_for_update().get(uuid=conversation)
    pk = found.pk
    found.delete()
    # Whoever writes in it, or looks at it, finds that it is gone.
    transaction.on_commit(lambda: doorbell.ring(pk))
