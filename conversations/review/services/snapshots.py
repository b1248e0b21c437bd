"""Create snapshots: copies of what was reported, taken when the report is filed."""

import datetime as dt
import hashlib
import json
from typing import Any

from django.conf import settings

from conversations.chat.models import Conversation, Generation, Message, branches
from conversations.review.models import ReviewCase, Snapshot

TURNS_BEFORE = 3
TURNS_AFTER = 2
"""The number of turns before and after the reported one to include if the reporter agrees."""
FORMAT = 1
_MAX_DEPTH = 10_000


def digest_of(content: Any) -> str:
    """Return the SHA-256 digest of a snapshot's content, in hexadecimal."""
    written = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(written.encode("ascii")).hexdigest()


def keep(case: ReviewCase, content: dict[str, Any], *, now: dt.datetime) -> Snapshot:
    """Return a snapshot of the case with this content, creating it if necessary."""
    kept, _created = Snapshot.objects.get_or_create(
        case=case, digest=digest_of(content), defaults={"content": content, "created_at": now}
    )
    return kept


def of_application(*, page: str) -> dict[str, Any]:
    """Return the content for a report about the application itself. `page` is the path the user came from."""
    return {"format": FORMAT, "kind": "application", "app_version": settings.APP_VERSION, "page": page}


def of_answer(message: Message, *, includes_context: bool) -> dict[str, Any]:
    """Return the content for a report about this answer.

    `messages` holds the answer and its prompt, plus the surrounding messages if the reporter includes them. `branch` holds
    the public IDs of all messages from the first one to the answer. Hidden texts are included in full.
    """
    path = branches.branch_ids(message.pk, limit=_MAX_DEPTH)
    window = _window(message, path, includes_context=includes_context)
    uuids = dict(Message.objects.filter(pk__in=path).values_list("pk", "uuid"))
    generation = message.generations.select_related("model").order_by("-pk").first()
    return {
        "format": FORMAT,
        "kind": "answer",
        "app_version": settings.APP_VERSION,
        "conversation": str(message.conversation.uuid),
        "message": str(message.uuid),
        "branch": [str(uuids[pk]) for pk in reversed(path)],
        "system_prompt": settings.CHAT_SYSTEM_PROMPT,
        "messages": [_message(found, reported=message) for found in window],
        "generation": _generation(generation) if generation else None,
        # Reserved for moderation verdicts.
        "moderation": [],
    }


def count_around(message: Message) -> int:
    """Return how many surrounding turns a report of this answer would include."""
    path = branches.branch_ids(message.pk, limit=2 + 2 * TURNS_BEFORE)
    included = len(_window(message, path, includes_context=True))
    alone = len(_window(message, path, includes_context=False))
    return (included - alone + 1) // 2


def _window(message: Message, path: list[int], *, includes_context: bool) -> list[Message]:
    """Return the messages for the snapshot, oldest first. `path` runs from the answer up to the first message."""
    wanted = path[: 2 + 2 * TURNS_BEFORE] if includes_context else path[:2]
    if includes_context:
        wanted = [*_below(message), *wanted]
    return list(Message.objects.filter(pk__in=wanted).prefetch_related("parts").order_by("depth"))


def _below(message: Message) -> list[int]:
    """Return the IDs of the messages that follow this one on the current branch, newest first."""
    conversation = Conversation.objects.filter(pk=message.conversation_id)
    head = Message.objects.filter(pk__in=conversation.values("head")).first()
    if head is None or head.depth <= message.depth:
        return []
    branch = branches.branch_ids(head.pk, limit=head.depth - message.depth + 1)
    if branch[-1] != message.pk:
        return []
    return branch[:-1][-2 * TURNS_AFTER :]


def _message(message: Message, *, reported: Message) -> dict[str, Any]:
    return {
        "uuid": str(message.uuid),
        "role": message.role,
        "text": message.text,
        "reasoning": message.reasoning,
        "at": _time(message.created_at),
        "is_reported": message.pk == reported.pk,
        "was_hidden": message.is_hidden,
    }


def _generation(generation: Generation) -> dict[str, Any]:
    model = generation.model
    return {
        "uuid": str(generation.uuid),
        "model": model.label,
        "upstream_name": model.upstream_name,
        "provider": model.provider,
        "parameters": generation.parameters,
        "max_tokens": generation.max_tokens,
        "status": generation.status,
        "finish_reason": generation.finish_reason,
        "error_code": generation.error_code,
        "trimmed_messages": generation.trimmed_messages,
        "prompt_tokens": generation.prompt_tokens,
        "completion_tokens": generation.completion_tokens,
        "reasoning_tokens": generation.reasoning_tokens,
        "usage_is_estimated": generation.usage_is_estimated,
        "created_at": _time(generation.created_at),
        "first_token_at": _time(generation.first_token_at),
        "ended_at": _time(generation.ended_at),
    }


def _time(at: dt.datetime | None) -> str | None:
    return at.astimezone(dt.UTC).isoformat(timespec="milliseconds") if at else None
