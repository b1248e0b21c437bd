"""The counters behind rate and usage limits."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class UsageCounter(models.Model):
    """How often something was done in a period. Conditional updates keep the count exact across processes."""

    key = models.CharField(
        _("key"),
        max_length=80,
        help_text=_("What is counted, and for whom. Addresses are stored only as hashes."),
    )
    period_start = models.DateTimeField(_("period start"))
    count = models.PositiveIntegerField(_("count"), default=0)

    class Meta:
        verbose_name = _("usage counter")
        verbose_name_plural = _("usage counters")
        constraints = [
            models.UniqueConstraint(name="usagecounter_one_a_period", fields=["key", "period_start"])
        ]

    def __str__(self) -> str:
        return self.key
