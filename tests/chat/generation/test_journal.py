"""Tests for the journal: who may write to it, and who may end a generation."""

import datetime as dt
import socket
from dataclasses import replace
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.generation import ending, journal, reaper
from conversations.chat.generation.heartbeats import HeartbeatWatch
from conversations.chat.models import Generation, GenerationChunk, Message, PartKind
from tests.factories import make_turn

pytestmark = pytest.mark.django_db(transaction=True)


def running(alice: User, *, runner: str, heartbeat: dt.datetime) -> Generation:
    turn = make_turn(alice)
    Generation.objects.filter(pk=turn.generation.pk).update(
        status="running", runner=runner, started_at=heartbeat, heartbeat_at=heartbeat
    )
    GenerationChunk.objects.create(generation=turn.generation, offset=0, text="Partial ")
    GenerationChunk.objects.create(generation=turn.generation, offset=8, text="text")
    return turn.generation


def reap(*, until: float = 0, spared: tuple[int, ...] = ()) -> list[int]:
    """Check every ten seconds of an observer's clock until this time, with a lease of 30 s."""
    watch = HeartbeatWatch[int](30)
    looks = [*range(0, int(until), 10), until]
    return [
        conversation
        for at in looks
        for conversation in reaper.reap(watch=watch, spared=spared, now=timezone.now(), monotonic=at)
    ]


@pytest.mark.parametrize(
    ("runner", "until", "is_reaped"),
    [
        ("elsewhere:1:a", 30, True),
        ("elsewhere:1:a", 29, False),
        (f"{journal._HOST}:4194999:a", 0, True),  # Larger than any process ID the kernel assigns.
        (f"{journal._HOST}:1:a", 29, False),
        # Another container may have the same host name, but its processes can't be seen from here.
        (f"{socket.gethostname()}:4194999:a", 29, False),
    ],
)
# The clocks may differ, so the time in the heartbeat doesn't matter.
@pytest.mark.parametrize("behind", [dt.timedelta(hours=1), dt.timedelta(0), dt.timedelta(hours=-1)])
def test_dead_runners_are_reaped(
    alice: User, model: ChatModel, runner: str, until: float, is_reaped: bool, behind: dt.timedelta
) -> None:
    generation = running(alice, runner=runner, heartbeat=timezone.now() - behind)
    reaped = reap(until=until)
    generation.refresh_from_db()
    generation.message.refresh_from_db()
    assert bool(reaped) is is_reaped
    if is_reaped:
        assert (generation.status, generation.message.text) == ("interrupted", "Partial text")
        assert generation.prompt_tokens and generation.completion_tokens == 2
        assert generation.usage_is_estimated
        assert not GenerationChunk.objects.exists()
    else:
        assert (generation.status, generation.message.text) == ("running", "")


def test_an_observer_spares_its_own_generations(alice: User, model: ChatModel) -> None:
    generation = running(alice, runner="elsewhere:1:a", heartbeat=timezone.now())
    assert reap(until=100, spared=(generation.pk,)) == []
    assert reap(until=30) == [generation.conversation_id]


def test_an_earlier_process_with_the_same_id_is_reaped(alice: User, model: ChatModel) -> None:
    mine, stale = journal.make_process_id(), journal.make_process_id()
    journal._ids_here.discard(stale)
    first = running(alice, runner=mine, heartbeat=timezone.now())
    second = running(alice, runner=stale, heartbeat=timezone.now())
    reap()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, second.status) == ("running", "interrupted")


def test_only_one_caller_can_end_a_generation(alice: User, model: ChatModel) -> None:
    make_turn(alice)
    [job] = journal.claim(runner="a", limit=5, now=timezone.now())
    assert journal.claim(runner="b", limit=5, now=timezone.now()) == []
    outcome = ending.Outcome(status=Generation.Status.COMPLETE, text="Mine")
    other = ending.Outcome(status=Generation.Status.STOPPED, text="Other")
    assert not ending.finish(job=job, runner="b", outcome=other, request=None, now=timezone.now())
    assert ending.finish(job=job, runner="a", outcome=outcome, request=None, now=timezone.now())
    assert not ending.finish(job=job, runner="a", outcome=other, request=None, now=timezone.now())
    assert Message.objects.get(pk=job.message_id).text == "Mine"


def test_a_commit_with_an_unknown_result_can_be_repeated(alice: User, model: ChatModel) -> None:
    make_turn(alice)
    [job] = journal.claim(runner="a", limit=5, now=timezone.now())
    for _ in range(2):
        journal.commit(chunks=[journal.Chunk(job.generation_id, 0, PartKind.TEXT, 0, "Once")])
    assert [chunk.text for chunk in GenerationChunk.objects.all()] == ["Once"]


def test_a_failed_claim_leaves_the_queue_unchanged(alice: User, model: ChatModel) -> None:
    for _ in range(2):
        make_turn(alice)

    def cut_off(execute: Any, statement: str, *rest: Any) -> Any:
        result = execute(statement, *rest)
        if statement.startswith("UPDATE"):
            raise OperationalError("The connection is gone.")
        return result

    with connection.execute_wrapper(cut_off), pytest.raises(OperationalError):
        journal.claim(runner="a", limit=5, now=timezone.now())
    assert [found.status for found in Generation.objects.all()] == ["queued", "queued"]
    assert len(journal.claim(runner="b", limit=5, now=timezone.now())) == 2


def test_text_of_ended_generations_is_skipped(alice: User, model: ChatModel) -> None:
    make_turn(alice)
    [job] = journal.claim(runner="a", limit=5, now=timezone.now())
    outcome = ending.Outcome(status=Generation.Status.COMPLETE, text="Done")
    ending.finish(job=job, runner="a", outcome=outcome, request=None, now=timezone.now())
    late = journal.Chunk(job.generation_id, 0, PartKind.TEXT, 4, " late")
    journal.commit(chunks=[late, replace(late, generation_id=10**9)])
    assert not GenerationChunk.objects.exists()
