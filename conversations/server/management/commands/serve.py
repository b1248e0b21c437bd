"""Prepare the site and serve it, in one process or several: `manage.py serve`."""

import asyncio
import hashlib
import os
import secrets
import socket
import sys
from argparse import SUPPRESS
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from django.utils import autoreload, timezone

from conversations.access.services import terms
from conversations.accounts.models import User
from conversations.catalogue import selectors as catalogue
from conversations.catalogue.models import ChatModel
from conversations.catalogue.services import sync_catalogue
from conversations.server.management.addresses import address_of, bind, listening_hosts
from conversations.server.management.supervisor import MANAGE, READY, Supervisor
from conversations.server.rules import environments
from conversations.server.selectors import problem_of_layout, process_count, uses_demo_model


class Command(BaseCommand):
    """Migrate, create the first admin, collect static files, and serve until stopped."""

    help = "Prepare the database, the first admin and the static files, then serve the site."
    requires_system_checks = "__all__"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reload", action="store_true", help="Restart when the code changes.")
        # For the processes of the supervisor, which has prepared the site.
        parser.add_argument("--sockets", type=int, nargs="+", default=[], help=SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["sockets"]:
            self._serve_for_supervisor(options["sockets"])
        elif options["reload"]:
            # Runs the function in a thread of another process, and starts that process again after each change.
            autoreload.run_with_reloader(self._prepare_and_serve)
        else:
            self._prepare()
            if (count := process_count()) > 1:
                self._supervise(count)
            else:
                self._serve(handles_signals=True)

    def _prepare_and_serve(self) -> None:
        self._prepare()
        self._serve(handles_signals=False)

    def _prepare(self) -> None:
        if problem := problem_of_layout():
            raise CommandError(problem)
        call_command("migrate", interactive=False, verbosity=0)
        self._make_first_admin()
        sync_catalogue()
        terms.ensure_terms(now=timezone.now())
        self._collect_static_files()

    def _make_first_admin(self) -> None:
        """Create an admin if there is none, from Django's own variables, and show the password once."""
        if User.objects.filter(is_superuser=True).exists():
            return
        username = os.environ.get("DJANGO_SUPERUSER_USERNAME") or "admin"
        email = os.environ.get("DJANGO_SUPERUSER_EMAIL", "")
        given = os.environ.get("DJANGO_SUPERUSER_PASSWORD", "")
        if User.objects.filter(username=username).exists():
            raise CommandError(
                f"There is no admin yet, and the username {username} is taken by a user who isn't one. "
                "Set DJANGO_SUPERUSER_USERNAME to another name."
            )
        password = given or secrets.token_urlsafe(12)
        User.objects.create_superuser(username=username, email=email, password=password)
        said = "the one in DJANGO_SUPERUSER_PASSWORD" if given else password
        self.stdout.write(f"First admin:  {username}\nPassword:     {said}")
        if not given:
            self.stdout.write("              (shown only once: save it, or change it after you sign in)")

    def _collect_static_files(self) -> None:
        """Collect the static files if any has changed since the last start."""
        stamp = Path(settings.STATIC_ROOT) / ".stamp"
        state = _state_of_static_files()
        if not stamp.exists() or stamp.read_text(encoding="ascii") != state:
            call_command("collectstatic", interactive=False, clear=True, verbosity=0)
            stamp.write_text(state, encoding="ascii")

    def _serve(self, *, handles_signals: bool) -> None:
        # Imported here because it reads the manifest of the static files, which may have just been written.
        from conversations.server.management import web

        sockets = _bind_all(settings.PORT)
        when_ready = self._announcement(sockets[0])
        web.serve(sockets, when_ready=when_ready, handles_signals=handles_signals)

    def _serve_for_supervisor(self, numbers: list[int]) -> None:
        from conversations.server.management import web

        channel = socket.socket(fileno=sys.stdin.fileno())
        web.serve(
            [socket.socket(fileno=number) for number in numbers],
            when_ready=lambda: channel.sendall(READY),
            supervisor=channel,
        )

    def _supervise(self, count: int) -> None:
        # Sharing the port is possible only for sockets that ask for it, so another program's socket makes this fail.
        for unshared in _bind_all(settings.PORT):
            unshared.close()
        # These stay open and never listen. They keep the port while no process is running.
        reserved = _bind_all(settings.PORT, is_shared=True)
        port = reserved[0].getsockname()[1]
        when_ready = self._announcement(reserved[0])
        supervisor = Supervisor(
            [*MANAGE, "serve", "--skip-checks", "--sockets"],
            environments=environments(count, uses_demo_model=uses_demo_model()),
            bind=lambda: [bind(bound.getsockname()[0], port, is_shared=True) for bound in reserved],
            when_ready=when_ready,
        )
        _close_connections()
        if not asyncio.run(supervisor.run()):
            raise CommandError("The site did not start, because one of its processes ended.")

    def _announcement(self, bound: socket.socket) -> Callable[[], None]:
        """Return a function that says where the site is."""
        host, port = bound.getsockname()[:2]
        # Read now, because the database can't be queried directly once the event loop runs.
        model = catalogue_line()
        return lambda: self._say_where(address_of(host, port), model=model)

    def _say_where(self, address: str, *, model: str) -> None:
        self.stdout.write(f"Model:        {model}\nChat:         {address}/\nAdmin:        {address}/admin/")
        self.stdout.write("Ready. Stop with Ctrl+C.")
        self.stdout.flush()


def _bind_all(port: int, *, is_shared: bool = False) -> list[socket.socket]:
    """Return a bound socket for each address of the site. Raises CommandError if another program has it."""
    try:
        return [bind(host, port, is_shared=is_shared) for host in listening_hosts(settings.HOST, port)]
    except OSError as error:
        raise CommandError(
            f"Can't listen on {settings.HOST}:{port}. Another program may be using it. Set PORT to another number."
        ) from error


def _close_connections() -> None:
    """Close this process's connections to the database, including those kept for reuse."""
    found: Any
    for found in connections.all():
        found.close()
        if found.vendor == "postgresql":
            found.close_pool()


def catalogue_line() -> str:
    """Return the default model, or what to do if there is none."""
    offered = catalogue.offered_models()
    if not offered:
        return str(catalogue.SETUP_PROBLEM)
    model = offered[0]
    location = (
        "on this machine" if model.provider == ChatModel.Provider.EMBEDDED else settings.OPENAI_BASE_URL
    )
    return f"{model.label} ({location or catalogue.OPENAI_API})"


def _state_of_static_files() -> str:
    """Return a digest of the names, sizes and times of all static files."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            stat = Path(storage.path(path)).stat()
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()
