"""Prepare and serve the site in one process: `manage.py serve`."""

import asyncio
import hashlib
import ipaddress
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any

import daphne.server
from daphne.endpoints import build_endpoint_description_strings
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
from conversations.server.jobs import housekeeping, memory
from conversations.server.selectors import problem_of_layout

SWITCH_SECONDS = 0.0005
"""How long a thread may hold the interpreter lock while others wait."""

HANDSHAKE_SECONDS = 30
"""How long a websocket may take to be accepted. Daphne's default of 5 s is too short when hundreds of pages reconnect."""


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
        from twisted.internet import reactor as installed

        from chatsite import http_limits, websocket_limits
        from chatsite.asgi import application
        from conversations.chat.generation.service import ensure_started

        # The stubs describe the module, not the reactor that is installed under its name.
        reactor: Any = installed
        # Read now, because the database can't be queried directly once the event loop runs.
        model = catalogue_line()
        # Cancelled with all other remaining tasks when the server has ended.
        background: list[asyncio.Task[None]] = []

        def start() -> None:
            ensure_started()
            memory.freeze()
            background.extend((housekeeping.start(), memory.start()))
            for host, port in server.listening_addresses[:1]:
                self._say_where(address_of(host, port), model=model)

        def limit() -> None:
            http_limits.limit(server.http_factory)
            websocket_limits.limit(server.ws_factory)

        server: daphne.server.Server = daphne.server.Server(
            application=application,
            endpoints=[
                endpoint
                for host in listening_hosts(settings.HOST, settings.PORT)
                for endpoint in build_endpoint_description_strings(host=host, port=settings.PORT)
            ],
            # The default closes every websocket after a day, and the page would not reconnect.
            websocket_timeout=-1,
            websocket_handshake_timeout=HANDSHAKE_SECONDS,
            application_close_timeout=10,
            verbosity=1,
            signal_handlers=handles_signals,
            server_name="",
            # Called once its factories exist, before they accept connections.
            ready_callable=limit,
        )
        # The event loop waits this long for the interpreter lock each time a rendering thread holds it. Python's default of
        # 5 ms adds up, because a request changes threads dozens of times.
        sys.setswitchinterval(SWITCH_SECONDS)
        # Not "when running", because background tasks need the event loop itself to run.
        reactor.callLater(0, start)
        server.run()
        _finish(daphne.server.twisted_loop)
        if server.abort_start:
            raise CommandError(
                f"Can't listen on {settings.HOST}:{settings.PORT}. Another program may be using it. "
                "Set PORT to another number."
            )

    def _say_where(self, address: str, *, model: str) -> None:
        self.stdout.write(f"Model:        {model}\nChat:         {address}/\nAdmin:        {address}/admin/")
        self.stdout.write("Ready. Stop with Ctrl+C.")
        self.stdout.flush()


def _finish(loop: asyncio.AbstractEventLoop) -> None:
    """End the tasks that the server left, because CPython 3.11 can crash if it must do so on exit."""
    pending = asyncio.all_tasks(loop)
    for task in pending:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())


def listening_hosts(host: str, port: int) -> list[str]:
    """Return the addresses to listen on: for localhost both loopback addresses, because browsers may try either first.

    Only IPv4 if the machine has no IPv6, or if the system picks the port, which it would do for each address.
    """
    if host != "localhost":
        return [host]
    return ["127.0.0.1", "::1"] if port and _has_ipv6_loopback() else ["127.0.0.1"]


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def address_of(host: str, port: int) -> str:
    """Return the address of the site to open in a browser. Passkeys work on localhost, but on no IP address."""
    ip = ipaddress.ip_address(host)
    name = "localhost" if ip.is_loopback or ip.is_unspecified else f"[{ip}]" if ip.version == 6 else str(ip)
    return settings.PUBLIC_URL or f"http://{name}:{port}"


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
