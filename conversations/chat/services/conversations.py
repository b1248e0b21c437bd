"""Renaming, deleting and holding whole conversations."""

import datetime as dt
import uuid

from django.db import transaction

from conversations.accounts.models import User
from conversations.chat.generation import changes, ending
from conversations.chat.models import Conversation, Generation


@transaction.atomic
def rename_conversation(*, user: User, conversation: uuid.UUID, title: str) -> Conversation:
    """Rename a conversation. Raises Conversation.DoesNotExist if the user has no such conversation."""
    found = Conversation.objects.visible_to(user).select_for_update().get(uuid=conversation)
    found.title = title
    found.save(update_fields=["title"])
    return found


@transaction.atomic
def delete_conversation(*, user: User, conversation: uuid.UUID, now: dt.datetime) -> bool:
    """Delete a conversation with all its messages, and return whether it is gone.

    A running generation ends. A held conversation is only archived, and is deleted when the hold ends; False is then
    returned. Raises Conversation.DoesNotExist if the user has no such conversation.
    """
    # Generations are locked before their conversation, in the same order as when one ends. The lock also waits for a
    # runner that is writing to the journal.
    generations = Generation.objects.visible_to(user).active().filter(conversation__uuid=conversation)
    active = list(generations.select_for_update(of=("self",)))
    found = Conversation.objects.visible_to(user).select_for_update().get(uuid=conversation)
    pk = found.pk
    # This tells runners and viewers that the conversation is gone.
    transaction.on_commit(lambda: changes.announce(pk))
    if not found.is_held:
        found.delete()
        return True
    found.archived_at = found.deletion_requested_at = now
    found.save(update_fields=["archived_at", "deletion_requested_at"])
    ending.stop(Generation.objects.filter(pk__in=[generation.pk for generation in active]), now=now)
    return False


def hold(conversation_id: int) -> None:
    """Prevent the permanent deletion of a conversation until `release`."""
    Conversation.objects.filter(pk=conversation_id, is_held=False).update(is_held=True)


@transaction.atomic
def release(conversation_id: int) -> bool:
    """Release a held conversation. If its owner has deleted it, delete it permanently and return True."""
    held = Conversation.objects.select_for_update(of=("self",)).filter(is_held=True)
    found = held.filter(pk=conversation_id).first()
    if found is None:
        return False
    if found.deletion_requested_at is not None:
        found.delete()
        return True
    found.is_held = False
    found.save(update_fields=["is_held"])
    return False
