"""Runs the fake upstream, to try the site without a model: `OPENAI_BASE_URL=http://127.0.0.1:9000/v1`."""

import asyncio
import contextlib
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from conversations.management.fake_answers import FAULTS
from conversations.management.fake_upstream import FakeUpstream


class Command(BaseCommand):
    """The command. It needs no database and no settings of the site."""

    help = "Runs a fake of an OpenAI-compatible server, which answers with a sample text or with a fault."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--host", default="127.0.0.1", help="The address to listen at.")
        parser.add_argument("--port", type=int, default=9000, help="The port to listen at.")
        parser.add_argument("--rate", type=float, default=50, help="Deltas a second; 0 for no limit.")
        parser.add_argument("--chars", type=int, default=5, help="Characters a delta.")
        parser.add_argument("--length", type=int, help="Deltas an answer; the sample text once by default.")
        parser.add_argument("--stamps", action="store_true", help="Let each delta be the time it is sent.")
        parser.add_argument(
            "--fault",
            choices=sorted(FAULTS),
            default="",
            help="The fault to answer with. One request gets it by the model fault-NAME or the word fault:NAME.",
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
