"""The site under test: its database, data folder, users, process and stored answers."""

import argparse
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.digests import digest_of_html, digest_of_text
from benchmarks.processes import Process
from tests.stage import sign_in_people


def require_proc(parser: argparse.ArgumentParser) -> None:
    """End the program with an error on systems that don't show the CPU and memory of processes in /proc."""
    if not Path("/proc/self/stat").exists():
        parser.error("This benchmark reads CPU and memory from /proc, which this system does not have.")


def add_settings_option(parser: argparse.ArgumentParser) -> None:
    """Add an option for settings of the site, which end up in `options.settings`."""
    parser.add_argument(
        "--set",
        dest="settings",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="run the site with this setting, such as REDIS_URL (can be repeated)",
    )


@contextmanager
def scratch_database() -> Iterator[None]:
    """Point DATABASE_URL, if it is set, to a temporary database on that server. The one it named is not changed."""
    given = os.environ.get("DATABASE_URL", "")
    if not given:
        yield
        return
    import psycopg
    from psycopg import sql

    name = f"chatsite_benchmark_{secrets.token_hex(4)}"
    with psycopg.connect(given, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        os.environ["DATABASE_URL"] = f"{given.rpartition('/')[0]}/{name}"
        try:
            yield
        finally:
            _close_connections()
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _close_connections() -> None:
    from django.conf import settings
    from django.db import connections

    if not settings.configured:
        return
    for connection in connections.all():
        connection.close()
        close_pool = getattr(connection, "close_pool", None)
        if close_pool is not None:
            close_pool()


def _ignore_settings_of_this_machine() -> None:
    for name in ("REDIS_URL", "PUBLIC_URL", "OPENAI_BASE_URL", "SECRET_KEY", "DEBUG", "SIGNUP"):
        os.environ.pop(name, None)


def set_up(folder: Path, *, with_static_files: bool = False) -> None:
    """Set up Django in this process, with an empty database and, if asked for, the static files that pages need."""
    _ignore_settings_of_this_machine()
    os.environ["DATA_DIR"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "chatsite.settings"

    import django

    django.setup()

    from django.core.management import call_command

    call_command("migrate", interactive=False, verbosity=0)
    if with_static_files:
        call_command("collectstatic", interactive=False, verbosity=0)


def prepare(folder: Path, *, people: int, with_static_files: bool = False) -> list[str]:
    """Set up Django with this number of signed-in users, and return their cookies."""
    set_up(folder, with_static_files=with_static_files)
    return sign_in_people(people)


def serve(upstream: str, *, folder: Path, streams: int, settings: Sequence[str] = (), **more: str) -> Process:
    """Start the real server on a free port, with caps too high to affect the results.

    Settings are of the form NAME=VALUE, or keyword arguments.
    """
    _ignore_settings_of_this_machine()
    environment = {
        "CHAT_MAX_OUTPUT_TOKENS": "1000000",
        "CHAT_MODEL": "fake",
        "CHAT_SENDS_PER_MINUTE": "1000000",
        "DATA_DIR": str(folder),
        "DJANGO_SUPERUSER_PASSWORD": "not secret: the site lives for this run only",
        "GENERATION_CONCURRENCY": str(streams + 1),
        "HOST": "127.0.0.1",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": upstream,
        "PORT": "0",
        "UPSTREAM_ANSWER_SECONDS": "3600",
        **dict(setting.split("=", 1) for setting in settings),
        **more,
    }
    return Process("manage.py", "serve", environment=environment)


def addresses(server: Process) -> tuple[str, str]:
    """Wait until the server is ready, and return its origin and the address of its websocket."""
    origin = server.hear("Chat:").split()[-1].rstrip("/")
    server.hear("Ready")
    return origin, origin.replace("http", "ws", 1) + "/ws/chat/"


def answers() -> dict[str, str]:
    """Return the text of each stored answer by its prompt."""
    from conversations.chat.models import Message

    found = Message.objects.filter(role=Message.Role.ASSISTANT).select_related("parent")
    return {message.parent.text: message.text for message in found if message.parent}


def rendered(text: str) -> str:
    """Return the HTML that a page contains for a complete answer."""
    from conversations.common.rendering.markdown import render_markdown

    return str(render_markdown(text))


def incomplete(turns: list[dict[str, Any]], *, sent: dict[str, str], kept: dict[str, str]) -> list[str]:
    """Return a description of each turn whose text is not complete in the database and on the page."""
    problems = []
    for turn in turns:
        prompt = turn["prompt"]
        text = kept.get(prompt, "")
        if turn["problem"]:
            problems.append(f"{prompt}: {turn['problem']}")
        elif digest_of_text(text) != sent.get(prompt):
            problems.append(f"{prompt}: the text in the database differs from what the upstream sent")
        elif digest_of_html(rendered(text).encode()) != turn["done"]:
            problems.append(f"{prompt}: the page differs from the text in the database")
    return problems
