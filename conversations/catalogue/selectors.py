"""The models that this site offers."""

from dataclasses import dataclass

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from conversations.catalogue.models import ChatModel
from conversations.common.statements import SelectInstances
from conversations.llm import embedded

OPENAI_API = "https://api.openai.com/v1"
SETUP_PROBLEM = _(
    "No model is set up. Set OPENAI_API_KEY and restart the site, or start it with ./run, which installs the demo model."
)

_enabled = SelectInstances(ChatModel, ChatModel.objects.enabled)

# Stored in English and translated on display, unless an administrator has changed it.
DEMO_NOTE = gettext_noop("A very small demo model that runs on this machine. English only, and often wrong.")


def providers() -> set[str]:
    """Return the available providers: the configured service, else the demo model, else none."""
    if settings.OPENAI_API_KEY or settings.OPENAI_BASE_URL:
        return {ChatModel.Provider.OPENAI.value}
    if embedded.is_installed():
        return {ChatModel.Provider.EMBEDDED.value}
    return set()


def offered_models(*, allowed: frozenset[int] | None = None) -> list[ChatModel]:
    """Return the models that people can choose, the default first. `allowed` restricts them to these IDs."""
    offered = providers()
    return [
        model
        for model in _enabled.all()
        if model.provider in offered and (allowed is None or model.pk in allowed)
    ]


@dataclass(frozen=True, slots=True)
class Facts:
    """The details of a model that users see."""

    slug: str
    label: str
    note: str
    context_window: int
    longest_answer: int

    @classmethod
    def of(cls, model: ChatModel) -> "Facts":
        """Return the details of a model in the active language."""
        return cls(
            slug=model.slug,
            label=model.label,
            note=gettext(model.note) if model.note == DEMO_NOTE else model.note,
            context_window=model.context_window,
            longest_answer=longest_answer(model),
        )


def longest_answer(model: ChatModel) -> int:
    """Return the maximum answer length in tokens: the lower of the model's cap and the site's."""
    return min(settings.CHAT_MAX_OUTPUT_TOKENS, model.max_output_tokens)


def setup_problem() -> str | Promise:
    """Return what to do if no model is available, or an empty string if one is."""
    return "" if offered_models() else SETUP_PROBLEM
