"""Running a reported prompt again, for staff to compare with the answer that was reported."""

import datetime as dt
import itertools
import uuid

from django.db import transaction
from django.utils.translation import gettext as _

from conversations.generation import doorbell
from conversations.models import ChatModel, Conversation, Generation, Message, Rerun, ReviewEvent, User

from . import catalogue, review_log
from .reviewing import ReviewRefused, lock_case, require


@transaction.atomic
def run_again(*, staff: User, case: uuid.UUID, now: dt.datetime) -> Rerun:
    """Queue the prompt of the newest snapshot for the model that is the default now, accounted to this member of staff.

    The turns are those that staff may see, and no others. Raises ReviewRefused.
    """
    require(staff, "rerun_reviewcase")
    found = lock_case(case, version=None)
    if Generation.objects.active().filter(conversation__rerun__case=found).exists():
        raise ReviewRefused(_("The prompt is being run again already."))
    offered = catalogue.offered_models()
    if not offered:
        raise ReviewRefused(catalogue.SETUP_PROBLEM)
    snapshot = found.snapshots.order_by("-pk").first()
    turns = snapshot.content.get("turns", []) if snapshot else []
    asked = list(itertools.takewhile(lambda turn: not turn["is_reported"], turns))
    if not any(turn["role"] == Message.Role.USER for turn in asked):
        raise ReviewRefused(_("There is no prompt in what was reported."))
    rerun = _queue(staff, model=offered[0], asked=asked, title=str(found), now=now)
    rerun.case = found
    rerun.save()
    review_log.append(
        kind=ReviewEvent.Kind.RERUN,
        now=now,
        actor=staff,
        case=found,
        details={"model": offered[0].slug, "rerun": str(rerun.uuid)},
    )
    return rerun


def _queue(
    staff: User, *, model: ChatModel, asked: list[dict[str, str]], title: str, now: dt.datetime
) -> Rerun:
    place = Conversation.objects.create(
        owner=staff,
        title=title,
        purpose=Conversation.Purpose.REVIEW,
        created_at=now,
        last_activity_at=now,
    )
    parent: Message | None = None
    turns = [*((turn["role"], turn["text"]) for turn in asked), (Message.Role.ASSISTANT, "")]
    for depth, (role, text) in enumerate(turns):
        parent = Message.objects.create(
            conversation=place,
            parent=parent,
            depth=depth,
            role=role,
            author=staff if role == Message.Role.USER else None,
            text=text,
            created_at=now,
        )
    assert parent is not None
    Generation.objects.create(
        conversation=place,
        message=parent,
        model=model,
        client_id=uuid.uuid4(),
        max_tokens=catalogue.longest_answer(model),
        parameters=model.parameters,
        created_at=now,
    )
    place.head = parent
    place.save(update_fields=["head"])
    transaction.on_commit(lambda: doorbell.ring(place.pk))
    return Rerun(conversation=place, requested_by=staff, created_at=now)
