"""Generations, which are the upstream calls that write answers, and their journal."""

import uuid
from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .conversations import Conversation, Message, PartKind


class ErrorCode(models.TextChoices):
    """The reasons why a generation failed.

    Users read the label, which says what happened. If pressing the button below the answer is all they can do about
    it, the label leaves that to the button, which is named Continue or Try again.
    """

    UNREACHABLE = "unreachable", _("The model service can't be reached.")
    TIMEOUT = "timeout", _("The model took too long to answer.")
    UNAUTHORIZED = (
        "unauthorized",
        _("The model service rejected this site's API key. Contact the administrator."),
    )
    NOT_FOUND = (
        "not_found",
        _("The model service doesn't recognise this model. Choose another, or contact the administrator."),
    )
    BAD_REQUEST = "bad_request", _("The model service rejected the request. Contact the administrator.")
    CONTEXT_LENGTH = "context_length", _("The conversation is too long for this model. Start a new chat.")
    CONTENT_FILTER = (
        "content_filter",
        _("The model service declined to answer. Try rephrasing your message."),
    )
    RATE_LIMITED = "rate_limited", _("The model service is busy.")
    QUOTA = (
        "quota",
        _("This site has used up its quota with the model service. Contact the administrator."),
    )
    SERVER_ERROR = "server_error", _("The model service returned an error.")
    PROTOCOL = (
        "protocol",
        _("The model service sent an invalid response. Contact the administrator."),
    )
    TOO_LARGE = "too_large", _("The answer exceeded this site's size limit.")
    INTERRUPTED = "interrupted", _("The answer was cut off before it was complete.")
    OVERLOADED = (
        "overloaded",
        _("The model service keeps failing, so requests to it are paused for a few seconds."),
    )
    TOOL_CALL = (
        "tool_call",
        _(
            "The model asked for a tool that this site doesn't offer. Rephrase your message, or choose another model."
        ),
    )
    NO_MODEL = (
        "no_model",
        _("The demo model couldn't be started. Contact the administrator."),
    )
    INTERNAL = "internal", _("Something went wrong on this site.")


class GenerationQuerySet(models.QuerySet["Generation"]):
    """Queries for generations."""

    def active(self) -> Self:
        """Return the generations that are queued or running."""
        return self.filter(status__in=Generation.ACTIVE)

    def visible_to(self, user: Any) -> Self:
        """Return the generations in conversations that this user may read."""
        return self.filter(conversation__in=Conversation.objects.visible_to(user))


