"""`manage.py serve`: make everything ready and serve, in one process."""

import asyncio
import hashlib
import os
import secrets
from pathlib import Path
from typing import Any

import daphne.server
from daphne.endpoints import build_endpoint_description_strings
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from conversations.management import housekeeping
from conversations.models import ChatModel, User
from conversations.operations import access, catalogue


class Command(BaseCommand):
    """Migrate, make the first admin, collect static files, and serve until told to end."""

    help = "Make everything ready (database, first admin, static files) and serve the site."
    requires_system_checks = "__all__"

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        self._make_first_admin()
        catalogue.sync_catalogue()
        access.ensure_notice(now=timezone.now())
        self._collect_static_files()
        self._serve()

    def _make_first_admin(self) -> None:
        """Make an admin where there is none, with Django's own variables for it; the password is said once."""
        if User.objects.filter(is_superuser=True).exists():
            return
        username = os.environ.get("DJANGO_SUPERUSER_USERNAME") or "admin"
        email = os.environ.get("DJANGO_SUPERUSER_EMAIL", "")
        given = os.environ.get("DJANGO_SUPERUSER_PASSWORD", "")
        if User.objects.filter(username=username).exists():
            raise CommandError(
                f"There is no admin, and the name {username} is taken by somebody who is none: "
                "set DJANGO_SUPERUSER_USERNAME to another one."
            )
        password = given or secrets.token_urlsafe(12)
        User.objects.create_superuser(username=username, email=email, password=password)
        said = "the one in DJANGO_SUPERUSER_PASSWORD" if given else password
        self.stdout.write(f"First admin:  {username}\nPassword:     {said}")
        if not given:
            self.stdout.write("              (said only now: keep it, or change it after logging in)")

    def _collect_static_files(self) -> None:
        """Collect the static files where any of them changed since the last time."""
        stamp = Path(settings.STATIC_ROOT) / ".stamp"
        state = _state_of_static_files()
        if not stamp.exists() or stamp.read_text(encoding="ascii") != state:
            call_command("collectstatic", interactive=False, clear=True, verbosity=0)
            stamp.write_text(state, encoding="ascii")

    def _serve(self) -> None:
        # Imported only now: it reads the manifest of the static files, which may just have been written.
        from twisted.internet import reactor as installed

        from chatsite.asgi import application
        from conversations.generation.service import ensure_started

        # Its stubs describe the module, and not the reactor that is installed under its name.
        reactor: Any = installed
        # Looked up before the event loop runs, in which the database must not be asked directly.
        model = catalogue_line()
        # Cancelled with everything else that is left when the server has ended.
        background: list[asyncio.Task[None]] = []

        def start() -> None:
            ensure_started()
            background.append(housekeeping.start())
            for host, port in server.listening_addresses[:1]:
                self._say_where(host, port, model=model)

        server = daphne.server.Server(
            application=application,
            endpoints=build_endpoint_description_strings(host=settings.HOST, port=settings.PORT),
            # Its default closes every socket after a day, in a way that the page takes for the end.
            websocket_timeout=-1,
            application_close_timeout=10,
            verbosity=1,
            server_name="",
        )
        # Later and not "when running": only then does the loop itself run, which background tasks belong to.
        reactor.callLater(0, start)
        server.run()
        _finish(daphne.server.twisted_loop)
        if server.abort_start:
            raise CommandError(
                f"The address {settings.HOST}:{settings.PORT} can't be used: something else may be using it. "
                "Set PORT to another number."
            )

    def _say_where(self, host: str, port: int, *, model: str) -> None:
        shown = f"[{host}]" if ":" in host else host
        is_everywhere = shown in {"0.0.0.0", "[::]"}  # noqa: S104  (compared with, not bound to)
        address = settings.PUBLIC_URL or f"http://{'127.0.0.1' if is_everywhere else shown}:{port}"
        self.stdout.write(f"Model:        {model}\nChat:         {address}/\nAdmin:        {address}/admin/")
        self.stdout.write("Ready. Stop with Ctrl+C.")
        self.stdout.flush()


def _finish(loop: asyncio.AbstractEventLoop) -> None:
    """End what the server left waiting: CPython 3.11 can crash when it has to clear such tasks away as it exits."""
    pending = asyncio.all_tasks(loop)
    for task in pending:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())


def catalogue_line() -> str:
    """Return which model answers by default, or what to do where none can."""
    model = ChatModel.objects.offered(providers=catalogue.providers()).first()
    if model is None:
        return str(catalogue.SETUP_PROBLEM)
    place = "on this machine" if model.provider == ChatModel.Provider.EMBEDDED else settings.OPENAI_BASE_URL
    return f"{model.label} ({place or catalogue.OPENAI_API})"


def _state_of_static_files() -> str:
    """Return a digest over names, sizes and times of all static files."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            stat = Path(storage.path(path)).stat()
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()
