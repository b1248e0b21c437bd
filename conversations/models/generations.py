"""The catalogue of models, and the upstream calls that make answers."""

import uuid
from typing import Any, Self

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .conversations import Conversation, Message

# What a catalogue entry may set, with the smallest and largest value where it is a number. The ranges are those of
# OpenAI's reference of POST /chat/completions; repeat_penalty is llama.cpp's own.
_NUMBERS: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "repeat_penalty": (0.5, 2),
}
_MAX_STOPS = 4
_REASONING_EFFORTS = {"none", "minimal", "low", "medium", "high", "xhigh"}


def validate_parameters(value: object) -> None:
    """Check the sampling parameters of a catalogue entry.

    Raises ValidationError for an unknown name, a value out of its range, or temperature together with top_p (OpenAI's
    reference recommends altering one of them, not both).
    """
    if not isinstance(value, dict):
        raise ValidationError(_("Parameters are a JSON object."))
    for name, given in value.items():
        if name in _NUMBERS:
            low, high = _NUMBERS[name]
            if isinstance(given, bool) or not isinstance(given, int | float) or not low <= given <= high:
                raise ValidationError(
                    _("%(name)s is a number from %(low)s to %(high)s."),
                    params={"name": name, "low": low, "high": high},
                )
        elif name == "return_progress":
            if not isinstance(given, bool):
                raise ValidationError(_("return_progress is true or false."))
        elif name == "seed":
            if isinstance(given, bool) or not isinstance(given, int):
                raise ValidationError(_("seed is a whole number."))
        elif name == "stop":
            if (
                not isinstance(given, list)
                or not 1 <= len(given) <= _MAX_STOPS
                or not all(isinstance(stop, str) and stop for stop in given)
            ):
                raise ValidationError(_("stop is a list of one to four texts."))
        elif name == "reasoning_effort":
            if given not in _REASONING_EFFORTS:
                raise ValidationError(
                    _("reasoning_effort is one of none, minimal, low, medium, high and xhigh.")
                )
        else:
            raise ValidationError(_("Unknown parameter: %(name)s."), params={"name": name})
    if "temperature" in value and "top_p" in value:
        raise ValidationError(_("Set temperature or top_p, not both."))


class ChatModelQuerySet(models.QuerySet["ChatModel"]):
    """The look-ups of the catalogue."""

    def offered(self, *, providers: set[str]) -> Self:
        """Return the models that people may choose, given the providers that are set up here; the default first."""
        return self.filter(enabled=True, provider__in=providers).order_by("-is_default", "label", "pk")


