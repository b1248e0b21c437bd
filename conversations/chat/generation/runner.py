"""The runner, which claims generations and writes their answers.

The same class runs inside the web process or, scaled out, in separate processes (`manage.py generate`). It never
depends on a viewer: a generation ends only with its answer, a stop, a limit or an error.
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
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from conversations.chat.models import ErrorCode, Generation, PartKind
from conversations.chat.models.conversations import PART_SEPARATOR
from conversations.limits import rules as limits
from conversations.llm.chat import ChatRequest, Delta, Finish, Reasoning, Usage
from conversations.llm.embedded import EmbeddedUnavailable
from conversations.llm.errors import UpstreamError, UpstreamErrorCode

from . import changes, ending, handover, journal, prompt, reaper
from .attempts import Attempts
from .heartbeats import HeartbeatWatch
from .live import Hub, LiveText
from .transcript import Part
from .upstreams import Upstreams

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.15
"""How often new text is committed. A crash loses at most this much, plus the time of one commit."""
MIN_PAUSE_SECONDS = 0.05
"""The minimum pause between two commits, even if one takes longer than FLUSH_SECONDS, so that others can write too."""
POLL_SECONDS = 1.0
"""How often the queue and stop requests are checked without being notified."""
REAP_SECONDS = 5.0
CLAIM_AT_ONCE = 25
"""How many generations one transaction claims. These start before more are claimed."""


@dataclass(slots=True)
class _StartedPart:
    """The start of a part of the reasoning.

    `position` is the part's number in the message, and `offset` how much text comes before it. `begins` and `start` are
    offsets in the live reasoning, before and after the separator.
    """

    position: int
    offset: int
    begins: int
    start: int
    duration_ms: int = 0


@dataclass(slots=True, eq=False)
class _Running:
    """A generation that this runner is writing."""

    job: journal.Job
    live: LiveText
    relay: "asyncio.Task[None]" = field(init=False)
    request: ChatRequest | None = None
    asked_at: float = 0.0
    """When the request was sent or the last event arrived, in monotonic time."""
    kind: PartKind | None = None
    part: int = 0
    begun_parts: list[_StartedPart] = field(default_factory=list)
    unwritten: list[journal.Chunk] = field(default_factory=list)
    """Chunks not yet passed to the journal."""
    stop_as: Generation.Status | None = None
    is_lost: bool = False
    first_token_at: dt.datetime | None = None
    finish_reason: str = ""
    usage: Usage | None = None

    def append(self, kind: PartKind, text: str, *, at: float) -> None:
        """Add the next piece of the answer, which arrived at this monotonic time."""
        live = self.live
        if kind != self.kind:
            self.part = self.job.first_part if self.kind is None else self.part + 1
        if kind == PartKind.TEXT:
            offset = live.length
            live.append(text)
        else:
            offset = live.reasoning.length
            passed = round(1000 * (at - self.asked_at))
            if kind != self.kind:
                text = PART_SEPARATOR + text if offset else text
                start = offset + len(PART_SEPARATOR) if offset else 0
                self.begun_parts.append(
                    _StartedPart(self.part, live.length - len(self.job.existing_text), offset, start)
                )
            self.begun_parts[-1].duration_ms += passed
            live.put_reasoning(offset, text, so_far_ms=live.reasoning_ms + passed)
        self.kind, self.asked_at = kind, at
        chunk = journal.Chunk(self.job.generation_id, self.part, kind, offset, text, live.reasoning_ms)
        last = self.unwritten[-1] if self.unwritten else None
        if last is not None and last.part == chunk.part:
            chunk = replace(chunk, offset=last.offset, text=last.text + text)
            self.unwritten.pop()
        self.unwritten.append(chunk)

    @property
    def parts(self) -> list[Part]:
        """The parts that this generation has added beside its text."""
        ends = [*(part.begins for part in self.begun_parts[1:]), self.live.reasoning.length]
        return [
            Part(
                part.position,
                PartKind.REASONING,
                part.offset,
                self.live.reasoning.since(part.start)[: end - part.start],
                part.duration_ms,
            )
            for part, end in zip(self.begun_parts, ends, strict=False)
        ]

    def stop(self, status: Generation.Status) -> None:
        """Close the upstream request and end the generation with this status."""
        if self.stop_as is None and not self.relay.done():
            self.stop_as = status
            self.relay.cancel()


class Runner:
    """Claims queued generations, writes their answers and keeps the journal, until it is drained."""

    def __init__(self, hub: Hub, *, upstreams: Upstreams | None = None) -> None:
        self.process_id = journal.make_process_id()
        self._hub = hub
        self._upstreams = upstreams or Upstreams()
        self._running: dict[int, _Running] = {}
        self._uncommitted: list[journal.Chunk] = []
        self._tasks: set[asyncio.Task[None]] = set()
        # One for all generations, because the database is unavailable for all or for none.
        self._preparing = Attempts(
            "A request could not be prepared", logger=logger, kinds=(OperationalError, InterfaceError)
        )
        self._finishing = Attempts("The end of a generation could not be saved", logger=logger)
        self._draining = asyncio.Event()
        self._stopped = asyncio.Event()
        self._news = hub.add_runner()
        self.places = handover.Places(runner=self.process_id, begin=self._begin)

    async def run(self) -> None:
        """Run until drained, then close all upstream connections."""
        loops = [
            self._spawn(self._claim_loop()),
            self._spawn(self._flush_loop()),
            self._spawn(self._reap_loop()),
        ]
        try:
            await asyncio.wait(loops)
            # The loops end when draining starts. The remaining tasks have been told to stop and are saving their
            # text.
            while self._tasks:
                await asyncio.wait(set(self._tasks))
        finally:
            self.places.close()
            self._hub.remove_runner(self._news)
            await self._upstreams.aclose()
            self._stopped.set()

    async def drain(self) -> None:
        """Claim no more generations, interrupt those that are running, and wait until their text is saved."""
        self._draining.set()
        self.places.close()
        self._news.turns.set()
        self._news.stops.set()
        for running in list(self._running.values()):
            running.stop(Generation.Status.INTERRUPTED)
        await self._stopped.wait()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        # With a fresh context: an inherited one would keep the caller's resources alive, such as database
        # connections.
        task = asyncio.get_running_loop().create_task(coroutine, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _sleep(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for the event, but no longer than this."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    # --- The queue ---

    async def _claim_loop(self) -> None:
        reading = Attempts("The queue could not be read", logger=logger)
        while not self._draining.is_set():
            self._news.turns.clear()
            with reading:
                await self._claim()
            await self._sleep(self._news.turns, POLL_SECONDS)

    async def _claim(self) -> None:
        while limit := self.places.take(CLAIM_AT_ONCE):
            jobs: list[journal.Job] = []
            try:
                jobs = await database_sync_to_async(journal.claim)(
                    runner=self.process_id, limit=limit, now=timezone.now()
                )
            finally:
                self.places.give_back(limit - len(jobs))
            for job in jobs:
                self._begin(job)
            if len(jobs) < limit or self._draining.is_set():
                return

    def _begin(self, job: journal.Job) -> None:
        """Begin a generation. Its place is taken already."""
        live = self._hub.text_of(job.generation_id)
        live.is_written_here = True
        live.put(0, job.existing_text)
        live.put_reasoning(0, job.existing_reasoning, so_far_ms=job.existing_reasoning_ms)
        running = _Running(job=job, live=live)
        # Create the relay at once, so that the generation can be stopped at any time.
        running.relay = self._spawn(self._relay(running))
        self._running[job.generation_id] = running
        self._spawn(self._generate(running))
        if self._draining.is_set():
            running.stop(Generation.Status.INTERRUPTED)

    # --- One generation ---

    async def _generate(self, running: _Running) -> None:
        """Write one generation from its claim to its end."""
        await asyncio.wait({running.relay})
        is_announced = False
        try:
            if not running.is_lost:
                is_announced = await self._finish(running, self._outcome(running))
        finally:
            self._running.pop(running.job.generation_id, None)
            self.places.give_back()
            # Viewers hear of the change before the text ends, so that they handle both at once.
            if not is_announced:
                changes.announce(running.job.conversation_id, changes.Change.END)
            running.live.end()
            self._hub.forget(running.job.generation_id)

    async def _relay(self, running: _Running) -> None:
        """Append the upstream's events to the live text until the stream ends."""
        request = running.request = await self._prepare(running.job)
        client = await self._upstreams.client(running.job.generation.model.provider)
        running.asked_at = time.monotonic()
        answer = client.stream_chat(request, pause=self._hub.pace.reading)
        async with contextlib.aclosing(answer) as events:
            async for event in events:
                if isinstance(event, Delta | Reasoning):
                    if running.first_token_at is None:
                        running.first_token_at = timezone.now()
                    kind = PartKind.TEXT if isinstance(event, Delta) else PartKind.REASONING
                    running.append(kind, event.text, at=time.monotonic())
                elif isinstance(event, Finish):
                    running.finish_reason = event.reason
                elif isinstance(event, Usage):
                    running.usage = event

    async def _prepare(self, job: journal.Job) -> ChatRequest:
        """Return the request, retrying for as long as the database is unavailable."""
        while True:
            with self._preparing:
                request: ChatRequest = await database_sync_to_async(prompt.prepare)(job.generation)
                return request
            await asyncio.sleep(POLL_SECONDS)

    def _outcome(self, running: _Running) -> ending.Outcome:
        """Return how the generation ended, based on the result of its relay."""
        status, error_code, retry_at = Generation.Status.COMPLETE, "", None
        error = None if running.relay.cancelled() else running.relay.exception()
        if running.stop_as is not None:
            status = running.stop_as
        elif isinstance(error, UpstreamError):
            status, error_code = Generation.Status.FAILED, ErrorCode(error.code.value)
            if error.code == UpstreamErrorCode.INTERRUPTED and running.kind is not None:
                status = Generation.Status.INTERRUPTED
            if error.retry_after is not None:
                retry_at = timezone.now() + dt.timedelta(seconds=error.retry_after)
        elif isinstance(error, limits.WindowExceeded):
            status, error_code = Generation.Status.FAILED, ErrorCode.CONTEXT_LENGTH
        elif isinstance(error, EmbeddedUnavailable):
            logger.error("The demo model could not be started: %s", error)
            status, error_code = Generation.Status.FAILED, ErrorCode.NO_MODEL
        elif error is not None:
            # Only the type: the message of an unexpected error may quote the prompt or the answer.
            logger.error("A generation failed unexpectedly: %s", type(error).__qualname__)
            status, error_code = Generation.Status.FAILED, ErrorCode.INTERNAL
        elif running.relay.cancelled():
            status = Generation.Status.INTERRUPTED
        text = running.live.since(len(running.job.existing_text))
        return ending.Outcome(
            status=status,
            text=text,
            parts=running.parts,
            finish_reason=running.finish_reason,
            error_code=error_code,
            retry_at=retry_at,
            first_token_at=running.first_token_at,
            usage=running.usage,
        )

    async def _finish(self, running: _Running, outcome: ending.Outcome) -> bool:
        """Save the end, retrying while the database is unavailable. Until then the text exists only in memory.

        Returns whether the end was announced.
        """
        delay = 0.2
        while True:
            with self._finishing:
                is_announced: bool = await database_sync_to_async(ending.finish)(
                    job=running.job,
                    runner=self.process_id,
                    outcome=outcome,
                    request=running.request,
                    now=timezone.now(),
                )
                return is_announced
            if self._draining.is_set() and delay > 2:
                return False
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)

    # --- The journal ---

    async def _flush_loop(self) -> None:
        writing = Attempts("The journal could not be written", logger=logger)
        last_look = 0.0
        while not self._draining.is_set():
            begun = time.monotonic()
            is_asked = self._news.stops.is_set()
            self._news.stops.clear()
            with writing:
                await self._flush()
                if is_asked or begun - last_look >= POLL_SECONDS:
                    await self._look()
                    last_look = begun
            if writing.is_failing:
                # Take the full pause after a failed attempt, so that attempts don't follow each other immediately.
                begun = time.monotonic()
            pause = max(FLUSH_SECONDS - (time.monotonic() - begun), MIN_PAUSE_SECONDS)
            await self._sleep(self._news.stops if self._running else self._draining, pause)

    async def _flush(self) -> None:
        """Commit the new text of all generations in one transaction."""
        # A commit may succeed even if it raised an error, so it is repeated with the same chunks.
        if not self._uncommitted:
            for running in self._running.values():
                self._uncommitted += running.unwritten
                running.unwritten = []
        if self._uncommitted:
            await database_sync_to_async(journal.commit)(chunks=self._uncommitted)
            self._uncommitted = []

    async def _look(self) -> None:
        """Renew the heartbeats, and act on stop requests."""
        if not self._running:
            return
        stopping, lost = await database_sync_to_async(journal.beat)(
            runner=self.process_id, generation_ids=list(self._running), now=timezone.now()
        )
        for pk in stopping | lost:
            running = self._running.get(pk)
            if running is not None and not running.relay.done():
                running.is_lost = pk in lost
                running.stop(Generation.Status.STOPPED)

    async def _reap_loop(self) -> None:
        watch = HeartbeatWatch[int](settings.GENERATION_LEASE_SECONDS)
        looking = Attempts("The check for dead generations failed", logger=logger)
        pause = min(REAP_SECONDS, watch.interval / 2)
        while not self._draining.is_set():
            with looking:
                for conversation_id in await database_sync_to_async(reaper.reap)(
                    watch=watch,
                    spared=list(self._running),
                    now=timezone.now(),
                    monotonic=time.monotonic(),
                ):
                    changes.announce(conversation_id)
            await self._sleep(self._draining, pause)
