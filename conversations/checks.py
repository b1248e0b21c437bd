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


@register()
def check_production(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """What has to be set before people are let in, where ENVIRONMENT says that they are."""
    if not settings.IS_PRODUCTION:
        return []
    found: list[CheckMessage] = []
    if not settings.IS_HTTPS:
        found.append(
            Error(
                "PUBLIC_URL is not an https address, and ENVIRONMENT is production.",
                hint="Set PUBLIC_URL to what people type, such as https://chat.example.org.",
                id="conversations.E003",
            )
        )
    if settings.DEBUG:
        found.append(
            Error(
                "DEBUG is on, and ENVIRONMENT is production.",
                hint="Its pages show settings and code to whoever causes an error: take DEBUG away.",
                id="conversations.E004",
            )
        )
    if settings.EMAIL_BACKEND == "django.core.mail.backends.console.EmailBackend":
        found.append(
            Error(
                "Mails are written to the terminal, and ENVIRONMENT is production.",
                hint="Set EMAIL_URL to a mail server, such as submission://name:password@mail.example.org:587.",
                id="conversations.E005",
            )
        )
    return found
