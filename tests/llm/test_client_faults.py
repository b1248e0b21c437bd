"""Tests for the client's handling of faults: error codes, retries, and text received before the fault."""

import asyncio
import gzip
import socket
from collections.abc import Iterator

import httpx
import pytest
from stamina.instrumentation import set_on_retry_hooks

from conversations.llm.breaker import CircuitBreaker
from conversations.llm.chat import Finish
from conversations.llm.errors import UpstreamErrorCode
from conversations.server.management.fake_answers import chunk, event
from tests.fakes import End, Page, RunningUpstream, Script
from tests.llm.conftest import ClientFactory, RawServer, ask, collect, text_of

CODES = UpstreamErrorCode
BEGUN = "This answer begins well, "
ROLE = event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
SERVER_ERROR = event({"error": {"message": "x", "type": "server_error"}})


@pytest.mark.parametrize(
    ("fault", "code", "status", "text", "requests"),
    [
        ("unauthorized", CODES.UNAUTHORIZED, 401, "", 1),
        ("not-found", CODES.NOT_FOUND, 404, "", 1),
        ("context-length", CODES.CONTEXT_LENGTH, 400, "", 1),
        ("blocked", CODES.CONTENT_FILTER, 400, "", 1),
        ("quota", CODES.QUOTA, 429, "", 1),
        ("rate-limit-long", CODES.RATE_LIMITED, 429, "", 1),
        ("500", CODES.SERVER_ERROR, 500, "", 3),
        ("redirect", CODES.PROTOCOL, 307, "", 1),
        ("html", CODES.PROTOCOL, None, "", 1),
        ("drop", CODES.UNREACHABLE, None, "", 3),
        ("cut", CODES.INTERRUPTED, None, BEGUN, 1),
        ("no-end", CODES.INTERRUPTED, None, BEGUN, 1),
        ("error", CODES.SERVER_ERROR, None, BEGUN, 1),
        ("bad-json", CODES.PROTOCOL, None, BEGUN, 1),
        ("tool-call", CODES.TOOL_CALL, None, "", 1),
        ("huge-line", CODES.TOO_LARGE, None, BEGUN, 1),
    ],
)
async def test_fault(
    upstream: RunningUpstream,
    make_client: ClientFactory,
    transport: httpx.AsyncBaseTransport | None,
    fault: str,
    code: UpstreamErrorCode,
    status: int | None,
    text: str,
    requests: int,
):
    events, error = await collect(make_client(transport=transport), ask(model=f"fault-{fault}"))
    assert error is not None
    assert (error.code, error.status, text_of(events)) == (code, status, text)
    assert len(upstream.requests) == requests
    assert upstream.other_requests == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_errors_caused_by_the_request_are_not_retried(
    upstream: RunningUpstream, make_client: ClientFactory, status: int
):
    for _ in range(2):
        upstream.respond_with(Page(status=status))
    _, error = await collect(make_client(), ask())
    assert error is not None
    assert (error.status, error.retryable, len(upstream.requests)) == (status, False, 1)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(Page(status=408), id="408"),
        pytest.param(Page(status=409), id="409"),
        pytest.param(Page(status=429, headers={"Retry-After": "0"}), id="429"),
        pytest.param(Page(status=500), id="500"),
        pytest.param(Page(status=503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), id="503"),
        pytest.param(Script(steps=(ROLE, SERVER_ERROR), finish_reason=None), id="error before the text"),
        pytest.param(Script(steps=(ROLE, End.CUT)), id="cut before the text"),
        pytest.param(Script(steps=(), finish_reason=None, has_done=False), id="empty"),
    ],
)
async def test_temporary_errors_are_retried(
    upstream: RunningUpstream,
    make_client: ClientFactory,
    transport: httpx.AsyncBaseTransport | None,
    first: Page | Script,
):
    upstream.respond_with(first)
    upstream.answer_with("Hello", finish_reason="length")
    events, error = await collect(make_client(transport=transport), ask())
    assert error is None
    assert text_of(events) == "Hello"
    assert Finish("length") in events
    assert len(upstream.requests) == 2
    assert upstream.requests[0].body == upstream.requests[1].body


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """Collect the wait, in seconds, planned before each retry."""
    planned: list[float] = []
    set_on_retry_hooks([lambda details: planned.append(details.wait_for)])
    yield planned
    set_on_retry_hooks(None)


