"""The runner: owns the task of each generation that this process writes.

The same class runs inside the web process and, scaled out, in processes of its own (`manage.py generate`). It never
depends on a viewer: only a stop, a cap, an error or the end of the answer ends a generation.
"""

import asyncio
import contextlib
import contextvars
import datetime as dt
import logging
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.utils import timezone

from conversations.llm import tokens
from conversations.llm.client import Delta, Finish, UpstreamError, UpstreamErrorCode, Usage
from conversations.llm.embedded import EmbeddedUnavailable
from conversations.models import ErrorCode, Generation

from . import doorbell, journal
from .live import Hub, LiveText
from .upstreams import Upstreams

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.15
"""How often new text is committed. What a crash can lose is this and the time of one commit."""
LOOK_SECONDS = 1.0
"""How often the queue and the wishes to stop are looked at without a hint."""
REAP_SECONDS = 5.0
CLAIM_AT_ONCE = 25
"""How many generations are claimed in one transaction, after which those claimed begin and others get their turn."""


@dataclass(slots=True, eq=False)
class _Running:
    """A generation that is being written here."""

    job: journal.Job
    live: LiveText
    relay: "asyncio.Task[None]" = field(init=False)
    flushed: int = 0
    stop_as: Generation.Status | None = None
    is_lost: bool = False
    first_token_at: dt.datetime | None = None
    finish_reason: str = ""
    usage: Usage | None = None

    def stop(self, status: Generation.Status) -> None:
        """Close the upstream request; the generation then ends with this status."""
        if self.stop_as is None and not self.relay.done():
            self.stop_as = status
            self.relay.cancel()


