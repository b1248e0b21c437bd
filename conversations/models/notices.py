"""What staff tell users about their accounts."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .reports import ReviewCase
from .users import User


class AccountNotice(models.Model):
    """What staff tell a user about their account, until the user has acknowledged it."""

    class Kind(models.TextChoices):
        WARNING = "warning", _("warning")
        SUSPENSION = "suspension", _("suspension")

    uuid = models.UUIDField(_("public id"), default=uuid.uuid4, unique=True, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="notices", verbose_name=_("user"))
    case = models.ForeignKey(
        ReviewCase,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="notices",
        verbose_name=_("review case"),
    )
    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
    text = models.TextField(_("text"))
    created_at = models.DateTimeField(_("created at"))
    ends_at = models.DateTimeField(_("ends at"), null=True, blank=True)
    acknowledged_at = models.DateTimeField(_("acknowledged at"), null=True, blank=True)
    lifted_at = models.DateTimeField(_("lifted at"), null=True, blank=True)

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
