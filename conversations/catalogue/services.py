"""Sync the catalogue with the environment."""

from django.conf import settings
from django.db import transaction

from conversations.llm import embedded

from .models import ChatModel
from .selectors import DEMO_NOTE, OPENAI_API, providers

# Context window and maximum output of OpenAI's models, in tokens, by name prefix (source: platform.openai.com/docs/models).
# Other models start with cautious values that an administrator can raise.
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


@transaction.atomic
def sync_catalogue() -> None:
    """Add the model named by the environment to the catalogue, as the default of its provider.

    An existing entry keeps any changes made by an administrator.
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
    """Return an unused slug for a model name such as "org/Model:tag"."""
    base = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in name.lower())[:90].strip(
        "-"
    )
    base = base or "model"
    slug, number = base, 2
    while ChatModel.objects.filter(slug=slug).exists():
        slug, number = f"{base}-{number}", number + 1
    return slug