class Generation(models.Model):
    """One upstream call that writes an assistant message, from the queue to its end."""

    class Status(models.TextChoices):
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        COMPLETE = "complete", _("complete")
        STOPPED = "stopped", _("stopped")
        INTERRUPTED = "interrupted", _("interrupted")
        FAILED = "failed", _("failed")

    ACTIVE = (Status.QUEUED, Status.RUNNING)

    uuid = models.UUIDField(_("public ID"), default=uuid.uuid4, unique=True, editable=False)
    conversation = models.ForeignKey(
        Conversation, models.CASCADE, related_name="generations", verbose_name=_("conversation")
    )
    message = models.ForeignKey(
        Message, models.CASCADE, related_name="generations", verbose_name=_("message")
    )
    model = models.ForeignKey(
        "catalogue.ChatModel", models.PROTECT, related_name="+", verbose_name=_("model")
    )
    client_id = models.UUIDField(_("client ID"))
    max_tokens = models.PositiveIntegerField(
        _("maximum output tokens"), help_text=_("The requested limit on the answer's length, in tokens.")
    )
    parameters = models.JSONField(_("parameters"), default=dict, blank=True)
    offset = models.PositiveIntegerField(
        _("offset"),
        default=0,
        help_text=_("The position in the message's text at which this generation starts, in characters."),
    )

    status = models.CharField(_("status"), max_length=16, choices=Status, default=Status.QUEUED)
    finish_reason = models.CharField(_("finish reason"), max_length=32, blank=True)
    error_code = models.CharField(_("error"), max_length=32, choices=ErrorCode, blank=True)
    retry_at = models.DateTimeField(_("retry at"), null=True, blank=True)
    trimmed_messages = models.PositiveIntegerField(
        _("trimmed messages"),
        default=0,
        help_text=_("The number of older messages that didn't fit in the context window and weren't sent."),
    )
    prompt_tokens = models.PositiveIntegerField(_("prompt tokens"), null=True, blank=True)
    completion_tokens = models.PositiveIntegerField(_("completion tokens"), null=True, blank=True)
    reasoning_tokens = models.PositiveIntegerField(
        _("reasoning tokens"),
        null=True,
        blank=True,
        help_text=_("The completion tokens that were used for reasoning."),
    )
    usage_is_estimated = models.BooleanField(_("usage is estimated"), default=False)

    runner = models.CharField(_("runner"), max_length=64, blank=True)
    created_at = models.DateTimeField(_("created at"))
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    first_token_at = models.DateTimeField(_("first token at"), null=True, blank=True)
    heartbeat_at = models.DateTimeField(_("heartbeat at"), null=True, blank=True)
    stop_requested_at = models.DateTimeField(_("stop requested at"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)

    objects = GenerationQuerySet.as_manager()

    class Meta:
        verbose_name = _("generation")
        verbose_name_plural = _("generations")
        indexes = [
            models.Index(fields=["created_at"], condition=Q(status="queued"), name="generation_queue"),
            models.Index(fields=["heartbeat_at"], condition=Q(status="running"), name="generation_heartbeat"),
        ]
        constraints = [
            models.CheckConstraint(
                name="generation_status",
                condition=Q(status__in=["queued", "running", "complete", "stopped", "interrupted", "failed"]),
            ),
            models.CheckConstraint(
                name="generation_ended_exactly_when_over",
                condition=Q(status__in=["queued", "running"], ended_at__isnull=True)
                | (~Q(status__in=["queued", "running"]) & Q(ended_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="generation_running_has_a_runner",
                condition=~Q(status="running")
                | (~Q(runner="") & Q(started_at__isnull=False, heartbeat_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="generation_failed_has_an_error", condition=~Q(status="failed") | ~Q(error_code="")
            ),
            models.UniqueConstraint(
                name="generation_one_active_per_conversation",
                fields=["conversation"],
                condition=Q(status__in=["queued", "running"]),
            ),
            models.UniqueConstraint(name="generation_asked_for_once", fields=["conversation", "client_id"]),
        ]

    def __str__(self) -> str:
        return str(self.uuid)

    @property
    def is_active(self) -> bool:
        return self.status in self.ACTIVE


class GenerationChunk(models.Model):
    """A journal entry with the text of one part between two commits. It is deleted when its generation ends."""

    generation = models.ForeignKey(
        Generation, models.CASCADE, related_name="chunks", verbose_name=_("generation")
    )
    part = models.PositiveIntegerField(
        _("part"), default=0, help_text=_("The part's position among the parts of the message.")
    )
    kind = models.CharField(_("kind"), max_length=16, choices=PartKind, default=PartKind.TEXT)
    offset = models.PositiveIntegerField(
        _("offset"), help_text=_("The number of characters of the same kind before it in the message.")
    )
    text = models.TextField(_("text"))
    reasoning_ms = models.PositiveIntegerField(
        _("reasoning time (ms)"),
        default=0,
        help_text=_("The total reasoning time in this message so far."),
    )

    class Meta:
        verbose_name = _("generation chunk")
        verbose_name_plural = _("generation chunks")
        constraints = [
            models.UniqueConstraint(
                name="generationchunk_no_overlap", fields=["generation", "part", "offset"]
            ),
            models.CheckConstraint(name="generationchunk_kind", condition=Q(kind__in=["text", "reasoning"])),
        ]

    def __str__(self) -> str:
        return f"{self.generation_id}@{self.offset}"
