"""The turns of a conversation: begin one, go on with an answer, stop one."""

import datetime as dt
import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from conversations import limits
from conversations.generation import doorbell, prompt
from conversations.llm import tokens
from conversations.models import ChatModel, Conversation, Generation, Message, User
from conversations.models.conversations import TITLE_LENGTH

from . import access, catalogue

# No window of today's models holds more turns than this; it bounds what one send reads.
_MAX_MESSAGES_READ = 2_000
_SLICE = 50


class TurnRefused(Exception):
    """A turn that can't be taken. Its text is fit for the person who asked: what is wrong, and what to do."""

    def __init__(self, message: str | Promise) -> None:
        super().__init__(str(message))


_GONE = gettext_lazy("This conversation is not there, or not yours.")
_STILL_WRITING = gettext_lazy("An answer is still being written. Wait for it, or stop it first.")


@dataclass(frozen=True, slots=True)
class Turn:
    """What a send made: the conversation, and the generation that answers."""

    conversation: Conversation
    generation: Generation
    is_new: bool


@transaction.atomic
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
    """Take a message of the user and queue the generation of its answer.

    `conversation` is the public id of one that exists, or None for a new one. `client_id` is made by the page: the same
    one twice is one message. `max_tokens` asks for a shorter answer than the cap. Raises TurnRefused.
    """
    author = _lock_author(user)
    sent = Message.objects.filter(author=author, client_id=client_id).select_related("conversation").first()
    if sent is not None:
        return _turn_already_taken(sent, client_id)
    _check_rate(author, now=now)
    place = _lock_conversation(author, conversation) if conversation else None
    if place is not None and place.generations.active().exists():
        raise TurnRefused(_STILL_WRITING)
    use = _use_of(author, now=now)
    model = _choose_model(model_slug, allowed=use.model_ids)
    cap = _cap(max_tokens, model=model)
    _check_text(text, model=model)
    trimmed = _trim(place, newest=[("user", _count(text, model=model))], model=model, max_tokens=cap)

    _count_message(author, now=now)
    is_new = place is None
    if place is None:
        place = Conversation.objects.create(
            owner=author, title=make_title(text), created_at=now, last_activity_at=now
        )
    depth = place.head.depth + 1 if place.head else 0
    question = Message.objects.create(
        conversation=place,
        parent=place.head,
        depth=depth,
        role=Message.Role.USER,
        author=author,
        client_id=client_id,
        text=text,
        created_at=now,
    )
    answer = Message.objects.create(
        conversation=place, parent=question, depth=depth + 1, role=Message.Role.ASSISTANT, created_at=now
    )
    generation = Generation.objects.create(
        conversation=place,
        message=answer,
        model=model,
        client_id=client_id,
        max_tokens=cap,
        parameters=model.parameters,
        trimmed_messages=trimmed,
        created_at=now,
    )
    place.head = answer
    place.last_activity_at = now
    place.save(update_fields=["head", "last_activity_at"])
    _ring_after_commit(place.pk, doorbell.News.TURN)
    return Turn(place, generation, is_new)


@transaction.atomic
def continue_answer(*, user: User, message: uuid.UUID, client_id: uuid.UUID, now: dt.datetime) -> Generation:
    """Queue another generation that goes on in the same answer, from the text that is there.

    For an answer that was stopped, interrupted or cut off, or that failed. Raises TurnRefused.
    """
    author = _lock_author(user)
    answer = (
        Message.objects.visible_to(author)
        .filter(uuid=message, role=Message.Role.ASSISTANT)
        .select_related("conversation")
        .first()
    )
    if answer is None:
        raise TurnRefused(_GONE)
    place = _lock_conversation(author, answer.conversation.uuid)
    asked = place.generations.filter(client_id=client_id).first()
    if asked is not None:
        return asked
    if place.generations.active().exists():
        raise TurnRefused(_STILL_WRITING)
    _check_rate(author, now=now)
    last = answer.generations.select_related("model").order_by("-pk").first()
    if place.head_id != answer.pk or answer.is_hidden or last is None or not can_continue(last):
        raise TurnRefused(_("This answer can't be continued."))
    # Read only now, under the lock: another generation may just have written to it.
    answer.refresh_from_db(fields=["text"])
    use = _use_of(author, now=now, is_new_message=False)
    offered = catalogue.offered_models(allowed=use.model_ids)
    model = last.model if last.model in offered else _choose_model("", allowed=use.model_ids)
    cap = min(last.max_tokens, catalogue.longest_answer(model))
    generation = Generation.objects.create(
        conversation=place,
        message=answer,
        model=model,
        client_id=client_id,
        max_tokens=cap,
        parameters=model.parameters,
        offset=len(answer.text),
        trimmed_messages=_trim(
            place, newest=[], model=model, max_tokens=cap, reserve=_count(prompt.CONTINUE, model=model)
        ),
        created_at=now,
    )
    place.last_activity_at = now
    place.save(update_fields=["last_activity_at"])
    _ring_after_commit(place.pk, doorbell.News.TURN)
    return generation


