"""The blocklist that decisions add to, and the reply presets that reviewers use."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .reports import ReviewCase

BLOCKLIST_TEXT_LENGTH = 200


class BlocklistEntry(models.Model):
    """A phrase that reviewers want to keep out of prompts and answers."""

    uuid = models.UUIDField(_("public ID"), default=uuid.uuid4, unique=True, editable=False)
    text = models.CharField(_("phrase"), max_length=BLOCKLIST_TEXT_LENGTH)
    note = models.CharField(_("note"), max_length=300, blank=True)
    case = models.ForeignKey(
        ReviewCase, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("review case")
    )
    added_by = models.ForeignKey(
        "accounts.User", models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("added by")
    )
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("blocklist entry")
        verbose_name_plural = _("blocklist")
        constraints = [models.UniqueConstraint(name="blocklistentry_once", fields=["text"])]

    def __str__(self) -> str:
        return self.text


class ReplyPreset(models.Model):
    """A prewritten reply to reporters."""

    class Outcome(models.TextChoices):
        ANY = "", _("any")
        UPHELD = "upheld", _("upheld")
        DISMISSED = "dismissed", _("dismissed")

    title = models.CharField(_("title"), max_length=80)
    outcome = models.CharField(_("for the outcome"), max_length=16, choices=Outcome, blank=True)
    text = models.TextField(_("text"), max_length=2_000)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    is_enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        verbose_name = _("reply preset")
        verbose_name_plural = _("reply presets")
        ordering = ["position", "title"]
        constraints = [
            models.CheckConstraint(
                name="replypreset_outcome", condition=Q(outcome__in=["", "upheld", "dismissed"])
            ),
        ]

    def __str__(self) -> str:
        return self.title
