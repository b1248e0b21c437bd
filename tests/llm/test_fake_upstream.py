"""Tests for the fake upstream, on which the other tests and developers rely."""

import asyncio
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from django.core.management import CommandError, call_command

from conversations.server.management.fake_answers import FAULTS, sample
from conversations.server.management.fake_upstream import FakeUpstream
from tests.fakes import RunningUpstream, running_upstream
from tests.llm.conftest import ClientFactory, ask, collect, text_of

ROOT = Path(__file__).resolve().parents[2]
BODY = {"model": "fake", "messages": [{"role": "user", "content": "Hi"}]}


async def post(
    upstream: RunningUpstream, body: object = BODY, *, path: str = "/chat/completions"
) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(upstream.base_url + path, json=body)


async def test_it_identifies_itself_as_a_fake(upstream: RunningUpstream, make_client: ClientFactory):
    events, error = await collect(make_client(), ask())
    assert error is None
    assert "fake upstream" in text_of(events)
    assert text_of(events) == "".join(sample(chars=5, length=None))


async def test_without_a_stream_it_answers_in_one_response(upstream: RunningUpstream):
    answer = (await post(upstream)).json()
    assert "fake upstream" in answer["choices"][0]["message"]["content"]


async def test_it_lists_its_models_and_serves_nothing_else(upstream: RunningUpstream):
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(upstream.base_url + "/models")).json()["data"][0]["id"] == "fake"
        assert (await client.get(upstream.base_url + "/nowhere")).status_code == 404
    assert (await post(upstream, {"model": "fake"})).status_code == 400
    assert [request.path for request in upstream.other_requests] == ["/v1/models", "/v1/nowhere"]


async def test_number_and_size_of_deltas(make_client: ClientFactory):
    with running_upstream(chars=3, length=200) as upstream:
        events, _ = await collect(make_client(base_url=upstream.base_url), ask())
    assert len(text_of(events)) == 600
    assert upstream.requests[0].deltas_sent == 200


async def test_max_tokens_limits_the_sample_answer(upstream: RunningUpstream, make_client: ClientFactory):
    events, _ = await collect(make_client(), ask(max_tokens=4))
    assert text_of(events) == "".join(sample(chars=5, length=None)[:4])
    assert getattr(events[-2], "reason", None) == "length"


async def test_stamps_are_timestamps(make_client: ClientFactory):
    with running_upstream(stamps=True, length=3) as upstream:
        events, _ = await collect(make_client(base_url=upstream.base_url), ask())
    times = [float(word) for word in text_of(events).split()]
    assert len(times) == 3
    assert times == sorted(times)


async def test_a_word_in_the_message_triggers_a_fault(upstream: RunningUpstream, make_client: ClientFactory):
    _, error = await collect(make_client(), ask("Please show me fault:quota now"))
    assert error is not None
    assert error.code == "quota"


async def test_a_temporary_fault(upstream: RunningUpstream, make_client: ClientFactory):
    for _ in range(2):
        events, error = await collect(make_client(), ask(model="fault-500-once"))
        assert error is None
        assert text_of(events) == "The second attempt went well."
    assert len(upstream.requests) == 4


@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_every_fault_ends_in_a_documented_way(
    upstream: RunningUpstream, make_client: ClientFactory, fault: str
):
    client = make_client(
        first_byte_seconds=0.1,
        idle_seconds=0.1,
        max_retries=0,
        max_line_bytes=50_000,
        max_answer_bytes=50_000,
    )
    events, error = await collect(client, ask(model=f"fault-{fault}"))
    assert events or error


async def test_holds_and_releases(upstream: RunningUpstream, make_client: ClientFactory):
    gate = upstream.hold()
    upstream.answer_with("before", gate, "after")
    answer = asyncio.create_task(collect(make_client(), ask()))
    await asyncio.to_thread(gate.wait_until_reached)
    assert upstream.requests[0].deltas_sent == 1
    assert not answer.done()
    threading.Thread(target=upstream.release).start()
    events, _ = await answer
    assert text_of(events) == "beforeafter"
    assert upstream.requests[0].completed.wait(10)
    assert not upstream.requests[0].disconnected.is_set()


def test_waiting_for_nothing_fails(upstream: RunningUpstream):
    with pytest.raises(TimeoutError):
        upstream.wait_for_requests(timeout=0.01)
    with pytest.raises(TimeoutError):
        upstream.hold().wait_until_reached(timeout=0.01)


def test_an_unknown_fault_is_refused():
    with pytest.raises(ValueError, match="There is no fault"):
        FakeUpstream(fault="nonsense")
    with pytest.raises(CommandError):
        call_command("fake_upstream", "--fault", "nonsense", stdout=io.StringIO())


def test_the_command_starts_a_server(tmp_path: Path):
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "TEST_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "manage.py", "fake_upstream", "--port", "0", "--rate", "0", "--fault", "json"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            base_url = process.stdout.readline().strip()
            answer = httpx.post(base_url + "/chat/completions", json=BODY, trust_env=False)
        finally:
            process.terminate()
    assert answer.json()["choices"][0]["message"]["content"] == "The whole answer at once."
