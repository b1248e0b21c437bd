"""Prepare and serve the site in one process: `manage.py serve`."""

import hashlib
import os
import secrets
import socket
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import autoreload, timezone

from conversations.access.services import terms
from conversations.accounts.models import User
from conversations.catalogue import selectors as catalogue
from conversations.catalogue.models import ChatModel
from conversations.catalogue.services import sync_catalogue
from conversations.server.management.addresses import address_of, bind, listening_hosts
from conversations.server.selectors import problem_of_layout


class Command(BaseCommand):
    """Migrate, create the first admin, collect static files, and serve until stopped."""

    help = "Prepare the database, the first admin and the static files, then serve the site."
    requires_system_checks = "__all__"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reload", action="store_true", help="Restart when the code changes.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["reload"]:
            # Runs the function in a thread of another process, and starts that process again after each change.
            autoreload.run_with_reloader(self._prepare_and_serve, handles_signals=False)
        else:
            self._prepare_and_serve(handles_signals=True)

    def _prepare_and_serve(self, *, handles_signals: bool) -> None:
        if problem := problem_of_layout():
            raise CommandError(problem)
        call_command("migrate", interactive=False, verbosity=0)
        self._make_first_admin()
        sync_catalogue()
        terms.ensure_terms(now=timezone.now())
        self._collect_static_files()
        self._serve(handles_signals=handles_signals)

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

        sockets = self._bind()
        host, port = sockets[0].getsockname()[:2]
        # Read now, because the database can't be queried directly once the event loop runs.
        model = catalogue_line()
        web.serve(
            sockets,
            when_ready=lambda: self._say_where(address_of(host, port), model=model),
            handles_signals=handles_signals,
        )

    def _bind(self) -> list[socket.socket]:
        hosts = listening_hosts(settings.HOST, settings.PORT)
        try:
            return [bind(host, settings.PORT) for host in hosts]
        except OSError as error:
            raise CommandError(
                f"Can't listen on {settings.HOST}:{settings.PORT}. Another program may be using it. "
                "Set PORT to another number."
            ) from error

    def _say_where(self, address: str, *, model: str) -> None:
        self.stdout.write(f"Model:        {model}\nChat:         {address}/\nAdmin:        {address}/admin/")
        self.stdout.write("Ready. Stop with Ctrl+C.")
        self.stdout.flush()


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
