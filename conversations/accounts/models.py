"""Models for users and the notices that staff send them."""

import datetime as dt
import uuid
from typing import Self

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


class User(AbstractUser):
    """A person with an account, or a guest without one. Providers see only an HMAC of the uuid."""

    class AccountType(models.TextChoices):
        MEMBER = "member", _("Member: can use the site")
        PREVIEW = "preview", _("Preview: can use the site during a preview")
        PENDING = "pending", _("Pending: awaiting approval")
        GUEST = "guest", _("Guest: has no account")

    uuid = models.UUIDField(_("public ID"), default=uuid.uuid4, unique=True, editable=False)
    account_type = models.CharField(
        _("account type"), max_length=16, choices=AccountType, default=AccountType.MEMBER
    )
    suspended_at = models.DateTimeField(_("suspended at"), null=True, blank=True)
    suspended_until = models.DateTimeField(
        _("suspended until"), null=True, blank=True, help_text=_("If empty, the suspension has no end date.")
    )

    time_zone = models.CharField(
        _("time zone"),
        max_length=64,
        blank=True,
        help_text=_("Taken from the browser at first. If empty, the site's time zone applies."),
    )

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        permissions = [
            ("trace_pseudonymous_id", _("Can look up the user behind a pseudonymous ID")),
            ("approve_user", _("Can approve pending users")),
        ]
        constraints = [
            models.CheckConstraint(
                name="user_account_type",
                condition=models.Q(account_type__in=["member", "preview", "pending", "guest"]),
            ),
            models.CheckConstraint(
                name="user_suspension_has_a_beginning",
                condition=models.Q(suspended_until__isnull=True) | models.Q(suspended_at__isnull=False),
            ),
        ]

    @property
    def display_name(self) -> str:
        """Return the name under which the site addresses the person. The username of a guest is only for staff."""
        return gettext("Guest") if self.account_type == self.AccountType.GUEST else self.username

    def is_suspended(self, now: dt.datetime) -> bool:
        """Whether the user is suspended at this time."""
        return self.suspended_at is not None and (self.suspended_until is None or self.suspended_until > now)


class AccountNoticeQuerySet(models.QuerySet["AccountNotice"]):
    """Queries for notices."""

    def in_force(self) -> Self:
        """Return the notices that staff have not lifted."""
        return self.filter(lifted_at__isnull=True)

    def warnings_to_show(self) -> Self:
        """Return the warnings that the user has not acknowledged yet."""
        return self.in_force().filter(kind=AccountNotice.Kind.WARNING, acknowledged_at__isnull=True)


class AccountNotice(models.Model):
    """A warning or suspension notice from staff to a user, shown until the user acknowledges it."""

    class Kind(models.TextChoices):
        WARNING = "warning", _("warning")
        SUSPENSION = "suspension", _("suspension")

    uuid = models.UUIDField(_("public ID"), default=uuid.uuid4, unique=True, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="notices", verbose_name=_("user"))
    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
    text = models.TextField(_("text"))
    created_at = models.DateTimeField(_("created at"))
    ends_at = models.DateTimeField(_("ends at"), null=True, blank=True)
    acknowledged_at = models.DateTimeField(_("acknowledged at"), null=True, blank=True)
    lifted_at = models.DateTimeField(_("lifted at"), null=True, blank=True)

    objects = AccountNoticeQuerySet.as_manager()

    class Meta:
        verbose_name = _("account notice")
        verbose_name_plural = _("account notices")
        constraints = [
            models.CheckConstraint(
                name="accountnotice_kind", condition=Q(kind__in=["warning", "suspension"])
            ),
        ]

    def __str__(self) -> str:
        return str(self.uuid)
