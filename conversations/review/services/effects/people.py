"""Effects of a decision on the reported user."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from django import forms
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from conversations.accounts import mails as account_mails
from conversations.accounts.models import AccountNotice, User
from conversations.common.refusals import Refused
from conversations.review.models import ReviewCase

from .base import DISMISSED, UPHELD, ChosenEffect, Effect
from .fields import text_field

DEFAULT_DAYS = 7
DAYS = [
    ("1", gettext_lazy("1 day")),
    ("7", gettext_lazy("7 days")),
    ("30", gettext_lazy("30 days")),
    ("0", gettext_lazy("Indefinite")),
]


def _check_has_user(case: ReviewCase) -> None:
    if case.subject is None:
        raise Refused(_("The user's account no longer exists, so it can't be warned or suspended."))


@dataclass(frozen=True, slots=True)
class WarnUser(ChosenEffect):
    """Warn the user. The warning stays in the chat until the user acknowledges it."""

    text: str

    outcomes = frozenset({UPHELD})
    fields: ClassVar[Mapping[str, forms.Field]] = {
        "warning": text_field(gettext_lazy("Warning to the user"), required=False, rows=2),
    }
    labels = {"warning": gettext_lazy("Warning")}

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self | None:
        text = given.get("warning", "").strip()
        return cls(text) if text else None

    @classmethod
    def is_offered(cls, case: ReviewCase, *, staff: User) -> bool:
        return case.subject is not None

    def check(self, case: ReviewCase, *, staff: User) -> None:
        _check_has_user(case)

    def preview(self, case: ReviewCase) -> str:
        return _("The user will get the warning by email, and see it in the chat until they acknowledge it.")

    def apply(self, case: ReviewCase, *, staff: User, now: dt.datetime) -> None:
        user = case.subject
        if user is None:
            return
        kind = AccountNotice.Kind.WARNING
        case.notices.create(user=user, kind=kind, text=self.text, created_at=now)
        account_mails.notify_of_notice(user, text=self.text, kind=kind)

    def log(self) -> dict[str, object]:
        return {"warning": self.text}


@dataclass(frozen=True, slots=True)
class SuspendUser(ChosenEffect):
    """Suspend the user for a number of days, or indefinitely if None, and close their sockets within seconds.

    An existing suspension that ends later isn't shortened.
    """

    days: int | None
    text: str

    outcomes = frozenset({UPHELD})
    permission = "suspend_user"
    switch = "suspends"
    fields: ClassVar[Mapping[str, forms.Field]] = {
        "suspends": forms.BooleanField(label=gettext_lazy("Suspend the user"), required=False),
        "suspension_days": forms.TypedChoiceField(
            label=gettext_lazy("Duration"),
            required=False,
            choices=DAYS,
            coerce=int,
            empty_value=str(DEFAULT_DAYS),
            initial=str(DEFAULT_DAYS),
        ),
        "suspension_text": text_field(
            gettext_lazy("Message to the user about the suspension"), required=False, rows=2
        ),
    }
    labels = {
        "suspended": gettext_lazy("User suspended"),
        "suspension_days": gettext_lazy("Days"),
        "suspension_text": gettext_lazy("Message about the suspension"),
    }

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self | None:
        if not given.get("suspends"):
            return None
        days = int(given.get("suspension_days", DEFAULT_DAYS))
        return cls(days or None, given.get("suspension_text", "").strip())

    @classmethod
    def is_offered(cls, case: ReviewCase, *, staff: User) -> bool:
        return case.subject is not None and super(SuspendUser, cls).is_offered(case, staff=staff)

    def check(self, case: ReviewCase, *, staff: User) -> None:
        _check_has_user(case)
        if not self.text:
            raise Refused(_("Tell the user why they are being suspended."))
        if case.subject == staff:
            raise Refused(_("You can't suspend yourself."))
        if case.subject is not None and case.subject.is_superuser:
            raise Refused(_("Administrators can't be suspended here."))

    def preview(self, case: ReviewCase) -> str:
        if self.days is None:
            return _("The user will be suspended indefinitely. Their open pages close within 5 seconds.")
        return ngettext(
            "The user will be suspended for %(days)d day. Their open pages close within 5 seconds.",
            "The user will be suspended for %(days)d days. Their open pages close within 5 seconds.",
            self.days,
        ) % {"days": self.days}

    def apply(self, case: ReviewCase, *, staff: User, now: dt.datetime) -> None:
        user = case.subject
        if user is None:
            return
        ends_at = None if self.days is None else now + dt.timedelta(days=self.days)
        until = ends_at
        if user.is_suspended(now) and (
            user.suspended_until is None or (until is not None and until < user.suspended_until)
        ):
            until = user.suspended_until
        user.suspended_at, user.suspended_until = now, until
        user.save(update_fields=["suspended_at", "suspended_until"])
        kind = AccountNotice.Kind.SUSPENSION
        case.notices.create(user=user, kind=kind, text=self.text, created_at=now, ends_at=ends_at)
        account_mails.notify_of_notice(user, text=self.text, kind=kind, ends_at=until)

    def log(self) -> dict[str, object]:
        return {"suspended": True, "suspension_days": self.days, "suspension_text": self.text}


class LiftNotices(Effect):
    """Withdraw the warnings and suspensions from this case. Other cases may keep the user suspended."""

    outcomes = frozenset({DISMISSED})

    def preview(self, case: ReviewCase) -> str:
        if not case.notices.in_force().exists():
            return ""
        return _("The warning or suspension from this case will be withdrawn.")

    def apply(self, case: ReviewCase, *, staff: User, now: dt.datetime) -> None:
        lifted = case.notices.in_force().update(lifted_at=now)
        user = case.subject
        if not lifted or user is None:
            return
        others = user.notices.in_force().filter(
            Q(ends_at__isnull=True) | Q(ends_at__gt=now), kind=AccountNotice.Kind.SUSPENSION
        )
        ends = list(others.values_list("ends_at", flat=True))
        if not ends:
            user.suspended_at = user.suspended_until = None
        else:
            user.suspended_until = None if None in ends else max(end for end in ends if end is not None)
        user.save(update_fields=["suspended_at", "suspended_until"])
