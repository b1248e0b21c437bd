"""Which models this installation offers."""

from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from conversations import limits
from conversations.llm import embedded
from conversations.models import ChatModel

OPENAI_API = "https://api.openai.com/v1"
SETUP_PROBLEM = _(
    "No model is set up here: set OPENAI_API_KEY and start again, or start with ./run, which installs the demo model."
)

# Kept in the catalogue in English, and translated when it is shown, unless an administrator wrote something else.
DEMO_NOTE = gettext_noop("A very small demo model that runs on this machine. English only, and often wrong.")

# Context window and longest answer of OpenAI's models, in tokens, by the beginning of their names (their model pages,
# platform.openai.com/docs/models). Anything else starts with cautious figures that an administrator can raise.
_OPENAI_WINDOWS: list[tuple[str, int, int]] = [
    ("gpt-5", 400_000, 128_000),
    ("gpt-4.1", 1_047_576, 32_768),
    ("gpt-4o", 128_000, 16_384),
    ("gpt-4-turbo", 128_000, 4_096),
    ("gpt-4", 8_192, 4_096),
    ("gpt-3.5-turbo", 16_385, 4_096),
    ("o1", 200_000, 100_000),
    ("o3", 200_000, 100_000),
    ("o4", 200_000, 100_000),
]
_CAUTIOUS_WINDOW = (8_192, 2_048)


def providers() -> set[str]:
    """Return the providers that are set up here: the configured service, else the demo model, else none."""
    if settings.OPENAI_API_KEY or settings.OPENAI_BASE_URL:
        return {ChatModel.Provider.OPENAI.value}
    if embedded.is_installed():
        return {ChatModel.Provider.EMBEDDED.value}
    return set()


def offered_models(*, allowed: frozenset[int] | None = None) -> list[ChatModel]:
    """Return the models that people may choose, the default first; with `allowed`, only those of these ids."""
    offered = ChatModel.objects.offered(providers=providers())
    return [model for model in offered if allowed is None or model.pk in allowed]


@dataclass(frozen=True, slots=True)
class Facts:
    """What people are told about a model."""

    slug: str
    label: str
    note: str
    context_window: int
    longest_answer: int

    @classmethod
    def of(cls, model: ChatModel) -> "Facts":
        """Return the facts about a model on this site, in the language of the reader."""
        return cls(
            slug=model.slug,
            label=model.label,
            note=gettext(model.note) if model.note == DEMO_NOTE else model.note,
            context_window=model.context_window,
            longest_answer=longest_answer(model),
        )


def longest_answer(model: ChatModel) -> int:
    """Return how many tokens an answer of this model may have here: the smaller one of its own cap and the site's."""
    return limits.output_cap(
        None, site_cap=settings.CHAT_MAX_OUTPUT_TOKENS, model_cap=model.max_output_tokens
    )


def setup_problem() -> str | Promise:
    """Return one sentence that says what to do where no model can answer, and an empty text otherwise."""
    return "" if offered_models() else SETUP_PROBLEM


@transaction.atomic
def sync_catalogue() -> None:
    """Make the catalogue hold the model that the environment names, as the default of its provider.

    What an administrator changed in an entry that exists already stays.
    """
    for provider in providers():
        if provider == ChatModel.Provider.EMBEDDED:
            entry = _add_embedded()
        else:
            entry = _add_configured(settings.CHAT_MODEL)
        others = ChatModel.objects.filter(provider=provider).exclude(pk=entry.pk)
        named_by_environment = provider == ChatModel.Provider.OPENAI
        if named_by_environment or not others.filter(is_default=True, enabled=True).exists():
            others.filter(is_default=True).update(is_default=False)
            ChatModel.objects.filter(pk=entry.pk).update(is_default=True)


def _add_embedded() -> ChatModel:
    entry, _created = ChatModel.objects.get_or_create(
        slug="smollm2-135m",
        defaults={
            "label": "SmolLM2 135M",
            "note": DEMO_NOTE,
            "provider": ChatModel.Provider.EMBEDDED,
            "upstream_name": embedded.MODEL_NAME,
            "context_window": embedded.CONTEXT_WINDOW,
            "max_output_tokens": 512,
            "parameters": dict(embedded.DEFAULT_PARAMETERS),
            "supports_prefill": embedded.SUPPORTS_PREFILL,
        },
    )
    return entry


def _add_configured(name: str) -> ChatModel:
    is_openai = settings.OPENAI_BASE_URL in {"", OPENAI_API}
    window, output = _CAUTIOUS_WINDOW
    if is_openai:
        window, output = next(
            ((window, output) for prefix, window, output in _OPENAI_WINDOWS if name.startswith(prefix)),
            _CAUTIOUS_WINDOW,
        )
    existing = (
        ChatModel.objects.filter(provider=ChatModel.Provider.OPENAI, upstream_name=name)
        .order_by("pk")
        .first()
    )
    if existing is not None:
        return existing
    return ChatModel.objects.create(
        slug=_free_slug(name),
        label=name[:100],
        provider=ChatModel.Provider.OPENAI,
        upstream_name=name,
        context_window=window,
        max_output_tokens=output,
        max_tokens_parameter=(
            ChatModel.MaxTokensParameter.MAX_COMPLETION_TOKENS
            if is_openai
            else ChatModel.MaxTokensParameter.MAX_TOKENS
        ),
    )


def _free_slug(name: str) -> str:
    """Return a slug for a name such as "org/Model:tag" that no entry has yet."""
    base = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in name.lower())[:90].strip(
        "-"
    )
    base = base or "model"
    slug, number = base, 2
    while ChatModel.objects.filter(slug=slug).exists():
        slug, number = f"{base}-{number}", number + 1
    return slug
