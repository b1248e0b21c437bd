"""Snapshots: what a report is about, as it was when it was filed."""

import datetime as dt
import hashlib
import json
from typing import Any

from django.conf import settings

from conversations.models import Conversation, Generation, Message, ReviewCase, Snapshot

TURNS_BEFORE = 3
TURNS_AFTER = 2
"""How many turns around the reported one are included, where the reporter says so."""
FORMAT = 1
_MAX_DEPTH = 10_000


def digest_of(content: Any) -> str:
    """Return the SHA-256 of a snapshot's content."""
    written = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(written.encode("ascii")).hexdigest()


def keep(case: ReviewCase, content: dict[str, Any], *, now: dt.datetime) -> Snapshot:
    """Keep this content for the case; what is kept already is returned."""
    kept, _created = Snapshot.objects.get_or_create(
        case=case, digest=digest_of(content), defaults={"content": content, "created_at": now}
    )
    return kept


def of_application(*, page: str) -> dict[str, Any]:
    """Return the content for a report about the application itself, made on this page (a path)."""
    return {"format": FORMAT, "kind": "application", "app_version": settings.APP_VERSION, "page": page}


def of_answer(message: Message, *, includes_context: bool) -> dict[str, Any]:
    """Return the content for a report about this answer.

    `turns` holds the answer and the prompt above it, and the turns around them where the reporter says so; `branch` the
    public ids of all messages down to the answer. Texts are whole, also those that are hidden from view.
    """
    path = Message.objects.path_ids(message.pk, limit=_MAX_DEPTH)
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
        "turns": [_turn(found, reported=message) for found in window],
        "generation": _generation(generation) if generation else None,
        # Verdicts are kept here as soon as something gives them.
        "moderation": [],
    }


def count_around(message: Message) -> int:
    """Return how many turns around the reported one a report would include."""
    path = Message.objects.path_ids(message.pk, limit=2 + 2 * TURNS_BEFORE)
    included = len(_window(message, path, includes_context=True))
    alone = len(_window(message, path, includes_context=False))
    return (included - alone + 1) // 2


def _window(message: Message, path: list[int], *, includes_context: bool) -> list[Message]:
    """Return the messages in the snapshot, oldest first; `path` leads from the answer up."""
    wanted = path[: 2 + 2 * TURNS_BEFORE] if includes_context else path[:2]
    if includes_context:
        wanted = [*_below(message), *wanted]
    return list(Message.objects.filter(pk__in=wanted).order_by("depth"))


def _below(message: Message) -> list[int]:
    """Return the ids of the messages right below this one in the branch in view, newest first."""
    place = Conversation.objects.filter(pk=message.conversation_id)
    head = Message.objects.filter(pk__in=place.values("head")).first()
    if head is None or head.depth <= message.depth:
        return []
    branch = Message.objects.path_ids(head.pk, limit=head.depth - message.depth + 1)
    if branch[-1] != message.pk:
        return []
    return branch[:-1][-2 * TURNS_AFTER :]


def _turn(message: Message, *, reported: Message) -> dict[str, Any]:
    return {
        "uuid": str(message.uuid),
        "role": message.role,
        "text": message.text,
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
        "usage_is_estimated": generation.usage_is_estimated,
        "created_at": _time(generation.created_at),
        "first_token_at": _time(generation.first_token_at),
        "ended_at": _time(generation.ended_at),
    }


def _time(at: dt.datetime | None) -> str | None:
    return at.astimezone(dt.UTC).isoformat(timespec="milliseconds") if at else None
