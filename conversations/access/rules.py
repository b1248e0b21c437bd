"""Decide what a person may do now. Pure functions that work on data already read from the database."""

import dataclasses
import datetime as dt
import enum
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop, ngettext

from conversations.access.models import Membership, Preview, TermsVersion
from conversations.accounts.models import User
from conversations.limits import rules as limits


class Reason(enum.Enum):
    """Why a person may not write."""

    INACTIVE = "inactive"
    SUSPENDED = "suspended"
    PENDING = "pending"
    UNINVITED = "uninvited"
    NOT_BEGUN = "preview not begun"
    REMOVED = "removed from the preview"
    ENDED = "preview ended"
    TERMS = "terms not accepted"
    USED_UP = "used up"
    USED_UP_TODAY = "used up today"


_OVER = frozenset(
    {
        Reason.INACTIVE,
        Reason.SUSPENDED,
        Reason.PENDING,
        Reason.UNINVITED,
        Reason.NOT_BEGUN,
        Reason.REMOVED,
        Reason.ENDED,
    }
)
_WORDS = {
    Reason.INACTIVE: gettext_lazy("Your account is not active."),
    Reason.SUSPENDED: gettext_lazy("Your account is suspended."),
    Reason.PENDING: gettext_lazy("Your account is awaiting approval."),
    Reason.UNINVITED: gettext_lazy("You don't have a valid invitation."),
    Reason.TERMS: gettext_lazy(
        "You haven't accepted the current terms of use. Reload the page to read and accept them."
    ),
}
_READ_ON = gettext_lazy("You can still read and export your conversations.")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person may do at a given time.

    `refusal` says why they may not write, and is empty if they may. `terms` are the terms they have not accepted yet.
    `memberships` holds every membership that was considered, the one in use first. `left` and `left_today` count messages;
    None means no limit.
    """

    reason: Reason | None = None
    refusal: str = ""
    terms: TermsVersion | None = None
    memberships: tuple[Membership, ...] = ()
    left: int | None = None
    left_today: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether they have no access now. If so, their sockets close and their running generations end."""
        return self.reason in _OVER

    @property
    def is_blocked(self) -> bool:
        """Whether they get no socket and no more text, not even the rest of a running answer."""
        return self.is_over or self.reason is Reason.TERMS

    @property
    def says_left_today(self) -> bool:
        """Whether what is left today is worth mentioning, because it is less than what is left in total."""
        return self.left_today is not None and (self.left is None or self.left_today < self.left)

    @property
    def membership(self) -> Membership | None:
        """The membership in use, or the latest one if none is running."""
        return self.memberships[0] if self.memberships else None


def verdict(
    user: User, memberships: Iterable[Membership], terms: TermsVersion | None, now: dt.datetime
) -> Verdict:
    """Return what this person may do now.

    `memberships` are all their memberships, in any order, with the previews loaded. They matter only if `needs_membership`.
    `terms` are the current terms if the person has not accepted them, else None.
    """
    found = _verdict_on_account(user, now) or _verdict_on_memberships(user, memberships, now)
    if terms is None:
        return found
    if not found.is_over:
        found = dataclasses.replace(found, reason=Reason.TERMS, refusal=words(Reason.TERMS))
    return dataclasses.replace(found, terms=terms)


def words(reason: Reason) -> str:
    """Return the text for a reason that needs no numbers or names."""
    return str(_WORDS[reason])


def needs_membership(user: User) -> bool:
    """Whether this person may use the site only as a member of a preview."""
    return user.account_type in {User.AccountType.PREVIEW, User.AccountType.GUEST} and not user.is_staff


def message_limit(user: User, preview: Preview) -> int | None:
    """Return how many messages this person may write in a preview, or None for no limit."""
    return preview.guest_messages if user.account_type == User.AccountType.GUEST else preview.messages_total


def _verdict_on_account(user: User, now: dt.datetime) -> Verdict | None:
    if not user.is_active:
        reason = Reason.INACTIVE
    elif user.is_suspended(now):
        reason = Reason.SUSPENDED
    elif user.account_type == User.AccountType.PENDING:
        reason = Reason.PENDING
    else:
        return None
    return Verdict(reason, words(reason))


