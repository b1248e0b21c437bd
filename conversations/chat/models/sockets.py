"""The open pages of users."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class SocketLease(models.Model):
    """An open page of a user, with the process it is connected to and when that process last renewed it."""

    user = models.ForeignKey(
        "accounts.User", models.CASCADE, related_name="socket_leases", verbose_name=_("user")
    )
    process = models.CharField(_("process"), max_length=64, db_index=True)
    seen_at = models.DateTimeField(_("seen at"))

    class Meta:
        verbose_name = _("open page")
        verbose_name_plural = _("open pages")

    def __str__(self) -> str:
        return f"{self.user_id}@{self.process}"
