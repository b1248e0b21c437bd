"""Starting a turn, and continuing or stopping an answer."""

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from conversations.access import rules as access_rules
from conversations.access import selectors as access
from conversations.access.services.allowances import count_message
from conversations.accounts import services as accounts
from conversations.accounts.models import User
from conversations.catalogue import selectors as catalogue
from conversations.catalogue.models import ChatModel
from conversations.chat.generation import changes, ending, prompt
from conversations.chat.generation.handover import free_place
from conversations.chat.generation.journal import Job
from conversations.chat.generation.transcript import Entry, NewTurn
from conversations.chat.models import Conversation, Generation, Message, statements
from conversations.chat.models.conversations import TITLE_LENGTH
from conversations.chat.rules import can_continue, seconds_until_retry
from conversations.chat.services import caps
from conversations.common.refusals import Refused
from conversations.limits import rules as limits
from conversations.limits import services as quotas

_NOT_FOUND = gettext_lazy("Conversation not found.")
_STILL_WRITING = gettext_lazy("An answer is still being written. Wait for it to finish, or stop it.")


@dataclass(frozen=True, slots=True)
class Turn:
    """The result of sending a message.

    `verdict` is what the author may do afterwards, and `step` what a viewer of the conversation sees. Both are None if the
    message had already been sent.
    """

    conversation: Conversation
    generation: Generation
    is_new: bool
    verdict: access_rules.Verdict | None = None
    step: NewTurn | None = None


def start_turn(
    *,
    user: User,
    conversation: uuid.UUID | None,
    text: str,
    client_id: uuid.UUID,
    now: dt.datetime,
    model_slug: str = "",
    max_tokens: int | None = None,
) -> Turn:
    """Save a user's message, and queue the generation of its answer or hand it to this process's runner. Raises Refused.

    `conversation` is the public ID of an existing conversation, or None to start a new one. `client_id` comes from the
    page, and a message sent twice with the same one is saved once. `max_tokens` can only lower the cap.
    """
    with free_place() as place, transaction.atomic():
        author = _lock_author(user)
        sent = statements.sent_message.first(author=author.pk, client_id=client_id)
        if sent is not None:
            return _existing_turn(sent[0], client_id)
        _check_rate(author, now=now)
        own: Any = _lock_conversation(author, conversation) if conversation else None
        verdict = _verdict_on(author, now=now)
        model = _choose_model(model_slug, allowed=access.model_ids(verdict))
        cap = _cap(max_tokens, model=model)
        counted = caps.check_message(text, model=model, max_tokens=cap)

        verdict = count_message(author, verdict, now=now)
        is_new = own is None
        if own is None:
            own = Conversation(owner=author, title=make_title(text), created_at=now, last_activity_at=now)
            statements.insert_conversation(own)
        before = own.head_id
        depth = 0 if before is None else own.head_depth + 1
        question = Message(
            conversation=own,
            parent_id=before,
            depth=depth,
            role=Message.Role.USER,
            author=author,
            client_id=client_id,
            text=text,
            created_at=now,
            **prompt.count_fields(counted),
        )
        statements.insert_message(question)
        answer = Message(
            conversation=own, parent=question, depth=depth + 1, role=Message.Role.ASSISTANT, created_at=now
        )
        statements.insert_message(answer)
        generation = Generation(
            conversation=own,
            message=answer,
            model=model,
            client_id=client_id,
            max_tokens=cap,
            parameters=model.parameters,
            created_at=now,
        )
        if place is not None:
            generation.status, generation.runner = Generation.Status.RUNNING, place.runner
            generation.started_at = generation.heartbeat_at = now
        statements.insert_generation(generation)
        own.head = answer
        own.last_activity_at = now
        statements.move_head(id=own.pk, head=answer.pk, last_activity_at=now)
        step = NewTurn(before, [Entry(question, None, text), Entry(answer, generation, "")])
        if place is not None:
            # First of all, so that viewers find its text.
            place.fill_after_commit(Job(generation=generation, existing_text=""))
        change = changes.Change.QUEUED if place is None else changes.Change.STARTED
        changes.announce_after_commit(own.pk, change, step)
        return Turn(own, generation, is_new, verdict, step)


