"""Tests for pauses between two reads: what arrives meanwhile is read at once, and nothing is lost however they end."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from conversations.llm.chat import Delta, Event, Finish
from conversations.llm.errors import UpstreamError, UpstreamErrorCode
from tests.fakes import End, RunningUpstream
from tests.llm.conftest import ClientFactory, ask, text_of


class Answer:
    """Reads an answer in a task. Each pause lasts until `go_on`."""

    def __init__(self, make_client: ClientFactory) -> None:
        self.client = make_client()
        self.events: list[Event] = []
        self.is_pausing = asyncio.Event()
        self.go_on = asyncio.Event()
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        stream = self.client.stream_chat(ask(), pause=self._pause)
        with contextlib.suppress(UpstreamError):
            async with contextlib.aclosing(stream):
                async for event in stream:
                    self.events.append(event)

    async def _pause(self) -> None:
        self.is_pausing.set()
        await self.go_on.wait()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110  (the upstream is in another thread)
            await asyncio.sleep(0.01)


async def test_text_that_arrives_in_a_pause_is_one_delta(
    upstream: RunningUpstream, make_client: ClientFactory
):
    gate = upstream.hold()
    upstream.answer_with("first", gate, " a", " b", " c")
    answer = Answer(make_client)
    await answer.is_pausing.wait()
    assert answer.events == [Delta("first")]
    gate.release()
    await until(upstream.requests[0].completed.is_set)
    answer.go_on.set()
    await answer.task
    assert answer.events[1:3] == [Delta(" a b c"), Finish("stop")]


async def test_text_that_arrived_in_a_pause_is_kept_if_the_reader_is_cancelled(
    upstream: RunningUpstream, make_client: ClientFactory
):
    gate = upstream.hold()
    upstream.answer_with("first", gate, " a", " b", " c", upstream.hold(), "never")
    answer = Answer(make_client)
    await answer.is_pausing.wait()
    gate.release()
    await until(lambda: upstream.requests[0].deltas_sent == 4)
    answer.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer.task
    assert text_of(answer.events) == "first a b c"
    await asyncio.to_thread(upstream.wait_for_disconnect)


async def test_text_that_arrived_in_a_pause_is_kept_if_the_connection_is_lost(
    upstream: RunningUpstream, make_client: ClientFactory
):
    gate = upstream.hold()
    upstream.answer_with("first", gate, " a", " b", End.CUT)
    answer = Answer(make_client)
    await answer.is_pausing.wait()
    gate.release()
    await until(upstream.requests[0].disconnected.is_set)
    for _ in range(10):
        # A client that didn't leave the bytes to the operating system would notice the end now.
        await asyncio.sleep(0)
    answer.go_on.set()
    await answer.task
    assert text_of(answer.events) == "first a b"


async def test_closing_the_client_ends_an_answer_in_a_pause(
    upstream: RunningUpstream, make_client: ClientFactory
):
    upstream.answer_with("first", upstream.hold(), "never")
    answer = Answer(make_client)
    await answer.is_pausing.wait()
    await answer.client.aclose()
    answer.go_on.set()
    await answer.task
    await asyncio.to_thread(upstream.wait_for_disconnect)


@pytest.mark.parametrize(
    ("fault", "limits"),
    [("stall", {"idle_seconds": 0.1}), ("endless", {"answer_seconds": 0.2})],
    ids=["silence", "an answer that is too long in time"],
)
async def test_time_limits_hold_despite_pauses(
    upstream: RunningUpstream, make_client: ClientFactory, fault: str, limits: dict[str, float]
):
    upstream.rate = 100
    # By the end of each pause something has arrived, so no read has to wait.
    stream = make_client(**limits).stream_chat(ask(model=f"fault-{fault}"), pause=lambda: asyncio.sleep(0.05))
    with pytest.raises(UpstreamError) as caught:
        async with contextlib.aclosing(stream):
            async for _event in stream:
                pass
    assert caught.value.code is UpstreamErrorCode.TIMEOUT
    await asyncio.to_thread(upstream.wait_for_disconnect)
