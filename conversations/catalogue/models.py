"""The catalogue of models that people can choose."""

from typing import Self

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

# The numeric parameters of a catalogue entry, with their ranges. They are from OpenAI's reference for
# POST /chat/completions, except repeat_penalty, which only llama.cpp has.
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
    """Validate the sampling parameters of a catalogue entry.

    Raises ValidationError for an unknown name, a value out of range, or temperature together with top_p, because
    OpenAI's reference recommends changing only one of them.
    """
    if not isinstance(value, dict):
        raise ValidationError(_("Parameters must be a JSON object."))
    for name, given in value.items():
        if name in _NUMBERS:
            low, high = _NUMBERS[name]
            if isinstance(given, bool) or not isinstance(given, int | float) or not low <= given <= high:
                raise ValidationError(
                    _("%(name)s must be a number from %(low)s to %(high)s."),
                    params={"name": name, "low": low, "high": high},
                )
        elif name == "return_progress":
            if not isinstance(given, bool):
                raise ValidationError(_("return_progress must be true or false."))
        elif name == "seed":
            if isinstance(given, bool) or not isinstance(given, int):
                raise ValidationError(_("seed must be a whole number."))
        elif name == "stop":
            if (
                not isinstance(given, list)
                or not 1 <= len(given) <= _MAX_STOPS
                or not all(isinstance(stop, str) and stop for stop in given)
            ):
                raise ValidationError(_("stop must be a list of one to four non-empty strings."))
        elif name == "reasoning_effort":
            if given not in _REASONING_EFFORTS:
                raise ValidationError(
                    _("reasoning_effort must be none, minimal, low, medium, high or xhigh.")
                )
        else:
            raise ValidationError(_("Unknown parameter: %(name)s."), params={"name": name})
    if "temperature" in value and "top_p" in value:
        raise ValidationError(_("Set temperature or top_p, not both."))


class ChatModelQuerySet(models.QuerySet["ChatModel"]):
    """Queries on the catalogue."""

    def enabled(self) -> Self:
        """Return the enabled models, the default of each provider first."""
        return self.filter(enabled=True).order_by("-is_default", "label", "pk")


class ChatModel(models.Model):
    """An entry in the catalogue: a model that people can choose, with its limits and parameters."""

    class Provider(models.TextChoices):
        OPENAI = "openai", _("the service at OPENAI_BASE_URL")
        EMBEDDED = "embedded", _("the demo model on this machine")

    class MaxTokensParameter(models.TextChoices):
        MAX_TOKENS = "max_tokens", "max_tokens"
        MAX_COMPLETION_TOKENS = "max_completion_tokens", "max_completion_tokens"

    slug = models.SlugField(_("slug"), max_length=100, unique=True)
    label = models.CharField(_("label"), max_length=100, help_text=_("The name shown to users."))
    note = models.CharField(
        _("note"), max_length=300, blank=True, help_text=_("A one-sentence description shown to users.")
    )
    provider = models.CharField(_("provider"), max_length=16, choices=Provider)
    upstream_name = models.CharField(
        _("upstream name"), max_length=200, help_text=_("The model name sent to the provider.")
    )
    context_window = models.PositiveIntegerField(
        _("context window"),
        validators=[MinValueValidator(256)],
        help_text=_("In tokens, for the prompt and the answer together."),
    )
    max_output_tokens = models.PositiveIntegerField(
        _("maximum output tokens"),
        validators=[MinValueValidator(1)],
        help_text=_("The maximum length of an answer, in tokens."),
    )
    max_tokens_parameter = models.CharField(
        _("token limit parameter"),
        max_length=32,
        choices=MaxTokensParameter,
        default=MaxTokensParameter.MAX_TOKENS,
        help_text=_("OpenAI's reasoning models accept only max_completion_tokens."),
    )
    parameters = models.JSONField(_("parameters"), default=dict, blank=True, validators=[validate_parameters])
    supports_prefill = models.BooleanField(
        _("supports prefill"),
        default=False,
        help_text=_("Whether the model can continue an assistant message at the end of the prompt."),
    )
    sends_pseudonymous_id = models.BooleanField(
        _("sends a user ID"),
        default=True,
        help_text=_(
            "Sends an HMAC, never a name, as safety_identifier and user. Turn this off if the provider rejects "
            "unknown fields."
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
