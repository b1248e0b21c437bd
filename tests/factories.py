"""Create people, models, turns, answers, reports and previews for tests, through the same services as the site."""

import datetime as dt
import uuid
from typing import Any

from django.contrib.auth.models import Permission
from django.utils import timezone

from conversations.access import selectors as access
from conversations.access.models import Invitation, Preview
from conversations.access.services import invitations, terms
from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.models import Conversation, Generation, Message
from conversations.chat.services import turns
from conversations.review.models import Report
from conversations.review.services import effects, reports
from conversations.review.services.decisions import Decision

PASSWORD = "correct horse battery"
DAY = dt.timedelta(days=1)

REVIEWER = ("view_reviewcase", "claim_reviewcase", "decide_reviewcase", "rerun_reviewcase", "view_report")
LEAD = (
    *REVIEWER,
    "assign_reviewcase",
    "suspend_user",
    "reveal_reporter",
    "read_conversation",
    "view_review_figures",
    "export_reviewcase",
    "view_reviewevent",
)


# --- People ---


def make_user(username: str, **values: Any) -> User:
    """Create a user who signs in with PASSWORD."""
    return User.objects.create_user(username, **{"password": PASSWORD, **values})


def make_pending(username: str, **values: Any) -> User:
    """Create a user who awaits approval."""
    return make_user(username, account_type=User.AccountType.PENDING, **values)


def make_staff(username: str, *codenames: str) -> User:
    """Create a member of staff with these permissions."""
    staff = make_user(username, email=f"{username}@example.org", is_staff=True)
    permissions = Permission.objects.filter(codename__in=codenames)
    assert permissions.count() == len(set(codenames))
    staff.user_permissions.set(permissions)
    return staff


# --- Access ---


def make_preview(**values: Any) -> Preview:
    """Create a preview that began yesterday and ends tomorrow."""
    now = timezone.now()
    return Preview.objects.create(
        **{"name": "Spring", "starts_at": now - DAY, "ends_at": now + DAY, **values}
    )


def make_invitation(preview: Preview | None, **values: Any) -> Invitation:
    """Create an invitation to a preview, or to the site if `preview` is None."""
    staff = User.objects.filter(username="host").first() or make_staff("host")
    [made] = invitations.create_invitations(staff=staff, preview=preview, **values)
    return made


def make_member(preview: Preview) -> User:
    """Create a user who takes part in a preview."""
    user = make_pending(f"member{User.objects.count()}")
    invitations.join(preview, user=user, now=timezone.now())
    user.refresh_from_db()
    return user


# --- Conversations ---


def make_model(slug: str = "fake", **values: Any) -> ChatModel:
    """Create a model, which the fake upstream serves."""
    usual = {
        "label": slug.capitalize(),
        "provider": ChatModel.Provider.OPENAI,
        "upstream_name": slug,
        "context_window": 4_096,
        "max_output_tokens": 1_024,
    }
    return ChatModel.objects.create(slug=slug, **{**usual, **values})


def make_turn(
    user: User,
    text: str = "Hello",
    *,
    conversation: Conversation | uuid.UUID | None = None,
    now: dt.datetime | None = None,
    **values: Any,
) -> turns.Turn:
    """Send a message, in a new conversation unless one is given. Its answer is left in the queue."""
    return turns.start_turn(
        user=user,
        conversation=conversation.uuid if isinstance(conversation, Conversation) else conversation,
        text=text,
        client_id=uuid.uuid4(),
        now=now or timezone.now(),
        **values,
    )


def make_answer(
    user: User,
    text: str = "The answer.",
    *,
    prompt: str = "The prompt",
    conversation: Conversation | uuid.UUID | None = None,
) -> Message:
    """Create a complete answer, in a new conversation unless one is given."""
    turn = make_turn(user, prompt, conversation=conversation)
    Generation.objects.filter(pk=turn.generation.pk).update(
        status="complete", finish_reason="stop", prompt_tokens=5, completion_tokens=7, ended_at=timezone.now()
    )
    Message.objects.filter(pk=turn.generation.message_id).update(text=text)
    return Message.objects.select_related("conversation").get(pk=turn.generation.message_id)


# --- Reports and cases ---


def make_report(
    user: User,
    message: Message,
    category: str = "incorrect",
    comment: str = "",
    *,
    now: dt.datetime | None = None,
    includes_context: bool = False,
) -> Report:
    """Report an answer, which opens a case."""
    return reports.report_answer(
        reporter=user,
        message=message.uuid,
        category=category,
        comment=comment,
        includes_context=includes_context,
        now=now or timezone.now(),
    )


def make_reports(count: int, *, category: str = "incorrect", comment: str = "It is wrong.") -> list[Report]:
    """Create reports, each by a different person about a different answer, so that each opens a case."""
    made = []
    first = User.objects.count()
    for number in range(first, first + count):
        person = make_user(f"person-{number}", email=f"person-{number}@example.org")
        if (version := access.terms_in_force()) is not None:
            terms.accept_terms(user=person, version=version.version, now=timezone.now())
        made.append(make_report(person, make_answer(person, f"Answer {number}."), category, comment))
    return made


def make_decision(
    outcome: str, reason: str = "Because.", *, reply: str = "", verdicts: Any = None, **typed: Any
) -> Decision:
    """Return a decision with the effects chosen by these form values."""
    chosen = effects.read({"reason": reason, **typed})
    return Decision(outcome, reason, reply=reply, effects=chosen, verdicts=verdicts or {})