def can_continue(generation: Generation) -> bool:
    """Whether the person may ask for more after this generation: it ended, but not of its own accord."""
    if generation.status in {
        Generation.Status.STOPPED,
        Generation.Status.INTERRUPTED,
        Generation.Status.FAILED,
    }:
        return True
    return generation.status == Generation.Status.COMPLETE and generation.finish_reason == "length"


@transaction.atomic
def request_stop(*, user: User, message: uuid.UUID, now: dt.datetime) -> None:
    """Ask that the generation of this answer ends. The runner closes the upstream request and keeps the text.

    One that no runner has taken yet ends at once. Nothing happens where none is active. Raises TurnRefused where the
    message is not there or not this user's.
    """
    if not Message.objects.visible_to(user).filter(uuid=message).exists():
        raise TurnRefused(_GONE)
    active = Generation.objects.visible_to(user).active().filter(message__uuid=message)
    generation = active.first()
    if generation is None:
        return
    waiting = active.filter(pk=generation.pk, status=Generation.Status.QUEUED)
    if not waiting.update(status=Generation.Status.STOPPED, stop_requested_at=now, ended_at=now):
        active.filter(pk=generation.pk, stop_requested_at__isnull=True).update(stop_requested_at=now)
    _ring_after_commit(generation.conversation_id, doorbell.News.STOP)


def make_title(text: str) -> str:
    """Return the title of a conversation that begins with this text: its first line that is not blank, shortened."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"


def _ring_after_commit(conversation_id: int, news: doorbell.News) -> None:
    transaction.on_commit(lambda: doorbell.ring(conversation_id, news))


def _lock_author(user: User) -> User:
    """Lock the user's row, so that two sends of one person come one after the other. Raises TurnRefused."""
    author = User.objects.select_for_update().filter(pk=user.pk, is_active=True).first()
    if author is None:
        raise TurnRefused(_("Your account is not active."))
    return author


def _lock_conversation(author: User, public_id: uuid.UUID) -> Conversation:
    mine = Conversation.objects.visible_to(author).select_related("head")
    found = mine.select_for_update(of=("self",)).filter(uuid=public_id).first()
    if found is None:
        raise TurnRefused(_GONE)
    return found


def _turn_already_taken(sent: Message, client_id: uuid.UUID) -> Turn:
    generation = sent.conversation.generations.get(message__parent=sent, client_id=client_id)
    return Turn(sent.conversation, generation, False)


def _check_rate(author: User, *, now: dt.datetime) -> None:
    since = now - dt.timedelta(minutes=1)
    asked = Generation.objects.filter(conversation__owner=author, created_at__gt=since).count()
    if asked >= settings.CHAT_SENDS_PER_MINUTE:
        raise TurnRefused(_("That was a lot in one minute. Wait a moment, then send it again."))


def _use_of(author: User, *, now: dt.datetime, is_new_message: bool = True) -> access.Use:
    """Return what the author may do. Raises TurnRefused where they may not write, or not even go on with an answer."""
    use = access.use_of(author, now=now)
    if use.refusal and (is_new_message or use.is_over):
        raise TurnRefused(use.refusal)
    return use


