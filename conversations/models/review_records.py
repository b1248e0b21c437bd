"""What decisions leave behind for later work, and what reviewers work with."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .conversations import Conversation
from .reports import Category, ReviewCase
from .users import User

BLOCKLIST_TEXT_LENGTH = 200


class BlocklistEntry(models.Model):
    """A wording that reviewers want kept out of prompts and answers."""

    uuid = models.UUIDField(_("public id"), default=uuid.uuid4, unique=True, editable=False)
    text = models.CharField(_("wording"), max_length=BLOCKLIST_TEXT_LENGTH)
    note = models.CharField(_("note"), max_length=300, blank=True)
    case = models.ForeignKey(
        ReviewCase, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("review case")
    )
    added_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("added by")
    )
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("blocklist entry")
        verbose_name_plural = _("blocklist")
        constraints = [models.UniqueConstraint(name="blocklistentry_once", fields=["text"])]

    def __str__(self) -> str:
        return self.text


class EvaluationItem(models.Model):
    """A prompt with an answer that was judged, to try other models and settings with."""

    uuid = models.UUIDField(_("public id"), default=uuid.uuid4, unique=True, editable=False)
    case = models.ForeignKey(
        ReviewCase, models.PROTECT, related_name="evaluation_items", verbose_name=_("review case")
    )
    category = models.CharField(_("category"), max_length=16, choices=Category)
    turns = models.JSONField(_("turns"), help_text=_("The prompt: a list of role and text."))
    answer = models.TextField(_("answer"), blank=True)
    vetted_answer = models.TextField(_("vetted answer"), blank=True)
    note = models.TextField(_("note"), blank=True)
    added_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("added by")
    )
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("evaluation item")
        verbose_name_plural = _("evaluation set")

    def __str__(self) -> str:
        return str(self.uuid)


class ReplyPreset(models.Model):
    """A reply to reporters that staff wrote beforehand."""

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


class Rerun(models.Model):
    """A reported prompt, answered once more for staff in a conversation of its own that nobody sees in the chat.

    The conversation belongs to the member of staff, to whom its generation is accounted.
    """

    uuid = models.UUIDField(_("public id"), default=uuid.uuid4, unique=True, editable=False)
    case = models.ForeignKey(ReviewCase, models.PROTECT, related_name="reruns", verbose_name=_("review case"))
    conversation = models.OneToOneField(
        Conversation, models.CASCADE, related_name="rerun", verbose_name=_("conversation")
    )
    requested_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("requested by")
    )
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("rerun")
        verbose_name_plural = _("reruns")

    def __str__(self) -> str:
        return str(self.uuid)
