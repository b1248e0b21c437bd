"""The people who use this installation."""

import datetime as dt
import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import gettext_lazy as _


class User(AbstractUser):
    """A person with an account, or a guest without one. Outside of this database they are known by an HMAC of their uuid."""

    class Standing(models.TextChoices):
        MEMBER = "member", _("member: may use the site")
        PREVIEW = "preview", _("preview: may use it within previews")
        PENDING = "pending", _("pending: waits for staff's approval")
        GUEST = "guest", _("guest: has no account")

    uuid = models.UUIDField(_("public id"), default=uuid.uuid4, unique=True, editable=False)
    standing = models.CharField(_("standing"), max_length=16, choices=Standing, default=Standing.MEMBER)
    suspended_at = models.DateTimeField(_("suspended at"), null=True, blank=True)
    suspended_until = models.DateTimeField(
        _("suspended until"), null=True, blank=True, help_text=_("Empty: without an end.")
    )

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        permissions = [
            ("trace_end_user", _("Can find the user behind an end-user id")),
            ("approve_user", _("Can let in users who wait for approval")),
        ]
        constraints = [
            models.CheckConstraint(
                name="user_standing",
                condition=models.Q(standing__in=["member", "preview", "pending", "guest"]),
            ),
            models.CheckConstraint(
                name="user_suspension_has_a_beginning",
                condition=models.Q(suspended_until__isnull=True) | models.Q(suspended_at__isnull=False),
            ),
        ]

    def is_suspended(self, now: dt.datetime) -> bool:
        """Whether staff keep this person out at this time."""
        return self.suspended_at is not None and (self.suspended_until is None or self.suspended_until > now)
