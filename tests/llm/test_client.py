"""Tests for the client with the fake upstream: what it sends, what it yields, and how it closes connections."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from conversations.llm.chat import ChatMessage, ChatRequest, Delta, Finish, TextPart, Usage
from conversations.llm.errors import UpstreamError, UpstreamErrorCode
from conversations.llm.transport import Transport
from conversations.llm.upstream import Upstream
from tests.fakes import Page, RunningUpstream
from tests.llm.conftest import KEY, PROMPT, ClientFactory, ask, collect, text_of


async def test_a_normal_answer(
    upstream: RunningUpstream, make_client: ClientFactory, transport: httpx.AsyncBaseTransport | None
):
    upstream.answer_with("Hel", "lo 你好")
    events, error = await collect(make_client(transport=transport), ask())
    assert error is None
    assert text_of(events) == "Hello 你好"
    *_texts, finish, usage = events
    assert finish == Finish("stop")
    assert isinstance(usage, Usage)
    assert usage.completion_tokens == 2


async def test_requests_follow_the_api(upstream: RunningUpstream, make_client: ClientFactory):
    client = make_client(base_url=upstream.base_url + "/", organization="org-1", project="proj-2")
    request = ChatRequest(
        model="gpt",
        messages=[
            ChatMessage.of_text("system", "Be brief."),
            ChatMessage.of_text("user", PROMPT),
            ChatMessage("user", [TextPart("One."), TextPart("Two.")]),
        ],
        max_tokens=77,
        max_tokens_parameter="max_completion_tokens",
        parameters={"temperature": 0.5, "model": "other", "stream": False},
    )
    await collect(client, request)
    [sent] = upstream.requests
    assert (sent.method, sent.path) == ("POST", "/v1/chat/completions")
    assert sent.body == {
        "model": "gpt",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": PROMPT},
            {"role": "user", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]},
        ],
        "max_completion_tokens": 77,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["openai-organization"] == "org-1"
    assert sent.headers["openai-project"] == "proj-2"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["accept-encoding"] == "identity"


async def test_headers_without_a_value_are_not_sent(upstream: RunningUpstream, make_client: ClientFactory):
    await collect(make_client(api_key=""), ask())
    assert not upstream.requests[0].headers.keys() & {
        "authorization",
        "openai-organization",
        "openai-project",
    }


async def test_lone_surrogates_in_a_message_can_be_sent(
    upstream: RunningUpstream, make_client: ClientFactory
):
    _, error = await collect(make_client(), ask("a\ud83d\ude00 b\ud83d c"))
    assert error is None
    assert upstream.requests[0].prompt == "a😀 b\ufffd c"


async def test_cookies_of_an_upstream_are_not_kept(upstream: RunningUpstream, make_client: ClientFactory):
    client = make_client()
    upstream.respond_with(Page(status=400, headers={"Set-Cookie": "user=alice; Path=/"}))
    await collect(client, ask())
    await collect(client, ask())
    assert len(upstream.requests) == 2
    assert "cookie" not in upstream.requests[1].headers


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "api.example.org/v1",
        "ftp://example.org/v1",
        "https:///v1",
        "https://me:pass@example.org/v1",
        "http://example.org:port/v1",
    ],
)
def test_invalid_addresses_are_refused(base_url: str):
    with pytest.raises(ValueError, match="address") as caught:
        Upstream(base_url=base_url)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk secret", "sk-secret\n", "sk-sécret", "sk-\0"])
def test_invalid_keys_are_refused_and_not_shown(key: str):
    with pytest.raises(ValueError, match="printable") as caught:
        Upstream(base_url="https://example.org/v1", api_key=key)
    assert key not in str(caught.value)


def test_repr_shows_neither_the_key_nor_the_messages():
    assert KEY not in repr(Upstream(base_url="https://example.org/v1", api_key=KEY))
    assert PROMPT not in repr(ask())


async def test_text_is_yielded_while_the_answer_is_generated(
    upstream: RunningUpstream, make_client: ClientFactory, transport: httpx.AsyncBaseTransport | None
):
    gate = upstream.hold()
    upstream.answer_with("first", gate, "second")
    async with contextlib.aclosing(make_client(transport=transport).stream_chat(ask())) as events:
        assert await anext(events) == Delta("first")
        assert not upstream.requests[0].completed.is_set()
        gate.release()
        assert await anext(events) == Delta("second")


async def wait_for_text(stream: Any, reached: asyncio.Event) -> None:
    async for _ in stream:
        reached.set()


async def test_cancelling_the_reader_closes_the_connection(
    upstream: RunningUpstream, make_client: ClientFactory, transport: httpx.AsyncBaseTransport | None
):
    upstream.answer_with("first", upstream.hold(), "never")
    reached = asyncio.Event()
    task = asyncio.create_task(wait_for_text(make_client(transport=transport).stream_chat(ask()), reached))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    request = await asyncio.to_thread(upstream.wait_for_disconnect)
    assert request.deltas_sent == 1


async def test_cancelling_before_the_answer_starts_closes_the_connection(
    upstream: RunningUpstream, make_client: ClientFactory, transport: httpx.AsyncBaseTransport | None
):
    upstream.respond_with("silence")
    client = make_client(transport=transport)
    task = asyncio.create_task(collect(client, ask()))
    await asyncio.to_thread(upstream.wait_for_requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(upstream.wait_for_disconnect)


async def test_a_reader_that_stops_closes_the_connection(
    upstream: RunningUpstream, make_client: ClientFactory, transport: httpx.AsyncBaseTransport | None
):
    upstream.answer_with("first", upstream.hold(), "never")
    async with contextlib.aclosing(make_client(transport=transport).stream_chat(ask())) as events:
        await anext(events)
    await asyncio.to_thread(upstream.wait_for_disconnect)


async def test_the_connection_closes_even_if_the_reader_does_not_close_the_stream(
    upstream: RunningUpstream, make_client: ClientFactory
):
    upstream.answer_with("first", upstream.hold(), "never")
    client = make_client()
    async for _ in client.stream_chat(ask()):
        break
    await asyncio.to_thread(upstream.wait_for_disconnect)


async def test_closing_the_client_ends_running_answers(upstream: RunningUpstream, make_client: ClientFactory):
    upstream.answer_with("first", upstream.hold(), "never")
    client = make_client()
    events = client.stream_chat(ask())
    await anext(events)
    await client.aclose()
    with pytest.raises(UpstreamError) as caught:
        await anext(events)
    assert caught.value.code is UpstreamErrorCode.INTERRUPTED


async def test_many_concurrent_answers(upstream: RunningUpstream, make_client: ClientFactory):
    gate = upstream.hold()
    client = make_client()
    for _ in range(150):
        upstream.answer_with("Hi", gate, "!")
    asked = [asyncio.create_task(collect(client, ask())) for _ in range(150)]
    await asyncio.to_thread(upstream.wait_for_requests, 150)
    gate.release()
    assert {text_of(events) for events, _ in await asyncio.gather(*asked)} == {"Hi!"}


@pytest.mark.parametrize("make_transport", [lambda: Transport(keeps_alive=True), httpx.AsyncHTTPTransport])
async def test_stale_connections_are_not_errors_and_do_not_count_for_the_breaker(
    upstream: RunningUpstream,
    make_client: ClientFactory,
    make_transport: Callable[[], httpx.AsyncBaseTransport],
):
    upstream.drops_reused = True
    client = make_client(transport=make_transport(), max_retries=0)
    for _ in range(8):
        upstream.answer_with("Hi")
        events, error = await collect(client, ask())
        assert (text_of(events), error) == ("Hi", None)
    assert upstream.dropped == 7
    assert len(upstream.requests) == 8


async def test_connections_without_tls_are_not_kept_alive(
    upstream: RunningUpstream, make_client: ClientFactory
):
    upstream.drops_reused = True
    client = make_client()
    for _ in range(3):
        await collect(client, ask())
    assert upstream.dropped == 0
    assert len(upstream.requests) == 3


async def test_an_unstreamed_answer_is_accepted(upstream: RunningUpstream, make_client: ClientFactory):
    upstream.respond_with("json")
    events, error = await collect(make_client(), ask())
    assert error is None
    assert events == [Delta("The whole answer at once."), Finish("stop"), Usage(7, 6)]


async def test_unicode_line_separators_are_kept(upstream: RunningUpstream, make_client: ClientFactory):
    upstream.respond_with("u2028")
    events, _ = await collect(make_client(), ask())
    assert text_of(events) == "One line\u2028and\u0085another."


async def test_half_characters_are_joined_and_nul_is_dropped(
    upstream: RunningUpstream, make_client: ClientFactory
):
    upstream.respond_with("surrogates")
    events, _ = await collect(make_client(), ask())
    assert text_of(events) == "A smile: 😀 and a NUL: ."


async def test_the_finish_reason_is_reported(upstream: RunningUpstream, make_client: ClientFactory):
    client = make_client()
    for fault, reason in [("length", "length"), ("content-filter", "content_filter"), ("no-usage", "stop")]:
        upstream.respond_with(fault)
        events, error = await collect(client, ask())
        assert error is None
        assert Finish(reason) in events
        assert any(isinstance(event, Usage) for event in events) is (fault != "no-usage")
