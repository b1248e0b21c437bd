"""The journal: the text of running generations, kept in the database. All functions are synchronous and short.

A generation starts here, when a runner claims it. `ending.py` ends it.
"""

import datetime as dt
import hashlib
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, prefetch_related_objects

from conversations.chat.models import (
    Generation,
    GenerationChunk,
    Message,
    MessagePart,
    PartKind,
    statements,
)

# Databases limit the number of terms in an SQL condition.
_READ_AT_ONCE = 100


def _name_of_namespace() -> str:
    """Return a name for the process ID namespace that this process runs in.

    The host name isn't enough: containers on the host's network share it, but can't see each other's processes, and
    each would conclude that the other's had died.
    """
    name = socket.gethostname()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        identity = f"{name}\0{boot}\0{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return name[:32]
    return f"{name[:19]}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


_HOST = _name_of_namespace()
_ids_here: set[str] = set()


def make_process_id() -> str:
    """Return a unique name for a component of this process, such as its runner: host, process ID and a random part."""
    name = f"{_HOST}:{os.getpid()}:{secrets.token_hex(4)}"
    _ids_here.add(name)
    return name


@dataclass(frozen=True, slots=True)
class Job:
    """A generation that a runner has claimed."""

    generation: Generation
    """As it was when it was claimed, with its message, model and the owner of the conversation."""
    existing_text: str
    """The message's text before this generation."""
    existing_reasoning: str = ""
    existing_reasoning_ms: int = 0
    first_part: int = 0
    """The number of the first part that this generation adds to the message."""

    @property
    def generation_id(self) -> int:
        return self.generation.pk

    @property
    def conversation_id(self) -> int:
        return self.generation.conversation_id

    @property
    def message_id(self) -> int:
        return self.generation.message_id


@dataclass(frozen=True, slots=True)
class Chunk:
    """New text of one part since the last commit. The fields match those of GenerationChunk."""

    generation_id: int
    part: int
    kind: PartKind
    offset: int
    text: str
    reasoning_ms: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """How much of a message a copy has read, in characters of text and of reasoning."""

    text: int = 0
    reasoning: int = 0


@dataclass(slots=True)
class Progress:
    """What a message has gained since then, and how long the model has reasoned in all."""

    text: str = ""
    reasoning: str = ""
    reasoning_ms: int = 0
    has_ended: bool = True


def claim(*, runner: str, limit: int, now: dt.datetime) -> list[Job]:
    """Claim up to `limit` queued generations for this runner, oldest first."""
    waiting = Generation.objects.filter(status=Generation.Status.QUEUED).order_by("created_at")
    # The queue is usually empty, and this check needs no lock.
    if not waiting.exists():
        return []
    # One transaction, because if this call failed halfway, no one would write the generations it had claimed. Rows
    # that another runner is claiming are skipped.
    with transaction.atomic():
        found = waiting.select_for_update(skip_locked=True, of=("self",))
        has_parts = Exists(MessagePart.objects.filter(message=OuterRef("message")))
        related = found.select_related("model", "message", "conversation__owner")
        claimed: list[Any] = list(related.annotate(has_parts=has_parts)[:limit])
        mine = Generation.objects.filter(pk__in=[generation.pk for generation in claimed])
        won = mine.filter(status=Generation.Status.QUEUED).update(
            status=Generation.Status.RUNNING, runner=runner, started_at=now, heartbeat_at=now
        )
        if won != len(claimed):
            # Some ended between the two statements, which only SQLite without a write lock would allow.
            pks = set(mine.filter(runner=runner).values_list("pk", flat=True))
            claimed = [generation for generation in claimed if generation.pk in pks]
        prefetch_related_objects([each.message for each in claimed if each.has_parts], "parts")
    return [_job(each, has_parts=each.has_parts) for each in claimed]


def _job(generation: Generation, *, has_parts: bool) -> Job:
    answer = generation.message
    parts = list(answer.parts.all()) if has_parts else []
    return Job(
        generation=generation,
        existing_text=answer.text,
        existing_reasoning=answer.reasoning if has_parts else "",
        existing_reasoning_ms=sum(part.duration_ms for part in parts),
        first_part=(parts[-1].position + 1 if parts else 0) + bool(answer.text),
    )


def commit(*, chunks: Sequence[Chunk]) -> None:
    """Save new text of any number of generations in one transaction.

    Skips chunks of generations that have ended, for example because the conversation was deleted or another process
    interrupted them. Also skips chunks that exist already: if the connection is lost during a commit, the same chunks
    are committed again.
    """
    if not chunks:
        return
    with transaction.atomic():
        running = set(
            Generation.objects.select_for_update()
            .filter(pk__in={chunk.generation_id for chunk in chunks}, status=Generation.Status.RUNNING)
            .values_list("pk", flat=True)
        )
        statements.insert_missing_chunks(chunk for chunk in chunks if chunk.generation_id in running)


def beat(*, runner: str, generation_ids: Sequence[int], now: dt.datetime) -> tuple[set[int], set[int]]:
    """Renew the heartbeats of these generations.

    Returns the IDs of those asked to stop, and of those that no longer belong to this runner.
    """
    mine = Generation.objects.filter(pk__in=generation_ids, status=Generation.Status.RUNNING, runner=runner)
    mine.update(heartbeat_at=now)
    asked = dict(mine.values_list("pk", "stop_requested_at"))
    return {pk for pk, at in asked.items() if at is not None}, set(generation_ids) - set(asked)


def read_copies(known: dict[int, Known]) -> dict[int, Progress]:
    """Return what the messages of these generations have gained beyond what is known.

    A deleted generation counts as ended. What is known is either nothing or the result of earlier calls, so nothing is
    read twice.
    """
    # Status before text; `transcript.complete` explains why the order matters.
    active = dict(Generation.objects.active().filter(pk__in=known).values_list("pk", "message_id"))
    found = {pk: Progress(has_ended=pk not in active) for pk in known}
    new = {message_id: pk for pk, message_id in active.items() if known[pk] == Known()}
    if new:
        for message in Message.objects.filter(pk__in=new).prefetch_related("parts"):
            progress = found[new[message.pk]]
            progress.text, progress.reasoning = message.text, message.reasoning
            progress.reasoning_ms = sum(part.duration_ms for part in message.parts.all())
    pks = list(active)
    for start in range(0, len(pks), _READ_AT_ONCE):
        is_wanted = Q()
        for pk in pks[start : start + _READ_AT_ONCE]:
            is_wanted |= Q(generation=pk, kind=PartKind.TEXT, offset__gte=known[pk].text)
            is_wanted |= Q(generation=pk, kind=PartKind.REASONING, offset__gte=known[pk].reasoning)
        for chunk in GenerationChunk.objects.filter(is_wanted).order_by("generation_id", "part", "offset"):
            progress = found[chunk.generation_id]
            if chunk.kind == PartKind.TEXT:
                progress.text += chunk.text
            else:
                progress.reasoning += chunk.text
            progress.reasoning_ms = max(progress.reasoning_ms, chunk.reasoning_ms)
    return found


def is_dead(runner: str) -> bool:
    """Return whether this runner was a process on this machine that has ended."""
    host, _, rest = runner.partition(":")
    pid = rest.partition(":")[0]
    if host != _HOST or not pid.isdigit():
        return False
    if int(pid) == os.getpid():
        # A restarted container often has the same process ID as before.
        return runner not in _ids_here
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
