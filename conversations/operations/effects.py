"""What a decision does to the answer, to the person, and to the records that later work uses."""

import datetime as dt

from django.db.models import Q

from conversations.models import (
    AccountNotice,
    BlocklistEntry,
    EvaluationItem,
    Generation,
    Message,
    ReviewCase,
    User,
)

from . import cases, mails


def hide(message: Message, *, vetted_text: str, now: dt.datetime) -> None:
    """Take a locked conversation's answer out of view, or put a vetted text in its place; a generation of it ends."""
    message.hidden_at, message.vetted_text = message.hidden_at or now, vetted_text
    cases.show_change(message)
    active = Generation.objects.active().filter(message=message)
    waiting = active.filter(status=Generation.Status.QUEUED)
    if not waiting.update(status=Generation.Status.STOPPED, stop_requested_at=now, ended_at=now):
        active.filter(stop_requested_at__isnull=True).update(stop_requested_at=now)


def show_again(message: Message) -> None:
    """Bring a hidden answer back into view."""
    message.hidden_at, message.vetted_text = None, ""
    cases.show_change(message)


def warn(user: User, *, case: ReviewCase, text: str, now: dt.datetime) -> None:
    """Tell a user what staff object to; they see it in the chat until they have acknowledged it."""
    AccountNotice.objects.create(
        user=user, case=case, kind=AccountNotice.Kind.WARNING, text=text, created_at=now
    )
    mails.tell_of_notice(user, text=text, kind=AccountNotice.Kind.WARNING)


def suspend(user: User, *, case: ReviewCase, text: str, days: int | None, now: dt.datetime) -> None:
    """Keep a user out for a number of days, or without an end. Their sockets close within seconds.

    A suspension that ends later than this one stays as it is.
    """
    until = None if days is None else now + dt.timedelta(days=days)
    if user.is_suspended(now) and (
        user.suspended_until is None or (until is not None and until < user.suspended_until)
    ):
        until = user.suspended_until
    user.suspended_at, user.suspended_until = now, until
    user.save(update_fields=["suspended_at", "suspended_until"])
    AccountNotice.objects.create(
        user=user,
        case=case,
        kind=AccountNotice.Kind.SUSPENSION,
        text=text,
        created_at=now,
        ends_at=None if days is None else now + dt.timedelta(days=days),
    )
    mails.tell_of_notice(user, text=text, kind=AccountNotice.Kind.SUSPENSION, ends_at=until)


def lift_notices(case: ReviewCase, *, now: dt.datetime) -> bool:
    """Take back what this case told its user, and a suspension that rests on no other case. Whether there was any."""
    lifted = AccountNotice.objects.filter(case=case, lifted_at__isnull=True).update(lifted_at=now)
    user = case.subject
    if not lifted or user is None:
        return bool(lifted)
    others = AccountNotice.objects.filter(
        user=user, kind=AccountNotice.Kind.SUSPENSION, lifted_at__isnull=True
    ).filter(Q(ends_at__isnull=True) | Q(ends_at__gt=now))
    ends = list(others.values_list("ends_at", flat=True))
    if not ends:
        user.suspended_at = user.suspended_until = None
    else:
        user.suspended_until = None if None in ends else max(end for end in ends if end is not None)
    user.save(update_fields=["suspended_at", "suspended_until"])
    return True


def add_to_blocklist(text: str, *, case: ReviewCase, staff: User, now: dt.datetime) -> None:
    """Keep a wording for the blocklist; one that is there already stays as it is."""
    BlocklistEntry.objects.get_or_create(
        text=text, defaults={"case": case, "added_by": staff, "created_at": now}
    )


def add_to_evaluation_set(
    case: ReviewCase, *, vetted_answer: str, note: str, staff: User, now: dt.datetime
) -> None:
    """Keep the prompt and the answer of the newest snapshot, once a case."""
    snapshot = case.snapshots.order_by("-pk").first()
    turns = snapshot.content.get("turns", []) if snapshot else []
    if case.evaluation_items.exists() or not turns:
        return
    position = next((i for i, turn in enumerate(turns) if turn["is_reported"]), len(turns))
    EvaluationItem.objects.create(
        case=case,
        category=case.category,
        turns=[{"role": turn["role"], "text": turn["text"]} for turn in turns[:position]],
        answer=turns[position]["text"] if position < len(turns) else "",
        vetted_answer=vetted_answer,
        note=note,
        added_by=staff,
        created_at=now,
    )
