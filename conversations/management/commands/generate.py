"""`manage.py generate`: a runner in a process of its own."""

import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand

from conversations.generation.service import Service


class Command(BaseCommand):
    """Write the answers that web processes with GENERATION_RUNNER=worker leave to others."""

    help = (
        "Run the generation of answers in this process, beside web processes with GENERATION_RUNNER=worker."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        service = Service(with_runner=True)
        ending = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending.set)
        assert service.runner is not None
        self.stdout.write(f"Generating as {service.runner.owner}. Stop with Ctrl+C.")
        self.stdout.flush()
        await ending.wait()
        await service.drain()
