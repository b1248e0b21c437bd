"""What a person does to a conversation as a whole."""

import datetime as dt
import uuid

from django.db import transaction

from conversations.generation import doorbell
from conversations.models import Conversation, Generation, User

from . import cases


@transaction.atomic
def rename_conversation(*, user: User, conversation: uuid.UUID, title: str) -> Conversation:
    """Give a conversation another title. Raises Conversation.DoesNotExist where it is not there or not the user's."""
    found = Conversation.objects.visible_to(user).select_for_update().get(uuid=conversation)
    found.title = title
    found.save(update_fields=["title"])
    return found


@transaction.atomic
def delete_conversation(*, user: User, conversation: uuid.UUID, now: dt.datetime) -> bool:
    """Delete a conversation with all its messages; an answer that is being written ends.

    While a report about it is open it only goes out of view, and is deleted when that is decided: then False is returned.
    Raises Conversation.DoesNotExist where it is not there or not the user's.
    """
    # Generations before their conversation, as whoever ends one locks them. A runner that is just adding to the journal is
    # waited for, so that it adds nothing to what is no longer there.
    generations = Generation.objects.visible_to(user).active().filter(conversation__uuid=conversation)
    active = list(generations.select_for_update(of=("self",)))
    found = Conversation.objects.visible_to(user).select_for_update().get(uuid=conversation)
    pk = found.pk
    # Whoever writes in it, or looks at it, finds that it is gone.
    transaction.on_commit(lambda: doorbell.ring(pk))
    if not cases.is_held(found):
        found.delete()
        return True
    found.archived_at = found.deletion_requested_at = now
    found.save(update_fields=["archived_at", "deletion_requested_at"])
    Generation.objects.filter(pk__in=[generation.pk for generation in active]).update(stop_requested_at=now)
    return False
