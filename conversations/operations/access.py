"""Who may use the site, and how much of it: what a person's standing, their previews and the limits allow."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop, ngettext

from conversations.models import Membership, NoticeAcceptance, SiteAccess, UseNotice, User

from . import mails, quotas


class UseRefused(Exception):
    """Something that a person may not do (any more). Its text is fit for them: why, and what they can do."""

    def __init__(self, message: str | Promise) -> None:
        super().__init__(str(message))


FIRST_NOTICE = gettext_noop(
    """\
- Answers come from a language model. They can be wrong, out of date or one-sided: check what matters.
- Do not enter secrets, or personal data of others.
- What you write and what is answered is stored here, so that you find it again. Staff see an answer when it is \
reported, and a whole conversation only for a stated reason, which is logged."""
)


# --- Sign-up ---


def signup_mode() -> SiteAccess.SignUp:
    """Return how people sign up: as set in admin, else as the setting SIGNUP says."""
    chosen = SiteAccess.objects.filter(pk=1).values_list("signup", flat=True).first()
    return SiteAccess.SignUp(chosen or settings.SIGNUP)


@transaction.atomic
def approve(*, user: User) -> bool:
    """Let a pending person in and tell them by mail. False where they were not pending (any more)."""
    if not User.objects.filter(pk=user.pk, standing=User.Standing.PENDING).update(
        standing=User.Standing.MEMBER
    ):
        return False
    mails.tell_of_approval(user)
    return True


# --- The first-use notice ---


def notice_in_force() -> UseNotice | None:
    """Return the newest first-use notice; None where there is none, and nothing is to be accepted."""
    return UseNotice.objects.order_by("-version").first()


def text_of(notice: UseNotice) -> str:
    """Return the Markdown of a notice: the stock one in the reader's language, any other as staff wrote it."""
    return _(notice.text) if notice.text == FIRST_NOTICE else notice.text


def notice_to_accept(user: User) -> UseNotice | None:
    """Return the notice that this person has not accepted yet, if there is one."""
    newest = notice_in_force()
    if newest is None or NoticeAcceptance.objects.filter(user=user, notice=newest).exists():
        return None
    return newest


def accept_notice(*, user: User, version: int, now: dt.datetime) -> None:
    """Keep that this person accepts this version. Raises UseNotice.DoesNotExist where there is no such version."""
    notice = UseNotice.objects.get(version=version)
    NoticeAcceptance.objects.get_or_create(user=user, notice=notice, defaults={"accepted_at": now})


def publish_notice(*, text: str, now: dt.datetime) -> UseNotice:
    """Put a new version of the notice in force, which everybody accepts anew."""
    newest = notice_in_force()
    return UseNotice.objects.create(version=newest.version + 1 if newest else 1, text=text, published_at=now)


def ensure_notice(*, now: dt.datetime) -> None:
    """Make the first notice where there is none yet."""
    if notice_in_force() is None:
        publish_notice(text=FIRST_NOTICE, now=now)


# --- What a person may do now ---


@dataclass(frozen=True, slots=True)
class Use:
    """What a person may do at a moment.

    `refusal` says why they may not write, and is empty where they may; `is_over` whether what let them in has ended, so that
    their pages lose their socket and what is being written for them ends. `left` and `left_today` are messages, None for
    any number; `model_ids` are the models they may choose, None for all.
    """

    refusal: str = ""
    is_over: bool = False
    membership: Membership | None = None
    left: int | None = None
    left_today: int | None = None
    model_ids: frozenset[int] | None = None


_EVERYTHING = Use()


def use_of(user: User, *, now: dt.datetime) -> Use:
    """Return what this person may do now. At most three queries; none for a member."""
    if not user.is_active:
        return Use(refusal=_("Your account is not active."), is_over=True)
    if user.is_suspended(now):
        return Use(refusal=_("Your account is suspended."), is_over=True)
    if user.standing == User.Standing.PENDING:
        return Use(refusal=_("Staff have not let you in yet."), is_over=True)
    if user.standing == User.Standing.MEMBER or user.is_staff:
        return _EVERYTHING
    mine = list(
        Membership.objects.filter(user=user).select_related("preview", "user").order_by("-joined_at", "-pk")
    )
    running = [m for m in mine if m.ended_at is None and m.preview.is_running(now)]
    if not running:
        return Use(refusal=_why_over(mine, now=now), is_over=True, membership=mine[0] if mine else None)
    uses = [_use_within(membership, now=now) for membership in running]
    # The first that still has messages, else the one that was joined last.
    return next((use for use in uses if not use.refusal), uses[0])


def may_not_enter(user: User, *, now: dt.datetime) -> bool:
    """Whether this person's pages get no socket: what let them in is over, or they have not accepted the notice yet."""
    return user.pk in kept_out([user], now=now) or notice_to_accept(user) is not None