def _count_message(author: User, *, now: dt.datetime) -> None:
    """Count a message that is about to be kept. Raises TurnRefused where none is left."""
    try:
        access.count_message(author, now=now)
    except access.UseRefused as error:
        raise TurnRefused(str(error)) from error


def _choose_model(slug: str, *, allowed: frozenset[int] | None) -> ChatModel:
    offered = catalogue.offered_models(allowed=allowed)
    if not offered:
        raise TurnRefused(catalogue.SETUP_PROBLEM)
    if not slug:
        return offered[0]
    for model in offered:
        if model.slug == slug:
            return model
    raise TurnRefused(_("This model is not offered here. Choose another one."))


def _cap(requested: int | None, *, model: ChatModel) -> int:
    try:
        return limits.output_cap(
            requested, site_cap=settings.CHAT_MAX_OUTPUT_TOKENS, model_cap=model.max_output_tokens
        )
    except limits.TooManyOutputTokens as error:
        raise TurnRefused(
            _("An answer may have at most %(limit)s tokens here. Ask for less.")
            % {"limit": number_format(error.limit)}
        ) from error


def _check_text(text: str, *, model: ChatModel) -> None:
    try:
        limits.check_input(
            text,
            max_chars=settings.CHAT_MAX_INPUT_CHARS,
            max_tokens=settings.CHAT_MAX_INPUT_TOKENS,
            count_tokens=lambda given: _count(given, model=model),
        )
    except limits.TooManyCharacters as error:
        raise TurnRefused(
            _("This is too long: %(actual)s characters, and at most %(limit)s are taken. Shorten it.")
            % {"actual": number_format(error.actual), "limit": number_format(error.limit)}
        ) from error
    except limits.TooManyTokens as error:
        raise TurnRefused(
            _("This is too long: %(actual)s tokens, and at most %(limit)s are taken. Shorten it.")
            % {"actual": number_format(error.actual), "limit": number_format(error.limit)}
        ) from error


def _count(text: str, *, model: ChatModel) -> int:
    """Return the tokens of a text, with a margin where they can only be estimated."""
    count = tokens.count(text, model=model.upstream_name)
    return count.tokens if count.exact else int(count.tokens * limits.ESTIMATE_MARGIN) + 1


def _trim(
    place: Conversation | None,
    *,
    newest: list[tuple[str, int]],
    model: ChatModel,
    max_tokens: int,
    reserve: int = 0,
) -> int:
    """Return how many of the oldest messages of the conversation are not sent.

    `newest` are the roles and tokens of messages that are not in the branch yet, newest first; `reserve` is kept free
    beside them, in tokens. Raises TurnRefused where not even the newest turn has room.
    """
    room = limits.Room.of(
        context_window=model.context_window,
        max_tokens=max_tokens + reserve,
        system_tokens=_count(settings.CHAT_SYSTEM_PROMPT, model=model) if settings.CHAT_SYSTEM_PROMPT else 0,
    )
    earlier = Message.objects.path_ids(place.head_id, limit=_MAX_MESSAGES_READ) if place else []
    try:
        fitting = limits.count_fitting(itertools.chain(newest, _sizes(earlier, model=model)), room=room)
    except limits.WindowExceeded as error:
        raise TurnRefused(
            _(
                "This is too long for the model: about %(actual)s tokens, and it has room for %(limit)s. Shorten it."
            )
            % {"actual": number_format(error.actual), "limit": number_format(error.limit)}
        ) from error
    in_branch = place.head.depth + 1 if place and place.head else 0
    return in_branch + len(newest) - fitting


def _sizes(newest_first: list[int], *, model: ChatModel) -> Iterator[tuple[str, int]]:
    """Yield role and tokens of these messages, in slices, so that a long conversation is read no further than it is sent."""
    for start in range(0, len(newest_first), _SLICE):
        ids = newest_first[start : start + _SLICE]
        for message in Message.objects.filter(pk__in=ids).order_by("-depth"):
            yield message.role, _count(prompt.text_of(message), model=model)
