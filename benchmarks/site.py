"""The site under test: its data folder, users, process and stored answers."""

import os
from pathlib import Path

from benchmarks.processes import Process
from tests.stage import sign_in_people

# The settings of this machine must not affect the results.
_UNSET = ("DATABASE_URL", "REDIS_URL", "PUBLIC_URL", "OPENAI_BASE_URL", "SECRET_KEY", "DEBUG")


def prepare(folder: Path, *, people: int) -> list[str]:
    """Create a database with this number of signed-in users, and return their cookies."""
    for name in _UNSET:
        os.environ.pop(name, None)
    os.environ["DATA_DIR"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "chatsite.settings"

    import django

    django.setup()

    from django.core.management import call_command

    call_command("migrate", interactive=False, verbosity=0)
    return sign_in_people(people)


def serve(upstream: str, *, folder: Path, streams: int) -> Process:
    """Start the real server on a free port, with caps too high to affect the results."""
    environment = {
        "CHAT_MAX_OUTPUT_TOKENS": "1000000",
        "CHAT_MODEL": "fake",
        "DATA_DIR": str(folder),
        "DJANGO_SUPERUSER_PASSWORD": "not secret: the site lives for this run only",
        "GENERATION_CONCURRENCY": str(streams + 1),
        "HOST": "127.0.0.1",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": upstream,
        "PORT": "0",
        "UPSTREAM_ANSWER_SECONDS": "3600",
    }
    return Process("manage.py", "serve", environment=environment)


def answers() -> dict[str, str]:
    """Return the text of each stored answer by its prompt."""
    from conversations.chat.models import Message

    found = Message.objects.filter(role=Message.Role.ASSISTANT).select_related("parent")
    return {message.parent.text: message.text for message in found if message.parent}


def rendered(text: str) -> str:
    """Return the HTML that a page contains for a complete answer."""
    from conversations.common.rendering import highlighting
    from conversations.common.rendering.markdown import render_markdown

    # The machine is busy, and no user waits for this.
    highlighting.TIME_LIMIT_SECONDS = 10.0
    return str(render_markdown(text))
