"""Thumbs up and down: a lighter signal than a report, which is counted and opens no case."""

import datetime as dt
import uuid

from conversations.models import Feedback, Message, User


def rate(
    *, user: User, message: uuid.UUID, rating: int | None, reason: str = "", now: dt.datetime
) -> Feedback | None:
    """Keep what this person thinks of an answer, in place of what they thought before; None takes it back.

    Raises Message.DoesNotExist where the answer is not there or not theirs, ValueError for a rating or a reason that there
    is none of.
    """
    answer = Message.objects.visible_to(user).get(uuid=message, role=Message.Role.ASSISTANT)
    if rating is None:
        Feedback.objects.filter(message=answer, user=user).delete()
        return None
    if rating not in Feedback.Rating.values or reason not in Feedback.Reason.values:
        raise ValueError("There is no such rating or reason.")
    kept, _created = Feedback.objects.update_or_create(
        message=answer,
        user=user,
        defaults={"rating": rating, "reason": reason, "updated_at": now},
        create_defaults={"rating": rating, "reason": reason, "created_at": now, "updated_at": now},
    )
    return kept
