"""Rerun reported prompts so that staff can compare the answers."""

import datetime as dt
import itertools
import uuid

from django.db import transaction
from django.utils.translation import gettext as _

from conversations.accounts.models import User
from conversations.catalogue import selectors as catalogue
from conversations.catalogue.models import ChatModel
from conversations.chat.generation import changes
from conversations.chat.models import Conversation, Generation, Message
from conversations.chat.services import caps
from conversations.common.refusals import Refused
from conversations.evaluation.models import Rerun
from conversations.review.models import ReviewEvent
from conversations.review.services import review_log
from conversations.review.services.reviewing import lock_case, require


@transaction.atomic
def run_again(*, staff: User, case: uuid.UUID, now: dt.datetime) -> Rerun:
    """Queue the prompt of the newest snapshot for the current default model.

    The usage counts as the staff member's. The prompt includes only messages that staff can see. Raises Refused if
    the prompt is already being rerun, no model is set up, the report has no prompt, or a message is too long.
    """
    require(staff, "rerun_reviewcase")
    found = lock_case(case, version=None)
    if Generation.objects.active().filter(conversation__rerun__case=found).exists():
        raise Refused(_("The prompt is already being rerun."))
    offered = catalogue.offered_models()
    if not offered:
        raise Refused(catalogue.SETUP_PROBLEM)
    snapshot = found.snapshots.order_by("-pk").first()
    messages = snapshot.content.get("messages", []) if snapshot else []
    asked = list(itertools.takewhile(lambda message: not message["is_reported"], messages))
    if not any(message["role"] == Message.Role.USER for message in asked):
        raise Refused(_("The report contains no prompt to rerun."))
    for message in asked:
        if message["role"] == Message.Role.USER:
            caps.check_message(
                message["text"], model=offered[0], max_tokens=catalogue.longest_answer(offered[0])
            )
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
    conversation = Conversation.objects.create(
        owner=staff,
        title=title,
        purpose=Conversation.Purpose.REVIEW,
        created_at=now,
        last_activity_at=now,
    )
    parent: Message | None = None
    messages = [*((message["role"], message["text"]) for message in asked), (Message.Role.ASSISTANT, "")]
    for depth, (role, text) in enumerate(messages):
        parent = Message.objects.create(
            conversation=conversation,
            parent=parent,
            depth=depth,
            role=role,
            author=staff if role == Message.Role.USER else None,
            text=text,
            created_at=now,
        )
    assert parent is not None
    Generation.objects.create(
        conversation=conversation,
        message=parent,
        model=model,
        client_id=uuid.uuid4(),
        max_tokens=catalogue.longest_answer(model),
        parameters=model.parameters,
        created_at=now,
    )
    conversation.head = parent
    conversation.save(update_fields=["head"])
    transaction.on_commit(lambda: changes.announce(conversation.pk))
    return Rerun(conversation=conversation, requested_by=staff, created_at=now)
