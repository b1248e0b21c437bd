"""System checks that report mistakes in the configuration before the site starts."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from conversations.llm import embedded
from conversations.server.selectors import problem_of_layout, problem_of_sharing, process_count


@register()
def check_upstream(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Check the address of the model service, and that there is a model."""
    found: list[CheckMessage] = []
    address = urlsplit(settings.OPENAI_BASE_URL)
    if settings.OPENAI_BASE_URL and (address.scheme not in {"http", "https"} or not address.hostname):
        found.append(
            Error(
                "OPENAI_BASE_URL is not a complete address.",
                hint="Use an address such as https://api.example.org/v1.",
                id="server.E001",
            )
        )
    if address.username or address.password:
        found.append(
            Error(
                "OPENAI_BASE_URL contains a name or a password.",
                hint="Set OPENAI_API_KEY to the key instead.",
                id="server.E002",
            )
        )
    if not (settings.OPENAI_API_KEY or settings.OPENAI_BASE_URL or embedded.is_installed()):
        found.append(
            Warning(
                "No model is set up.",
                hint="Set OPENAI_API_KEY, or start the site with ./run, which installs the demo model.",
                id="server.W001",
            )
        )
    return found


@register()
def check_limits(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Check that the limits on messages are consistent."""
    if settings.CHAT_MAX_INPUT_TOKENS > settings.CHAT_MAX_INPUT_CHARS * 4:
        return [
            Warning(
                "CHAT_MAX_INPUT_TOKENS has no effect, because CHAT_MAX_INPUT_CHARS is much lower.",
                id="server.W002",
            )
        ]
    return []


@register()
def check_production(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Check the settings that a production site needs."""
    if not settings.IS_PRODUCTION:
        return []
    found: list[CheckMessage] = []
    if not settings.IS_HTTPS:
        found.append(
            Error(
                "PUBLIC_URL must be an https address in production.",
                hint="Set PUBLIC_URL to the address that people type, such as https://chat.example.org.",
                id="server.E003",
            )
        )
    if settings.DEBUG:
        found.append(
            Error(
                "DEBUG must be off in production.",
                hint="Remove DEBUG. Its error pages show settings and code to everyone.",
                id="server.E004",
            )
        )
    if settings.EMAIL_BACKEND == "django.core.mail.backends.console.EmailBackend":
        found.append(
            Error(
                "EMAIL_URL must name a mail server in production.",
                hint="Set EMAIL_URL to a mail server, such as submission://name:password@mail.example.org:587.",
                id="server.E005",
            )
        )
    return found


@register()
def check_processes(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Check that the site has what it needs to run several processes."""
    problem = problem_of_sharing() if process_count() > 1 else ""
    return [Error(problem, hint="Set PROCESSES to 1 or auto.", id="server.E007")] if problem else []


@register(Tags.database)
def check_layout(app_configs: Any, databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that the database is not from before the first release. Runs before `migrate`."""
    problem = problem_of_layout() if databases else ""
    return [Error(problem, id="server.E006")] if problem else []
