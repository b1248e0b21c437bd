"""What is looked at before the site starts, so that a mistake in the set-up is a sentence and not a surprise."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from conversations.llm import embedded


@register()
def check_upstream(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The address of the service, and whether there is any model at all."""
    found: list[CheckMessage] = []
    address = urlsplit(settings.OPENAI_BASE_URL)
    if settings.OPENAI_BASE_URL and (address.scheme not in {"http", "https"} or not address.hostname):
        found.append(
            Error(
                "OPENAI_BASE_URL is not a whole address.",
                hint="Write it as https://api.example.org/v1.",
                id="conversations.E001",
            )
        )
    if address.username or address.password:
        found.append(
            Error(
                "OPENAI_BASE_URL holds a name or a password.",
                hint="Put the key into OPENAI_API_KEY.",
                id="conversations.E002",
            )
        )
    if not (settings.OPENAI_API_KEY or settings.OPENAI_BASE_URL or embedded.is_installed()):
        found.append(
            Warning(
                "No model can answer.",
                hint="Set OPENAI_API_KEY, or start with ./run, which installs the demo model.",
                id="conversations.W001",
            )
        )
    return found


@register()
def check_limits(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Whether the caps fit together."""
    if settings.CHAT_MAX_INPUT_TOKENS > settings.CHAT_MAX_INPUT_CHARS * 4:
        return [
            Warning(
                "CHAT_MAX_INPUT_TOKENS can never be reached: CHAT_MAX_INPUT_CHARS is far smaller.",
                id="conversations.W002",
            )
        ]
    return []
