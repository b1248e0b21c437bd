"""The people who use this installation."""

import datetime as dt
import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import gettext_lazy as _


class User(AbstractUser):
    """A person with an account. Outside of this database they are known by their uuid only."""

    uuid = models.UUIDField(_("public id"), default=uuid.uuid4, unique=True, editable=False)
    suspended_at = models.DateTimeField(_("suspended at"), null=True, blank=True)
    suspended_until = models.DateTimeField(
        _("suspended until"), null=True, blank=True, help_text=_("Empty: without an end.")
    )

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        constraints = [
            models.CheckConstraint(
                name="user_suspension_has_a_beginning",
                condition=models.Q(suspended_until__isnull=True) | models.Q(suspended_at__isnull=False),
            ),
        ]

    def is_suspended(self, now: dt.datetime) -> bool:
        """Whether staff keep this person out at this time."""
        return self.suspended_at is not None and (self.suspended_until is None or self.suspended_until > now)
