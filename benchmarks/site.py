"""The site that is measured: its data folder, its people, its process, and what it kept."""

import os
from pathlib import Path

from benchmarks.processes import Process

# What this machine is set up for must not change what is measured.
_UNSET = ("DATABASE_URL", "REDIS_URL", "PUBLIC_URL", "OPENAI_BASE_URL", "SECRET_KEY", "DEBUG")


def prepare(folder: Path, *, people: int) -> list[str]:
    """Make a database in the folder with so many people who are signed in, and return their cookies."""
    for name in _UNSET:
        os.environ.pop(name, None)
    os.environ["DATA_DIR"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "chatsite.settings"

    import django

    django.setup()

    # The models can be imported only now.
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command
    from django.utils import timezone

    from conversations.models import NoticeAcceptance, User
    from conversations.operations import access

    call_command("migrate", interactive=False, verbosity=0)
    # A password that nobody knows; hashing one for each person would take longer than the measurement.
    User.objects.bulk_create(User(username=f"reader{number}", password="!") for number in range(people))
    access.ensure_notice(now=timezone.now())
    notice = access.notice_in_force()
    NoticeAcceptance.objects.bulk_create(
        NoticeAcceptance(user=user, notice=notice, accepted_at=timezone.now()) for user in User.objects.all()
    )
    cookies = []
    for user in User.objects.order_by("pk"):
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.create()
        cookies.append(f"{settings.SESSION_COOKIE_NAME}={session.session_key}")
    return cookies


def serve(upstream: str, *, folder: Path, streams: int) -> Process:
    """Start the real server on a free port, with its caps out of the way of what is measured."""
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
    """Return the text of each answer in the database, by its prompt."""
    from conversations.models import Message

    found = Message.objects.filter(role=Message.Role.ASSISTANT).select_related("parent")
    return {message.parent.text: message.text for message in found if message.parent}


def rendered(text: str) -> str:
    """Return the HTML that a page shows for a complete answer."""
    from conversations.rendering.markdown import render_markdown

    return str(render_markdown(text))