class ChatModel(models.Model):
    """An entry of the catalogue: a model that people may choose, and within which limits."""

    class Provider(models.TextChoices):
        OPENAI = "openai", _("the service at OPENAI_BASE_URL")
        EMBEDDED = "embedded", _("the demo model on this machine")

    class MaxTokensParameter(models.TextChoices):
        MAX_TOKENS = "max_tokens", "max_tokens"
        MAX_COMPLETION_TOKENS = "max_completion_tokens", "max_completion_tokens"

    slug = models.SlugField(_("slug"), max_length=100, unique=True)
    label = models.CharField(_("label"), max_length=100, help_text=_("The name that people see."))
    note = models.CharField(
        _("note"), max_length=300, blank=True, help_text=_("One sentence that the page shows.")
    )
    provider = models.CharField(_("provider"), max_length=16, choices=Provider)
    upstream_name = models.CharField(
        _("upstream name"), max_length=200, help_text=_("The name that is sent.")
    )
    context_window = models.PositiveIntegerField(
        _("context window"),
        validators=[MinValueValidator(256)],
        help_text=_("In tokens, prompt and answer together."),
    )
    max_output_tokens = models.PositiveIntegerField(
        _("max. output tokens"),
        validators=[MinValueValidator(1)],
        help_text=_("The longest answer, in tokens."),
    )
    max_tokens_parameter = models.CharField(
        _("max. tokens parameter"),
        max_length=32,
        choices=MaxTokensParameter,
        default=MaxTokensParameter.MAX_TOKENS,
        help_text=_("OpenAI's reasoning models know max_completion_tokens only."),
    )
    parameters = models.JSONField(_("parameters"), default=dict, blank=True, validators=[validate_parameters])
    supports_prefill = models.BooleanField(
        _("supports prefill"),
        default=False,
        help_text=_("Whether an assistant message at the end of the prompt is continued."),
    )
    sends_end_user_id = models.BooleanField(
        _("sends an id of the user"),
        default=True,
        help_text=_(
            "As safety_identifier and user: an HMAC, no name. Off for a service that refuses fields it does not know."
        ),
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    is_default = models.BooleanField(_("default"), default=False)

    objects = ChatModelQuerySet.as_manager()

    class Meta:
        verbose_name = _("model")
        verbose_name_plural = _("models")
        constraints = [
            models.CheckConstraint(
                name="chatmodel_provider", condition=Q(provider__in=["openai", "embedded"])
            ),
            models.CheckConstraint(
                name="chatmodel_max_tokens_parameter",
                condition=Q(max_tokens_parameter__in=["max_tokens", "max_completion_tokens"]),
            ),
            models.CheckConstraint(
                name="chatmodel_window_exceeds_output",
                condition=Q(max_output_tokens__gte=1, context_window__gt=models.F("max_output_tokens")),
            ),
            models.UniqueConstraint(
                name="chatmodel_one_default_per_provider", fields=["provider"], condition=Q(is_default=True)
            ),
        ]

    def __str__(self) -> str:
        return self.label


class ErrorCode(models.TextChoices):
    """Why a generation failed. The label is what the person reads: what happened, and what to do."""

    UNREACHABLE = "unreachable", _("The model's service can't be reached. Try again in a moment.")
    TIMEOUT = "timeout", _("The model took too long to answer. Try again.")
    UNAUTHORIZED = (
        "unauthorized",
        _("The model's service refused this site's key. Please tell the administrator."),
    )
    NOT_FOUND = (
        "not_found",
        _("The model's service does not know this model. Choose another, or tell the administrator."),
    )
    BAD_REQUEST = "bad_request", _("The model's service refused the request. Please tell the administrator.")
    CONTEXT_LENGTH = "context_length", _("The conversation is too long for this model. Start a new one.")
    CONTENT_FILTER = (
        "content_filter",
        _("The model's service declined to answer this. Put it in other words."),
    )
    RATE_LIMITED = "rate_limited", _("The model's service is busy. Try again in a moment.")
    QUOTA = (
        "quota",
        _("This site's allowance at the model's service is used up. Please tell the administrator."),
    )
    SERVER_ERROR = "server_error", _("The model's service had a fault. Try again.")
    PROTOCOL = (
        "protocol",
        _("The model's service sent something that is not an answer. Please tell the administrator."),
    )
    TOO_LARGE = "too_large", _("The answer grew larger than this site takes.")
    INTERRUPTED = "interrupted", _("The answer was cut off on its way.")
    OVERLOADED = (
        "overloaded",
        _("The model's service keeps failing and is left alone for some seconds. Try again soon."),
    )
    NO_MODEL = (
        "no_model",
        _("The demo model could not be started on this machine. Please tell the administrator."),
    )
    INTERNAL = "internal", _("Something went wrong on this site. Try again.")


class GenerationQuerySet(models.QuerySet["Generation"]):
    """The look-ups of generations."""

    def active(self) -> Self:
        """Return the generations that are waiting for a runner or being written."""
        return self.filter(status__in=Generation.ACTIVE)

    def visible_to(self, user: Any) -> Self:
        """Return the generations in the conversations that this user may read."""
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

    uuid = models.UUIDField(_("public id"), default=uuid.uuid4, unique=True, editable=False)
    conversation = models.ForeignKey(
        Conversation, models.CASCADE, related_name="generations", verbose_name=_("conversation")
    )
    message = models.ForeignKey(
        Message, models.CASCADE, related_name="generations", verbose_name=_("message")
    )
    model = models.ForeignKey(ChatModel, models.PROTECT, related_name="+", verbose_name=_("model"))
    client_id = models.UUIDField(_("client id"))
    max_tokens = models.PositiveIntegerField(
        _("max. tokens"), help_text=_("The cap that was asked for, in tokens.")
    )
    parameters = models.JSONField(_("parameters"), default=dict, blank=True)
    offset = models.PositiveIntegerField(
        _("offset"),
        default=0,
        help_text=_("Where in the message's text this generation begins, in characters."),
    )

    status = models.CharField(_("status"), max_length=16, choices=Status, default=Status.QUEUED)
    finish_reason = models.CharField(_("finish reason"), max_length=32, blank=True)
    error_code = models.CharField(_("error"), max_length=32, choices=ErrorCode, blank=True)
    retry_at = models.DateTimeField(_("retry at"), null=True, blank=True)
    trimmed_messages = models.PositiveIntegerField(
        _("trimmed messages"),
        default=0,
        help_text=_("Older messages that no longer fitted and were not sent."),
    )
    prompt_tokens = models.PositiveIntegerField(_("prompt tokens"), null=True, blank=True)
    completion_tokens = models.PositiveIntegerField(_("completion tokens"), null=True, blank=True)
    usage_is_estimated = models.BooleanField(_("usage is estimated"), default=False)

    owner = models.CharField(_("runner"), max_length=64, blank=True)
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
                | (~Q(owner="") & Q(started_at__isnull=False, heartbeat_at__isnull=False)),
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
    """A piece of the journal: text that came between two commits. Exists only while its generation runs."""

    generation = models.ForeignKey(
        Generation, models.CASCADE, related_name="chunks", verbose_name=_("generation")
    )
    offset = models.PositiveIntegerField(
        _("offset"), help_text=_("Place in the message's text, in characters.")
    )
    text = models.TextField(_("text"))

    class Meta:
        verbose_name = _("generation chunk")
        verbose_name_plural = _("generation chunks")
        constraints = [
            models.UniqueConstraint(name="generationchunk_no_overlap", fields=["generation", "offset"]),
        ]

    def __str__(self) -> str:
        return f"{self.generation_id}@{self.offset}"