def kept_out(users: Iterable[User], *, now: dt.datetime) -> set[int]:
    """Return the ids of those of these people for whom `use_of` says that it is over. One query, whatever their number."""
    users = list(users)
    by_preview = {user.pk for user in users if user.standing in {User.Standing.PREVIEW, User.Standing.GUEST}}
    running = set()
    if by_preview:
        running = set(
            Membership.objects.running(now).filter(user__in=by_preview).values_list("user_id", flat=True)
        )
    return {
        user.pk
        for user in users
        if not user.is_active
        or user.is_suspended(now)
        or user.standing == User.Standing.PENDING
        or (user.pk in by_preview - running and not user.is_staff)
    }


def _use_within(membership: Membership, *, now: dt.datetime) -> Use:
    preview = membership.preview
    limit, per_day = membership.limit(), preview.messages_per_day
    is_today = membership.day == timezone.localdate(now)
    left = None if limit is None else max(0, limit - membership.messages_used)
    today = None if per_day is None else max(0, per_day - (membership.messages_today if is_today else 0))
    refusal = ""
    if left == 0:
        refusal = _used_up(membership, limit=limit or 0)
    elif today == 0:
        refusal = ngettext(
            "You have written your %(count)d message of today. Tomorrow there is one more.",
            "You have written your %(count)d messages of today. Tomorrow there are more.",
            per_day or 0,
        ) % {"count": per_day or 0}
    ids = frozenset(preview.chat_models.values_list("pk", flat=True))
    return Use(refusal=refusal, membership=membership, left=left, left_today=today, model_ids=ids or None)


def _used_up(membership: Membership, *, limit: int) -> str:
    if membership.user.standing == User.Standing.GUEST:
        return ngettext(
            "As a guest you can write %(count)d message. To go on, sign up or log in: what you wrote comes along.",
            "As a guest you can write %(count)d messages. To go on, sign up or log in: what you wrote comes along.",
            limit,
        ) % {"count": limit}
    return ngettext(
        "You have written the %(count)d message that this preview gives you.",
        "You have written all %(count)d messages that this preview gives you.",
        limit,
    ) % {"count": limit}


_READ_ON = gettext_lazy("You can still read and export what you wrote.")


def _why_over(memberships: list[Membership], *, now: dt.datetime) -> str:
    if not memberships:
        return _("You have no invitation to this site that is valid now.")
    newest = memberships[0]
    preview = newest.preview
    if newest.ended_at is None and preview.is_enabled and now < preview.starts_at:
        return _("The preview “%(name)s” begins on %(time)s.") % {
            "name": preview.name,
            "time": date_format(timezone.localtime(preview.starts_at), "DATETIME_FORMAT"),
        }
    if newest.ended_at is not None:
        return _("Your part in the preview “%(name)s” has ended.") % {"name": preview.name} + f" {_READ_ON}"
    return _("The preview “%(name)s” has ended.") % {"name": preview.name} + f" {_READ_ON}"


def count_message(user: User, *, now: dt.datetime) -> Use:
    """Count a message that this person is about to send, and return what they may do. Raises UseRefused.

    The counts are conditional updates: of any number of messages at once, in any number of processes, no more get through
    than are left.
    """
    use = use_of(user, now=now)
    if use.refusal:
        raise UseRefused(use.refusal)
    day = quotas.start_of_day(now)
    if use.membership is not None:
        _count_within(use.membership, now=now)
    per_day = settings.CHAT_SENDS_PER_DAY
    if per_day and not quotas.take(f"user:{user.uuid}", limit=per_day, period_start=day):
        raise UseRefused(_("You have written as much as one person may in a day. Go on tomorrow."))
    of_site = settings.SITE_SENDS_PER_DAY
    if of_site and not quotas.take("site", limit=of_site, period_start=day):
        raise UseRefused(_("This site has answered as much as it may in a day. Go on tomorrow."))
    return use


def _count_within(membership: Membership, *, now: dt.datetime) -> None:
    today = timezone.localdate(now)
    mine = Membership.objects.filter(pk=membership.pk)
    mine.filter(~Q(day=today) | Q(day__isnull=True)).update(day=today, messages_today=0)
    room = Q(ended_at__isnull=True)
    limit, per_day = membership.limit(), membership.preview.messages_per_day
    if limit is not None:
        room &= Q(messages_used__lt=limit)
    if per_day is not None:
        room &= Q(messages_today__lt=per_day)
    if not mine.filter(room).update(
        messages_used=F("messages_used") + 1, messages_today=F("messages_today") + 1
    ):
        raise UseRefused(
            use_of(membership.user, now=now).refusal or _("There are no messages left in this preview.")
        )
