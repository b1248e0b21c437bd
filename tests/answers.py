"""Build finished answers and reports, for tests of what follows from them."""

import datetime as dt
import uuid

from django.utils import timezone

from conversations.accounts.models import User
from conversations.chat.models import Generation, Message
from conversations.chat.services import turns
from conversations.review.models import Report
from conversations.review.services import reports


def answer(
    user: User, text: str = "The answer.", *, prompt: str = "The prompt", place: object = None
) -> Message:
    """Return an answer in a new conversation of this user, or one more turn in the conversation `place`."""
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
    """Report this answer."""
    return reports.report_answer(
        reporter=user,
        message=message.uuid,
        category=category,
        comment=comment,
        includes_context=includes_context,
        now=now or timezone.now(),
    )