async def test_waits_double_up_to_a_limit_with_jitter(
    upstream: RunningUpstream, make_client: ClientFactory, waits: list[float]
):
    client = make_client(max_retries=4, retry_wait_seconds=0.01, retry_wait_limit_seconds=0.03)
    await collect(client, ask(model="fault-500"))
    first, second, third, fourth = waits
    assert 0.01 < first <= 0.02
    assert 0.02 < second <= 0.03
    assert (round(third, 6), round(fourth, 6)) == (0.03, 0.03)


async def test_the_requested_wait_is_respected(
    upstream: RunningUpstream, make_client: ClientFactory, waits: list[float]
):
    upstream.respond_with(Page(status=429, headers={"Retry-After": "0.05"}))
    _, error = await collect(make_client(retry_wait_seconds=0.01), ask())
    assert error is None
    assert len(waits) == 1
    assert 0.05 <= round(waits[0], 6) <= 0.06


async def test_without_retries_there_is_one_attempt(upstream: RunningUpstream, make_client: ClientFactory):
    _, error = await collect(make_client(max_retries=0), ask(model="fault-500"))
    assert error is not None
    assert len(upstream.requests) == 1


async def test_the_time_until_a_retry_is_reported(upstream: RunningUpstream, make_client: ClientFactory):
    _, error = await collect(make_client(), ask(model="fault-rate-limit-long"))
    assert error is not None
    assert (error.retry_after, error.retryable) == (120, True)


# --- Limits ---


async def test_silence_before_the_answer(
    upstream: RunningUpstream, make_client: ClientFactory, transport: httpx.AsyncBaseTransport | None
):
    _, error = await collect(
        make_client(transport=transport, first_byte_seconds=0.1), ask(model="fault-silence")
    )
    assert error is not None
    assert (error.code, error.retryable) == (CODES.TIMEOUT, True)
    await asyncio.to_thread(upstream.wait_for_disconnect)
    assert len(upstream.requests) == 1


async def test_silence_after_the_headers(upstream: RunningUpstream, make_client: ClientFactory):
    upstream.answer_with(ROLE, End.SILENCE)
    _, error = await collect(make_client(first_byte_seconds=0.1), ask())
    assert error is not None
    assert error.code is CODES.TIMEOUT


async def test_silence_in_the_middle(
    upstream: RunningUpstream, make_client: ClientFactory, transport: httpx.AsyncBaseTransport | None
):
    events, error = await collect(
        make_client(transport=transport, idle_seconds=0.1), ask(model="fault-stall")
    )
    assert error is not None
    assert (error.code, text_of(events)) == (CODES.TIMEOUT, BEGUN)
    await asyncio.to_thread(upstream.wait_for_disconnect)


async def test_silence_after_the_finish_reason_is_not_an_error(
    upstream: RunningUpstream, make_client: ClientFactory
):
    upstream.answer_with("Hi", chunk("fake", finish_reason="stop"), End.SILENCE)
    events, error = await collect(make_client(idle_seconds=0.1), ask())
    assert error is None
    assert (text_of(events), events[-1]) == ("Hi", Finish("stop"))


async def test_a_lost_connection_after_the_finish_reason_is_not_an_error(
    upstream: RunningUpstream, make_client: ClientFactory, transport: httpx.AsyncBaseTransport | None
):
    upstream.answer_with("Hi", chunk("fake", finish_reason="stop"), End.CUT)
    events, error = await collect(make_client(transport=transport), ask())
    assert error is None
    assert (text_of(events), events[-1]) == ("Hi", Finish("stop"))


async def test_an_answer_that_trickles_forever(upstream: RunningUpstream, make_client: ClientFactory):
    upstream.rate = 100
    events, error = await collect(make_client(answer_seconds=0.2), ask(model="fault-endless"))
    assert error is not None
    assert error.code is CODES.TIMEOUT
    assert text_of(events).startswith("And so on ")
    await asyncio.to_thread(upstream.wait_for_disconnect)


async def test_a_slow_reader_does_not_count_as_silence(upstream: RunningUpstream, make_client: ClientFactory):
    upstream.answer_with("first", upstream.hold(), "second")
    events = make_client(idle_seconds=0.05).stream_chat(ask())
    await anext(events)
    upstream.release()
    # The deadline and its timer pass while the reader does something else.
    await asyncio.sleep(0.1)
    assert text_of([event async for event in events]) == "second"


async def test_an_endless_answer_is_cut_off(
    upstream: RunningUpstream, make_client: ClientFactory, transport: httpx.AsyncBaseTransport | None
):
    client = make_client(transport=transport, max_answer_bytes=20_000)
    events, error = await collect(client, ask(model="fault-endless"))
    assert error is not None
    assert error.code is CODES.TOO_LARGE
    assert 19_000 < len(text_of(events)) <= 20_000
    await asyncio.to_thread(upstream.wait_for_disconnect)