def _verdict_on_memberships(user: User, memberships: Iterable[Membership], now: dt.datetime) -> Verdict:
    if not needs_membership(user):
        return Verdict()
    newest_first = sorted(memberships, key=lambda found: (found.joined_at, found.pk or 0), reverse=True)
    if not newest_first:
        return Verdict(Reason.UNINVITED, words(Reason.UNINVITED))
    running = [m for m in newest_first if m.ended_at is None and m.preview.is_running(now)]
    if not running:
        return _verdict_on_end(newest_first, now)
    verdicts = [_verdict_within(user, membership, now) for membership in running]
    # Prefer the first membership with messages left, else the one joined last.
    chosen = next((found for found in verdicts if found.reason is None), verdicts[0])
    others = tuple(m for m in running if m is not chosen.membership)
    return dataclasses.replace(chosen, memberships=chosen.memberships + others)


def _verdict_on_end(newest_first: list[Membership], now: dt.datetime) -> Verdict:
    newest = newest_first[0]
    preview = newest.preview
    if newest.ended_at is not None:
        reason = Reason.REMOVED
        text = _("Your access to the preview “%(name)s” has ended.") % {"name": preview.name} + f" {_READ_ON}"
    elif preview.is_enabled and now < preview.starts_at:
        reason = Reason.NOT_BEGUN
        text = _("The preview “%(name)s” starts on %(time)s.") % {
            "name": preview.name,
            "time": date_format(timezone.localtime(preview.starts_at), "DATETIME_FORMAT"),
        }
    else:
        reason = Reason.ENDED
        text = _("The preview “%(name)s” has ended.") % {"name": preview.name} + f" {_READ_ON}"
    return Verdict(reason, text, memberships=tuple(newest_first))


def _verdict_within(user: User, membership: Membership, now: dt.datetime) -> Verdict:
    preview = membership.preview
    limit, per_day = message_limit(user, preview), preview.messages_per_day
    is_today = membership.day == limits.day_of(now)
    left = None if limit is None else max(0, limit - membership.messages_used)
    today = None if per_day is None else max(0, per_day - (membership.messages_today if is_today else 0))
    reason, text = None, ""
    if left == 0:
        reason, text = Reason.USED_UP, _used_up(user, limit or 0)
    elif today == 0:
        reason, text = Reason.USED_UP_TODAY, _used_up_today(per_day or 0, preview, now)
    return Verdict(reason, text, memberships=(membership,), left=left, left_today=today)


def _used_up(user: User, limit: int) -> str:
    if user.account_type == User.AccountType.GUEST:
        return ngettext(
            "You've used your %(count)d guest message.",
            "You've used your %(count)d guest messages.",
            limit,
        ) % {"count": limit}
    return ngettext(
        "You've used your %(count)d message in this preview.",
        "You've used all %(count)d messages in this preview.",
        limit,
    ) % {"count": limit}


def _used_up_today(per_day: int, preview: Preview, now: dt.datetime) -> str:
    text = ngettext(
        "You've used your %(count)d message for today.",
        "You've used all %(count)d messages for today.",
        per_day,
    ) % {"count": per_day}
    return say_reset(text, preview=preview, now=now)


def say_reset(text: str, *, preview: Preview | None, now: dt.datetime) -> str:
    """Return the text about a daily limit, and add when it resets unless the person's preview ends before that."""
    resets_at = limits.end_of_day(now)
    if preview is not None and preview.ends_at <= resets_at:
        return text
    time = date_format(timezone.localtime(resets_at), "TIME_FORMAT")
    return text + " " + _("The limit resets at %(time)s.") % {"time": time}


DEFAULT_TERMS = gettext_noop(
    """\
- Answers come from a language model. They can be wrong, out of date or biased. Check anything important.
- Do not enter secrets or other people's personal data.
- Your conversations are stored here so that you can return to them. Staff can see an answer if someone reports it. \
To read a whole conversation, they must state a reason, which is logged."""
)
