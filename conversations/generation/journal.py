"""The journal: what running generations have written, in the database. All functions are synchronous and short.

A generation has one end, and whoever comes first gives it: every change of its status is a conditional update, and
only the one who wins it writes the rest.
"""

import datetime as dt
import hashlib
import os
import secrets
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction
from django.db.models import Q

from conversations.llm.client import ChatRequest
from conversations.models import Conversation, Generation, GenerationChunk, Message

from .prompt import build_request
from .transcript import read_journal

# A condition in SQL can have only so many parts.
_READ_AT_ONCE = 100


def _name_host() -> str:
    """Return a name for where this process's number means what it means here.

    Two containers of one name, as those on the network of their host are, do not see each other's processes, and each
    would take the other's for dead.
    """
    name = socket.gethostname()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        place = f"{name}\0{boot}\0{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return name[:32]
    return f"{name[:19]}-{hashlib.sha256(place.encode()).hexdigest()[:12]}"


_HOST = _name_host()
_owners_here: set[str] = set()


def make_owner() -> str:
    """Return a name for a part of this process, such as its runner: host, process id, and what no restart repeats."""
    owner = f"{_HOST}:{os.getpid()}:{secrets.token_hex(4)}"
    _owners_here.add(owner)
    return owner


@dataclass(frozen=True, slots=True)
class Job:
    """A generation that a runner has claimed, with all it needs to write it."""

    generation_id: int
    conversation_id: int
    message_id: int
    provider: str
    base: str
    """The text that the message had before."""
    request: ChatRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a generation ended, and the text that it added."""

    status: Generation.Status
    text: str
    finish_reason: str = ""
    error_code: str = ""
    retry_at: dt.datetime | None = None
    first_token_at: dt.datetime | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    usage_is_estimated: bool = False


def claim(*, owner: str, limit: int, now: dt.datetime) -> list[Job]:
    """Take up to `limit` waiting generations for this runner, oldest first."""
    waiting = Generation.objects.filter(status=Generation.Status.QUEUED).order_by("created_at")
    # Nothing waits most of the time, and that is seen without a lock.
    if not waiting.exists():
        return []
    jobs = []
    # In one transaction, since nobody would write what was claimed by a call that then failed. Rows that another runner
    # is just claiming are left to it.
    with transaction.atomic():
        mine = waiting.select_for_update(skip_locked=True, of=("self",))
        for generation in mine.select_related("model", "message", "conversation__owner")[:limit]:
            won = Generation.objects.filter(pk=generation.pk, status=Generation.Status.QUEUED).update(
                status=Generation.Status.RUNNING, owner=owner, started_at=now, heartbeat_at=now
            )
            if not won:
                continue
            answer = generation.message
            jobs.append(
                Job(
                    generation_id=generation.pk,
                    conversation_id=generation.conversation_id,
                    message_id=answer.pk,
                    provider=generation.model.provider,
                    base=answer.text,
                    request=build_request(generation, answer=answer),
                )
            )
    return jobs


def commit(*, chunks: Iterable[tuple[int, int, str]]) -> None:
    """Keep new text (generation id, offset in the message, text) of any number of generations, in one transaction.

    Text of a generation that has ended meanwhile (its conversation was deleted, or another process reaped it) is passed
    over: it has no row to belong to, or its text is closed. So are chunks that are there already: a commit whose
    outcome got lost with the connection is made again with the same ones.
    """
    rows = [GenerationChunk(generation_id=pk, offset=offset, text=text) for pk, offset, text in chunks]
    if not rows:
        return
    with transaction.atomic():
        running = set(
            Generation.objects.select_for_update()
            .filter(pk__in={row.generation_id for row in rows}, status=Generation.Status.RUNNING)
            .values_list("pk", flat=True)
        )
        GenerationChunk.objects.bulk_create(
            [row for row in rows if row.generation_id in running], ignore_conflicts=True
        )


def beat(*, owner: str, generation_ids: Sequence[int], now: dt.datetime) -> tuple[set[int], set[int]]:
    """Say that these generations are alive.

    Returns those of them that are to stop, and those that are this runner's no longer.
    """
    mine = Generation.objects.filter(pk__in=generation_ids, status=Generation.Status.RUNNING, owner=owner)
    mine.update(heartbeat_at=now)
    asked = dict(mine.values_list("pk", "stop_requested_at"))
    return {pk for pk, at in asked.items() if at is not None}, set(generation_ids) - set(asked)


@transaction.atomic
def finish(*, job: Job, owner: str, outcome: Outcome, now: dt.datetime) -> bool:
    """Give a generation its end, with its text. False where somebody else has done so, or it was deleted."""
    won = Generation.objects.filter(
        pk=job.generation_id, status=Generation.Status.RUNNING, owner=owner
    ).update(
        status=outcome.status,
        finish_reason=outcome.finish_reason[:32],
        error_code=outcome.error_code,
        retry_at=outcome.retry_at,
        first_token_at=outcome.first_token_at,
        prompt_tokens=outcome.prompt_tokens,
        completion_tokens=outcome.completion_tokens,
        usage_is_estimated=outcome.usage_is_estimated,
        heartbeat_at=now,
        ended_at=now,
    )
    if not won:
        return False
    _close_text(job.generation_id, message_id=job.message_id, text=job.base + outcome.text)
    Conversation.objects.filter(pk=job.conversation_id).update(last_activity_at=now)
    return True


def reap(*, now: dt.datetime, lease: dt.timedelta) -> list[int]:
    """End generations whose runner died: their text is what the journal holds. Returns their conversations' ids.

    A runner is taken for dead when its heartbeat is older than the lease, and at once when it was a process of this
    machine that is no longer there.
    """
    conversations = []
    running = Generation.objects.filter(status=Generation.Status.RUNNING)
    for generation in running.filter(Q(heartbeat_at__lt=now - lease) | Q(owner__startswith=f"{_HOST}:")):
        if (
            generation.heartbeat_at
            and generation.heartbeat_at >= now - lease
            and not is_dead(generation.owner)
        ):
            continue
        if _interrupt(generation, now=now):
            conversations.append(generation.conversation_id)
    return conversations


@transaction.atomic
def _interrupt(generation: Generation, *, now: dt.datetime) -> bool:
    won = Generation.objects.filter(
        pk=generation.pk, status=Generation.Status.RUNNING, heartbeat_at=generation.heartbeat_at
    ).update(status=Generation.Status.INTERRUPTED, ended_at=now)
    if won:
        base = Message.objects.values_list("text", flat=True).get(pk=generation.message_id)
        written = read_journal([generation.pk])[generation.pk]
        _close_text(generation.pk, message_id=generation.message_id, text=base + written)
    return bool(won)


def read_copies(known: dict[int, int]) -> dict[int, tuple[int, str, bool]]:
    """Return what came of these generations beyond the characters known of their messages.

    For each: the offset, the text from there on, and whether it has ended. One that was deleted has ended. Each offset is
    0 or the end of what an earlier call returned, so that nothing is read twice.
    """
    # Status first, then text: see transcript.read_entries on why the order matters.
    active = dict(Generation.objects.active().filter(pk__in=known).values_list("pk", "message_id"))
    new = {message_id: pk for pk, message_id in active.items() if known[pk] == 0}
    texts = dict.fromkeys(active, "")
    if new:
        for message_id, text in Message.objects.filter(pk__in=new).values_list("pk", "text"):
            texts[new[message_id]] = text
    pks = list(active)
    for start in range(0, len(pks), _READ_AT_ONCE):
        is_wanted = Q()
        for pk in pks[start : start + _READ_AT_ONCE]:
            is_wanted |= Q(generation=pk, offset__gte=known[pk])
        chunks = GenerationChunk.objects.filter(is_wanted).order_by("generation_id", "offset")
        for pk, text in chunks.values_list("generation_id", "text"):
            texts[pk] += text
    return {pk: (offset, texts.get(pk, ""), pk not in active) for pk, offset in known.items()}


def _close_text(generation_id: int, *, message_id: int, text: str) -> None:
    Message.objects.filter(pk=message_id).update(text=text)
    GenerationChunk.objects.filter(generation=generation_id).delete()


def is_dead(owner: str) -> bool:
    """Whether this owner was a process of this machine that has ended."""
    host, _, rest = owner.partition(":")
    pid = rest.partition(":")[0]
    if host != _HOST or not pid.isdigit():
        return False
    if int(pid) == os.getpid():
        # In a container the process of the last start often had the same number as this one.
        return owner not in _owners_here
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