# --- Connections ---


async def test_a_port_with_no_server(make_client: ClientFactory, transport: httpx.AsyncBaseTransport | None):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = make_client(transport=transport, base_url=f"http://127.0.0.1:{unused.getsockname()[1]}/v1")
        _, error = await collect(client, ask())
    assert error is not None
    assert (error.code, error.retryable) == (CODES.UNREACHABLE, True)


async def test_a_host_that_does_not_accept_connections(
    make_client: ClientFactory, transport: httpx.AsyncBaseTransport | None
):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            # The kernel doesn't answer connections beyond the backlog.
            for connection in waiting:
                connection.setblocking(False)
                connection.connect_ex(address)
            client = make_client(
                transport=transport,
                base_url=f"http://127.0.0.1:{address[1]}/v1",
                connect_seconds=0.1,
                max_retries=1,
            )
            _, error = await collect(client, ask())
        finally:
            for connection in waiting:
                connection.close()
    assert error is not None
    assert error.code is CODES.UNREACHABLE


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("response", "code"),
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", CODES.PROTOCOL, id="not HTTP"),
        pytest.param(HEAD + b"X: " + b"x" * 200_000 + b"\r\n\r\n", CODES.PROTOCOL, id="huge header"),
        pytest.param(HEAD + b'Content-Length: 99\r\n\r\n{"choices', CODES.INTERRUPTED, id="short body"),
        pytest.param(HEAD + b'\r\n{"choices', CODES.PROTOCOL, id="short body without a length"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", CODES.INTERRUPTED, id="no content"),
    ],
)
async def test_a_server_that_sends_invalid_http(
    make_client: ClientFactory,
    transport: httpx.AsyncBaseTransport | None,
    raw_server: RawServer,
    response: bytes,
    code: UpstreamErrorCode,
):
    client = make_client(transport=transport, base_url=await raw_server(response))
    _, error = await collect(client, ask())
    assert error is not None
    assert error.code is code


async def test_the_proxy_from_the_environment_is_used(
    upstream: RunningUpstream, make_client: ClientFactory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("http_proxy", upstream.base_url.removesuffix("/v1"))
    monkeypatch.setenv("no_proxy", "internal.invalid")
    await collect(make_client(base_url="http://model.invalid/v1"), ask())
    assert [request.path for request in upstream.requests] == ["http://model.invalid/v1/chat/completions"]
    _, error = await collect(make_client(base_url="http://internal.invalid/v1", max_retries=0), ask())
    assert error is not None
    assert error.code is CODES.UNREACHABLE
    assert len(upstream.requests) == 1


async def test_the_proxy_from_the_environment_is_not_used_for_localhost(
    upstream: RunningUpstream, make_client: ClientFactory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    _, error = await collect(make_client(), ask())
    assert error is None


async def test_a_compressed_answer_is_refused(upstream: RunningUpstream, make_client: ClientFactory):
    body = gzip.compress(b"data: [DONE]\n\n")
    headers = {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"}
    upstream.respond_with(Page(body=body, headers=headers))
    _, error = await collect(make_client(), ask())
    assert error is not None
    assert error.code is CODES.PROTOCOL


async def test_a_failing_host_gets_no_requests_until_a_probe_succeeds(
    upstream: RunningUpstream, make_client: ClientFactory
):
    now = 0.0
    client = make_client(breaker=CircuitBreaker(clock=lambda: now))
    # Two calls make three and two attempts. The fifth opens the circuit, and still reports the original error.
    for _ in range(2):
        _, error = await collect(client, ask(model="fault-500"))
        assert error is not None
        assert error.code is CODES.SERVER_ERROR
    _, error = await collect(client, ask(model="fault-500"))
    assert error is not None
    assert (error.code, error.retry_after, error.retryable) == (CODES.OVERLOADED, 10, True)
    assert len(upstream.requests) == 5

    now = 10.0
    gate = upstream.hold()
    upstream.answer_with("first", gate, "second")
    probe = client.stream_chat(ask())
    await anext(probe)
    # The probe's first text is enough: other requests don't have to wait for the end.
    _, error = await collect(client, ask())
    assert error is None
    gate.release()
    assert text_of([event async for event in probe]) == "second"


async def test_errors_caused_by_the_request_do_not_open_the_circuit(
    upstream: RunningUpstream, make_client: ClientFactory
):
    client = make_client()
    for _ in range(6):
        await collect(client, ask(model="fault-unauthorized"))
    assert len(upstream.requests) == 6
