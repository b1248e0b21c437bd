"""Run the fake upstream, to try the site without a model: `OPENAI_BASE_URL=http://127.0.0.1:9000/v1`."""

import asyncio
import contextlib
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from conversations.server.management.fake_answers import FAULTS
from conversations.server.management.fake_upstream import FakeUpstream


class Command(BaseCommand):
    """The command, which needs no database and none of the site's settings."""

    help = "Run a fake OpenAI-compatible server that answers with a sample text or a fault."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--host", default="127.0.0.1", help="Address to listen on.")
        parser.add_argument("--port", type=int, default=9000, help="Port to listen on.")
        parser.add_argument("--rate", type=float, default=50, help="Deltas per second. 0 means no limit.")
        parser.add_argument("--chars", type=int, default=5, help="Characters per delta.")
        parser.add_argument("--length", type=int, help="Deltas per answer. By default, the sample text once.")
        parser.add_argument("--stamps", action="store_true", help="Make each delta the time it was sent.")
        parser.add_argument(
            "--fault",
            choices=sorted(FAULTS),
            default="",
            help="Fault to answer with. For one request, use the model fault-NAME or the word fault:NAME.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until interrupted."""
        names = ("host", "port", "rate", "chars", "length", "stamps", "fault")
        upstream = FakeUpstream(**{name: options[name] for name in names}, kept=100)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(self._serve(upstream))

    async def _serve(self, upstream: FakeUpstream) -> None:
        async with upstream:
            self.stdout.write(upstream.base_url)
            self.stdout.flush()
            await asyncio.Event().wait()
