"""`manage.py generate`: run a runner in a process of its own."""

import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand

from conversations.chat.generation.service import Service


class Command(BaseCommand):
    """Generate answers for web processes that run with GENERATION_RUNNER=worker."""

    help = "Generate answers in this process, for web processes that run with GENERATION_RUNNER=worker."

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        service = Service(with_runner=True)
        ending = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending.set)
        assert service.runner is not None
        self.stdout.write(f"Generating as {service.runner.process_id}. Press Ctrl+C to stop.")
        self.stdout.flush()
        await ending.wait()
        await service.drain()
