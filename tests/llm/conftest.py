"""A fake upstream without Django, and clients for it with limits suited to tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

from conversations.llm.chat import ChatClient, ChatMessage, ChatRequest, Delta, Event
from conversations.llm.errors import UpstreamError
from conversations.llm.upstream import Upstream
from tests.fakes import RunningUpstream, running_upstream

KEY = "sk-a-very-secret-key"
PROMPT = "the-very-private-prompt"

ClientFactory = Callable[..., ChatClient]
RawServer = Callable[[bytes], Awaitable[str]]


@pytest.fixture
def upstream() -> Iterator[RunningUpstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(params=["aiohttp", "httpx"])
def transport(request: pytest.FixtureRequest) -> httpx.AsyncBaseTransport | None:
    """The transports have different exceptions. The rules must hold for both that are likely to be used."""
    if request.param == "aiohttp":
        return None
    return httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None))


@pytest.fixture
async def make_client(upstream: RunningUpstream) -> AsyncIterator[ClientFactory]:
    """Return a function that creates clients of the fake upstream with almost no wait between retries. Closes them."""
    clients: list[ChatClient] = []

    def make(
        *, transport: httpx.AsyncBaseTransport | None = None, breaker: Any = None, **options: Any
    ) -> ChatClient:
        options = {"base_url": upstream.base_url, "api_key": KEY, "retry_wait_seconds": 0.001, **options}
        clients.append(ChatClient(Upstream(**options), transport=transport, breaker=breaker))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
async def raw_server() -> AsyncIterator[RawServer]:
    """Return a function that starts a server which answers every connection with the same bytes and closes it."""
    servers: list[asyncio.Server] = []

    async def start(response: bytes) -> str:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"}")
            writer.write(response)
            writer.close()

        servers.append(await asyncio.start_server(answer, "127.0.0.1", 0))
        return f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}/v1"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


def ask(prompt: str = PROMPT, *, model: str = "fake", **options: Any) -> ChatRequest:
    messages = [ChatMessage.of_text("user", prompt)]
    return ChatRequest(model=model, messages=messages, **{"max_tokens": 1000, **options})


async def collect(client: ChatClient, request: ChatRequest) -> tuple[list[Event], UpstreamError | None]:
    """Return all events of an answer, and the error that ended it, if any."""
    events: list[Event] = []
    try:
        async for event in client.stream_chat(request):
            # A comprehension would lose the events before an error.
            events.append(event)  # noqa: PERF401
    except UpstreamError as error:
        return events, error
    return events, None


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))
