"""Feedback on answers, which is counted and, unlike a report, opens no case."""

import datetime as dt
import uuid

from conversations.accounts.models import User
from conversations.chat.models import Feedback, Message


def rate(
    *, user: User, message: uuid.UUID, rating: int | None, reason: str = "", now: dt.datetime
) -> Feedback | None:
    """Save a user's rating of an answer in place of any earlier one, or delete it if the rating is None.

    Raises Message.DoesNotExist if the user has no such answer, and ValueError if the rating or the reason is unknown.
    """
    answer = Message.objects.visible_to(user).get(uuid=message, role=Message.Role.ASSISTANT)
    if rating is None:
        Feedback.objects.filter(message=answer, user=user).delete()
        return None
    if rating not in Feedback.Rating.values or reason not in Feedback.Reason.values:
        raise ValueError("Unknown rating or reason.")
    kept, _created = Feedback.objects.update_or_create(
        message=answer,
        user=user,
        defaults={"rating": rating, "reason": reason, "updated_at": now},
        create_defaults={"rating": rating, "reason": reason, "created_at": now, "updated_at": now},
    )
    return kept
