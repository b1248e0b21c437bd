"""End generations as complete, failed, stopped or interrupted. No other module ends an active generation.

A generation ends once. Every function here uses a conditional update, so only one caller can succeed; in the same
transaction it saves the text and the token counts, and deletes the journal.
"""

import contextlib
import copy
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from conversations.chat.models import Generation, Message, MessagePart, statements
from conversations.chat.models.conversations import PART_SEPARATOR
from conversations.limits import rules as limits
from conversations.llm import tokens
from conversations.llm.chat import ChatRequest, Usage

from . import changes
from .journal import Job
from .prompt import build_request, count_fields
from .transcript import Entry, NewEnd, Part, read_journal

_NO_COUNTS: dict[str, Any] = {
    "prompt_tokens": None,
    "completion_tokens": None,
    "reasoning_tokens": None,
    "usage_is_estimated": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a generation's upstream call ended, and the text that it added."""

    status: Generation.Status
    text: str
    parts: Sequence[Part] = ()
    finish_reason: str = ""
    error_code: str = ""
    retry_at: dt.datetime | None = None
    first_token_at: dt.datetime | None = None
    usage: Usage | None = None


def finish(*, job: Job, runner: str, outcome: Outcome, request: ChatRequest | None, now: dt.datetime) -> bool:
    """End a generation for the runner that wrote it, and announce it. Returns False if it has ended or was deleted.

    `request` is the request that was sent, or None if none was.
    """
    if outcome.error_code and not outcome.text and not outcome.parts and outcome.usage is None:
        # The upstream rejected the request, so no tokens were used.
        request = None
    counts = _counts(outcome.text, outcome.parts, usage=outcome.usage, request=request)
    # Count before the transaction, because other writers wait for it.
    counted = tokens.count(job.existing_text + outcome.text, model=job.generation.model.upstream_name)
    ended = {
        "status": outcome.status,
        "finish_reason": outcome.finish_reason[:32],
        "error_code": outcome.error_code,
        "retry_at": outcome.retry_at,
        "first_token_at": outcome.first_token_at,
        "heartbeat_at": now,
        "ended_at": now,
        **counts,
    }
    with transaction.atomic():
        won = statements.end_generation(id=job.generation_id, runner=runner, **ended)
        if won:
            is_shown = _close(
                job.generation,
                existing_text=job.existing_text,
                text=outcome.text,
                parts=outcome.parts,
                counted=counted,
                now=now,
            )
            step = NewEnd(_ended_entry(job, outcome, counted, ended)) if is_shown else None
            changes.announce_after_commit(job.conversation_id, changes.Change.END, step)
    return bool(won)


def interrupt(generation: Generation, *, now: dt.datetime) -> bool:
    """Interrupt a generation whose runner died, keeping its text. Returns False if it is alive or has ended."""
    # Count before the transaction, because other writers wait for it.
    written = read_journal([generation.pk])[generation.pk]
    request = None
    with contextlib.suppress(limits.WindowExceeded):
        request, _trimmed = build_request(generation)
    counts = _counts(written.text, written.parts, usage=None, request=request)
    with transaction.atomic():
        won = Generation.objects.filter(
            pk=generation.pk, status=Generation.Status.RUNNING, heartbeat_at=generation.heartbeat_at
        ).update(status=Generation.Status.INTERRUPTED, ended_at=now, **counts)
        if won:
            existing_text = Message.objects.values_list("text", flat=True).get(pk=generation.message_id)
            written = read_journal([generation.pk])[generation.pk]
            _close(
                generation,
                existing_text=existing_text,
                text=written.text,
                parts=written.parts,
                counted=None,
                now=now,
            )
    return bool(won)


def stop(generations: QuerySet[Generation], *, now: dt.datetime) -> None:
    """Stop those of the generations that are active.

    A queued generation ends at once. A running one is marked; its runner then closes the upstream request, saves the
    text and ends the generation.
    """
    with transaction.atomic():
        found = list(
            generations.filter(status__in=Generation.ACTIVE)
            .values_list("pk", "conversation_id")
            .order_by("pk")
        )
        active = Generation.objects.filter(pk__in=[pk for pk, _conversation in found])
        # Queued first: a generation that is claimed between the two updates is caught by the second.
        active.filter(status=Generation.Status.QUEUED).update(
            status=Generation.Status.STOPPED, stop_requested_at=now, ended_at=now
        )
        active.filter(status=Generation.Status.RUNNING, stop_requested_at__isnull=True).update(
            stop_requested_at=now
        )
        for conversation_id in {conversation for _pk, conversation in found}:
            changes.announce_after_commit(conversation_id, changes.Change.STOP)


def _counts(
    text: str, parts: Sequence[Part], *, usage: Usage | None, request: ChatRequest | None
) -> dict[str, Any]:
    """Return the token counts to store: the upstream's own, or an estimate if it sent none."""
    if request is None:
        return _NO_COUNTS
    reasoning = sum(tokens.count(part.text, model=request.model).tokens for part in parts) or None
    if usage is not None:
        told = usage.reasoning_tokens
        return {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "reasoning_tokens": min(reasoning or 0, usage.completion_tokens) or None
            if told is None
            else told,
            "usage_is_estimated": False,
        }
    return {
        "prompt_tokens": tokens.count_messages(request.messages, model=request.model).tokens,
        "completion_tokens": tokens.count(text, model=request.model).tokens + (reasoning or 0),
        "reasoning_tokens": reasoning,
        "usage_is_estimated": True,
    }


def _close(
    generation: Generation,
    *,
    existing_text: str,
    text: str,
    parts: Sequence[Part],
    counted: tokens.TokenCount | None,
    now: dt.datetime,
) -> bool:
    """Move the generation's text from the journal into the message. Returns False if staff have hidden the message.

    `counted` are the tokens of the message's whole text, if known.
    """
    values = {"text": existing_text + text, **count_fields(counted)}
    is_shown = statements.set_shown_text(id=generation.message_id, **values) == 1
    if not is_shown:
        Message.objects.filter(pk=generation.message_id).update(**values)
    if parts:
        MessagePart.objects.bulk_create(
            MessagePart(
                message_id=generation.message_id,
                position=part.position,
                kind=part.kind,
                offset=len(existing_text) + part.offset,
                text=part.text,
                duration_ms=part.duration_ms,
            )
            for part in parts
        )
    statements.delete_journal(generation=generation.pk)
    statements.touch_conversation(id=generation.conversation_id, last_activity_at=now)
    return is_shown


def _ended_entry(job: Job, outcome: Outcome, counted: tokens.TokenCount, ended: dict[str, Any]) -> Entry:
    """Return the entry of an answer with the changes of its end. The job's own instances may still be shown as open."""
    message, generation = copy.copy(job.generation.message), copy.copy(job.generation)
    message.text = job.existing_text + outcome.text
    for changed, values in ((message, count_fields(counted)), (generation, ended)):
        for name, value in values.items():
            setattr(changed, name, value)
    generation.message = message
    reasoning = [job.existing_reasoning] if job.existing_reasoning else []
    return Entry(
        message,
        generation,
        message.text,
        PART_SEPARATOR.join([*reasoning, *(part.text for part in outcome.parts)]),
        job.existing_reasoning_ms + sum(part.duration_ms for part in outcome.parts),
    )