@transaction.atomic
def continue_answer(*, user: User, message: uuid.UUID, client_id: uuid.UUID, now: dt.datetime) -> Generation:
    """Queue a generation that continues an answer from its current text. Raises Refused.

    Only the last answer can be continued, and only if it was stopped, interrupted or cut off, or if it failed. If the
    model service named a time to wait, that must have passed.
    """
    author = _lock_author(user)
    answer = (
        Message.objects.visible_to(author)
        .filter(uuid=message, role=Message.Role.ASSISTANT)
        .select_related("conversation")
        .first()
    )
    if answer is None:
        raise Refused(_NOT_FOUND)
    asked = answer.conversation.generations.filter(client_id=client_id).first()
    if asked is not None:
        return asked
    conversation = _lock_conversation(author, answer.conversation.uuid)
    _check_rate(author, now=now)
    last = answer.generations.select_related("model").order_by("-pk").first()
    if conversation.head_id != answer.pk or answer.is_hidden or last is None or not can_continue(last):
        raise Refused(_("This answer can't be continued."))
    if wait := seconds_until_retry(last, now=now):
        raise Refused(
            ngettext(
                "The model service is busy. Wait %(seconds)s second.",
                "The model service is busy. Wait %(seconds)s seconds.",
                wait,
            )
            % {"seconds": number_format(wait)}
        )
    # Reload the text under the lock, because another generation may just have added to it.
    answer.refresh_from_db(fields=["text"])
    verdict = _verdict_on(author, now=now, is_new_message=False)
    allowed = access.model_ids(verdict)
    offered = catalogue.offered_models(allowed=allowed)
    model = last.model if last.model in offered else _choose_model("", allowed=allowed)
    cap = min(last.max_tokens, catalogue.longest_answer(model))
    newest = [answer, answer.parent] if answer.parent else [answer]
    caps.check_continuation(newest, model=model, max_tokens=cap)
    generation = Generation.objects.create(
        conversation=conversation,
        message=answer,
        model=model,
        client_id=client_id,
        max_tokens=cap,
        parameters=model.parameters,
        offset=len(answer.text),
        created_at=now,
    )
    conversation.last_activity_at = now
    conversation.save(update_fields=["last_activity_at"])
    changes.announce_after_commit(conversation.pk, changes.Change.QUEUED)
    return generation


def request_stop(*, user: User, message: uuid.UUID, now: dt.datetime) -> None:
    """Stop the active generation of an answer, if there is one. Raises Refused if the user has no such message."""
    if not Message.objects.visible_to(user).filter(uuid=message).exists():
        raise Refused(_NOT_FOUND)
    ending.stop(Generation.objects.visible_to(user).filter(message__uuid=message), now=now)


def make_title(text: str) -> str:
    """Return a title for a conversation: the first non-blank line of its first message, shortened if necessary."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"


def _lock_author(user: User) -> User:
    """Lock the user's row, so that a user's messages are handled one at a time. Raises Refused."""
    author = accounts.lock_user(user.pk)
    if author is None:
        raise Refused(access_rules.words(access_rules.Reason.INACTIVE))
    return author


def _lock_conversation(author: User, public_id: uuid.UUID) -> Any:
    """Return a conversation of an author whose row is locked already, with the depth of its head.

    Raises Refused if the author can't see it, or while an answer is being written.
    """
    # The lock on the author makes other requests wait before this statement, so it sees what they have changed.
    found: Any = None
    if author.is_active:
        found = statements.conversation_to_write_in.first(owner=author.pk, uuid=public_id)
    if found is None:
        raise Refused(_NOT_FOUND)
    found.owner = author
    if found.is_writing:
        raise Refused(_STILL_WRITING)
    return found


def _existing_turn(pk: int, client_id: uuid.UUID) -> Turn:
    sent = Message.objects.select_related("conversation").get(pk=pk)
    generation = sent.conversation.generations.get(message__parent=sent, client_id=client_id)
    return Turn(sent.conversation, generation, False)


def _check_rate(author: User, *, now: dt.datetime) -> None:
    """Count a message or a continuation of this author, whose row is locked. Raises Refused."""
    limit, minute = settings.CHAT_SENDS_PER_MINUTE, dt.timedelta(minutes=1)
    if not quotas.take_within(f"minute:{author.uuid}", limit=limit, period=minute, now=now):
        raise Refused(_("Too many messages. Wait a minute, then try again."))


def _verdict_on(author: User, *, now: dt.datetime, is_new_message: bool = True) -> access_rules.Verdict:
    """Return what the author may do. Raises Refused if they may not write, or not continue an answer."""
    verdict = access.verdict_for(author, now=now)
    if verdict.refusal and (is_new_message or verdict.is_blocked):
        raise Refused(verdict.refusal)
    return verdict


def _choose_model(slug: str, *, allowed: frozenset[int] | None) -> ChatModel:
    offered = catalogue.offered_models(allowed=allowed)
    if not offered:
        raise Refused(catalogue.SETUP_PROBLEM)
    if not slug:
        return offered[0]
    for model in offered:
        if model.slug == slug:
            return model
    raise Refused(_("This model isn't available. Choose another."))


def _cap(requested: int | None, *, model: ChatModel) -> int:
    return limits.output_cap(
        requested, site_cap=settings.CHAT_MAX_OUTPUT_TOKENS, model_cap=model.max_output_tokens
    )
