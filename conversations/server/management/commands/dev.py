"""Run the site for development: `./dev`."""

import os
import signal
import subprocess
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from conversations.server.management.supervisor import MANAGE


class Command(BaseCommand):
    """Serve the site with a fake upstream, and restart it when the code changes."""

    help = "Serve the site with a fake upstream, and restart it when the code changes."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        if os.environ.get("DJANGO_SUPERUSER_PASSWORD") == "admin":
            self.stdout.write("Sign in as admin with the password admin.")
            self.stdout.flush()
        has_service = settings.OPENAI_BASE_URL or settings.OPENAI_API_KEY
        upstream = None if has_service else self._start_upstream()
        environment = {**os.environ, "DEBUG": "1"}
        if upstream is not None:
            assert upstream.stdout is not None
            environment["OPENAI_BASE_URL"] = upstream.stdout.readline().strip()
            environment.setdefault("CHAT_MODEL", "fake")
        server = subprocess.Popen([*MANAGE, "serve", "--reload"], env=environment)  # noqa: S603
        # This process ends when the server has.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: server.terminate())
        try:
            sys.exit(server.wait())
        finally:
            if upstream is not None:
                upstream.terminate()
                upstream.wait()

    def _start_upstream(self) -> subprocess.Popen[str]:
        self.stdout.write(
            "Answers come from a fake model. Write fault:NAME in a message to see what happens if a model service fails;\n"
            "`manage.py fake_upstream --help` lists the names."
        )
        self.stdout.flush()
        command = [*MANAGE, "fake_upstream", "--port", "0"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
