"""The evaluation set and the reruns of reported prompts."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from conversations.review.models.categories import Category


class EvaluationItem(models.Model):
    """A prompt with an answer that staff judged, for testing other models and settings."""

    uuid = models.UUIDField(_("public ID"), default=uuid.uuid4, unique=True, editable=False)
    case = models.ForeignKey(
        "review.ReviewCase", models.PROTECT, related_name="evaluation_items", verbose_name=_("review case")
    )
    category = models.CharField(_("category"), max_length=16, choices=Category)
    messages = models.JSONField(_("messages"), help_text=_("The prompt, as a list of roles and texts."))
    reasoning = models.TextField(
        _("reasoning"), blank=True, help_text=_("The model's reasoning before that answer.")
    )
    answer = models.TextField(_("answer"), blank=True)
    vetted_answer = models.TextField(_("vetted text"), blank=True)
    note = models.TextField(_("note"), blank=True)
    added_by = models.ForeignKey(
        "accounts.User", models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("added by")
    )
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("evaluation item")
        verbose_name_plural = _("evaluation set")

    def __str__(self) -> str:
        return str(self.uuid)


class Rerun(models.Model):
    """A new answer to a reported prompt, in a separate conversation that is not shown in the chat.

    The conversation belongs to the staff member who requested it, and the usage counts as theirs.
    """

    uuid = models.UUIDField(_("public ID"), default=uuid.uuid4, unique=True, editable=False)
    case = models.ForeignKey(
        "review.ReviewCase", models.PROTECT, related_name="reruns", verbose_name=_("review case")
    )
    conversation = models.OneToOneField(
        "chat.Conversation", models.CASCADE, related_name="rerun", verbose_name=_("conversation")
    )
    requested_by = models.ForeignKey(
        "accounts.User",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("requested by"),
    )
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("rerun")
        verbose_name_plural = _("reruns")

    def __str__(self) -> str:
        return str(self.uuid)