class Runner:
    """Claims waiting generations, writes them, and keeps their journal, until it is drained."""

    def __init__(self, hub: Hub, *, upstreams: Upstreams | None = None) -> None:
        self.owner = journal.make_owner()
        self._hub = hub
        self._upstreams = upstreams or Upstreams()
        self._running: dict[int, _Running] = {}
        self._uncommitted: list[tuple[int, int, str]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = asyncio.Event()
        self._stopped = asyncio.Event()
        self._news = hub.add_runner()

    async def run(self) -> None:
        """Work until drained, then close all upstream connections."""
        loops = [
            self._spawn(self._claim_loop()),
            self._spawn(self._flush_loop()),
            self._spawn(self._reap_loop()),
        ]
        try:
            await asyncio.wait(loops)
            # The loops end when draining has begun; what still runs has been told to stop and is being finished.
            while self._tasks:
                await asyncio.wait(set(self._tasks))
        finally:
            self._hub.remove_runner(self._news)
            await self._upstreams.aclose()
            self._stopped.set()

    async def drain(self) -> None:
        """Take nothing more, end what runs as interrupted with its text kept, and wait until that is done."""
        self._draining.set()
        self._news.turns.set()
        self._news.stops.set()
        for running in list(self._running.values()):
            running.stop(Generation.Status.INTERRUPTED)
        await self._stopped.wait()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        # A fresh context: an inherited one would keep alive what the caller's request holds, such as connections.
        task = asyncio.get_running_loop().create_task(coroutine, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _sleep(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for the event or the time, whichever is first."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)

    # --- The queue ---

    async def _claim_loop(self) -> None:
        while not self._draining.is_set():
            self._news.turns.clear()
            try:
                await self._claim()
            except Exception:
                logger.exception("The queue could not be read; it is tried again.")
            await self._sleep(self._news.turns, LOOK_SECONDS)

    async def _claim(self) -> None:
        while (free := settings.GENERATION_CONCURRENCY - len(self._running)) > 0:
            limit = min(free, CLAIM_AT_ONCE)
            jobs = await database_sync_to_async(journal.claim)(
                owner=self.owner, limit=limit, now=timezone.now()
            )
            for job in jobs:
                self._begin(job)
            if len(jobs) < limit or self._draining.is_set():
                return

    def _begin(self, job: journal.Job) -> None:
        live = self._hub.text_of(job.generation_id)
        live.is_written_here = True
        live.put(0, job.base)
        running = _Running(job=job, live=live, flushed=len(job.base))
        # The relay is there from the beginning, so that it can be told to stop at any time.
        running.relay = self._spawn(self._relay(running))
        self._running[job.generation_id] = running
        self._spawn(self._generate(running))
        if self._draining.is_set():
            running.stop(Generation.Status.INTERRUPTED)

    # --- One generation ---

    async def _generate(self, running: _Running) -> None:
        """Write one generation from its claim to its end."""
        await asyncio.wait({running.relay})
        outcome = self._outcome(running)
        try:
            if not running.is_lost:
                await self._finish(running, outcome)
        finally:
            self._running.pop(running.job.generation_id, None)
            # Who watches the text looks when it ends; to have heard of that before spares them a second look.
            doorbell.ring(running.job.conversation_id, doorbell.News.END)
            running.live.end()
            self._hub.forget(running.job.generation_id)

    async def _relay(self, running: _Running) -> None:
        """Append what the model says to the live text, until the stream ends. Touches no database."""
        client = await self._upstreams.client(running.job.provider)
        async with contextlib.aclosing(client.stream_chat(running.job.request)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    if running.first_token_at is None:
                        running.first_token_at = timezone.now()
                    running.live.append(event.text)
                elif isinstance(event, Finish):
                    running.finish_reason = event.reason
                elif isinstance(event, Usage):
                    running.usage = event

    def _outcome(self, running: _Running) -> journal.Outcome:
        """Return how the generation ended, from how its relay did."""
        status, error_code, retry_at = Generation.Status.COMPLETE, "", None
        error = None if running.relay.cancelled() else running.relay.exception()
        if running.stop_as is not None:
            status = running.stop_as
        elif isinstance(error, UpstreamError):
            status, error_code = Generation.Status.FAILED, ErrorCode(error.code.value)
            if error.code == UpstreamErrorCode.INTERRUPTED and running.live.length > len(running.job.base):
                status = Generation.Status.INTERRUPTED
            if error.retry_after is not None:
                retry_at = timezone.now() + dt.timedelta(seconds=error.retry_after)
        elif isinstance(error, EmbeddedUnavailable):
            logger.error("The demo model could not be started: %s", error)
            status, error_code = Generation.Status.FAILED, ErrorCode.NO_MODEL
        elif error is not None:
            # The type alone: a message of an unexpected error may hold what was asked or answered.
            logger.error("A generation failed unexpectedly: %s", type(error).__qualname__)
            status, error_code = Generation.Status.FAILED, ErrorCode.INTERNAL
        elif running.relay.cancelled():
            status = Generation.Status.INTERRUPTED
        text = running.live.since(len(running.job.base))
        return journal.Outcome(
            status=status,
            text=text,
            finish_reason=running.finish_reason,
            error_code=error_code,
            retry_at=retry_at,
            first_token_at=running.first_token_at,
            prompt_tokens=running.usage.prompt_tokens if running.usage else None,
            completion_tokens=running.usage.completion_tokens if running.usage else None,
        )

    async def _finish(self, running: _Running, outcome: journal.Outcome) -> None:
        """Write the end, again and again while the database is away: the text is only here until then."""
        delay = 0.2
        while True:
            try:
                await database_sync_to_async(_finish)(running.job, self.owner, outcome)
                return
            except Exception:
                logger.exception("The end of a generation could not be written; it is tried again.")
                if self._draining.is_set() and delay > 2:
                    return
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)

    # --- The journal ---

    async def _flush_loop(self) -> None:
        last_look = 0.0
        while not self._draining.is_set():
            begun = time.monotonic()
            is_asked = self._news.stops.is_set()
            self._news.stops.clear()
            try:
                await self._flush()
                if is_asked or begun - last_look >= LOOK_SECONDS:
                    await self._look()
                    last_look = begun
            except Exception:
                logger.exception("The journal could not be written; it is tried again.")
            # A slow database is given four times as long to rest as a commit took.
            took = time.monotonic() - begun
            pause = max(FLUSH_SECONDS - took, 4 * took, 0.02)
            await self._sleep(self._news.stops if self._running else self._draining, min(pause, 1.0))

    async def _flush(self) -> None:
        """Commit the new text of all generations in one transaction."""
        # A commit that failed may have come through all the same, so it is made again with the same chunks.
        chunks = self._uncommitted or [
            (pk, running.flushed, running.live.since(running.flushed))
            for pk, running in self._running.items()
            if running.live.length > running.flushed
        ]
        if chunks:
            self._uncommitted = chunks
            await database_sync_to_async(journal.commit)(chunks=chunks)
            self._uncommitted = []
            for pk, offset, text in chunks:
                if pk in self._running:
                    self._running[pk].flushed = offset + len(text)

    async def _look(self) -> None:
        """Show that the generations are alive, and act on wishes to stop."""
        if not self._running:
            return
        stopping, lost = await database_sync_to_async(journal.beat)(
            owner=self.owner, generation_ids=list(self._running), now=timezone.now()
        )
        for pk in stopping | lost:
            running = self._running.get(pk)
            if running is not None and not running.relay.done():
                running.is_lost = pk in lost
                running.stop(Generation.Status.STOPPED)

    async def _reap_loop(self) -> None:
        lease = dt.timedelta(seconds=settings.GENERATION_LEASE_SECONDS)
        while not self._draining.is_set():
            try:
                for conversation_id in await database_sync_to_async(journal.reap)(
                    now=timezone.now(), lease=lease
                ):
                    doorbell.ring(conversation_id)
            except Exception:
                logger.exception("Dead generations could not be looked for; it is tried again.")
            await self._sleep(self._draining, REAP_SECONDS)


def _finish(job: journal.Job, owner: str, outcome: journal.Outcome) -> None:
    journal.finish(job=job, owner=owner, outcome=_with_usage(job, outcome), now=timezone.now())


def _with_usage(job: journal.Job, outcome: journal.Outcome) -> journal.Outcome:
    """Count the tokens where the service did not say them, and mark the count as estimated."""
    if outcome.prompt_tokens is not None or (outcome.error_code and not outcome.text):
        return outcome
    model = job.request.model
    return replace(
        outcome,
        prompt_tokens=tokens.count_messages(job.request.messages, model=model).tokens,
        completion_tokens=tokens.count(outcome.text, model=model).tokens,
        usage_is_estimated=True,
    )
