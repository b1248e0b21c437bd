"""Answers that have ended, for tests of what comes after them."""

import datetime as dt
import uuid

from django.utils import timezone

from conversations.models import Generation, Message, Report, User
from conversations.operations import reports, turns


def answer(
    user: User, text: str = "The answer.", *, prompt: str = "The prompt", place: object = None
) -> Message:
    """Return an answer in a conversation of this user: a new one, or a further turn of `place`."""
    turn = turns.start_turn(
        user=user,
        conversation=place,  # type: ignore[arg-type]
        text=prompt,
        client_id=uuid.uuid4(),
        now=timezone.now(),
    )
    Generation.objects.filter(pk=turn.generation.pk).update(
        status="complete", finish_reason="stop", prompt_tokens=5, completion_tokens=7, ended_at=timezone.now()
    )
    Message.objects.filter(pk=turn.generation.message_id).update(text=text)
    return Message.objects.select_related("conversation").get(pk=turn.generation.message_id)


def report(
    user: User,
    message: Message,
    category: str = "incorrect",
    comment: str = "",
    *,
    now: dt.datetime | None = None,
    includes_context: bool = False,
) -> Report:
    """File a report of this answer."""
    return reports.report_answer(
        reporter=user,
        message=message.uuid,
        category=category,
        comment=comment,
        includes_context=includes_context,
        now=now or timezone.now(),
    )
