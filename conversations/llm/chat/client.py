"""The client of an OpenAI-compatible chat completions API."""

import asyncio
from collections.abc import AsyncGenerator

import httpx

from conversations.llm.breaker import CircuitBreaker
from conversations.llm.chat.parser import CompletionParser, Event
from conversations.llm.chat.request import ChatRequest
from conversations.llm.http import HttpClient, Pause
from conversations.llm.upstream import Upstream


class ChatClient:
    """Requests answers from one upstream. Any number may run at the same time.

    Create one for each upstream and event loop, and close it with `aclose`. `transport` and `breaker` are passed to
    HttpClient.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self._upstream = upstream
        self._http = HttpClient(upstream, transport=transport, breaker=breaker)

    async def aclose(self) -> None:
        """Close all connections. Answers that are still being read end with an error."""
        await self._http.aclose()

    async def stream_chat(
        self, request: ChatRequest, *, pause: Pause | None = None
    ) -> AsyncGenerator[Event, None]:
        """Request an answer and yield its events: Reasoning, Delta, one Finish, and Usage if the upstream reports it.

        Text that arrives together is one Delta. After the first text, `pause` is awaited before each read, so that more
        arrives together. Retries happen only before the first event.

        To close the connection at once, and so end the generation upstream, cancel the task that waits for the next
        event, or call `aclose` (use `contextlib.aclosing`). If cancelled, yields what has arrived before raising
        CancelledError. Raises UpstreamError after yielding the text that arrived before the failure.
        """
        response = await self._http.post(
            "/chat/completions",
            request.to_json(),
            accept="text/event-stream, application/json",
            make_reader=self._make_parser,
            pause=pause,
        )
        try:
            while True:
                for event in response.events:
                    yield event
                if response.has_ended:
                    break
                try:
                    await response.read()
                except asyncio.CancelledError:
                    await response.read_arrived()
                    for event in response.events:
                        yield event
                    raise
        finally:
            await response.aclose()
        if response.failure is not None:
            raise response.failure

    def _make_parser(self, content_type: str) -> CompletionParser:
        return CompletionParser(
            is_stream=content_type != "application/json",
            max_line_bytes=self._upstream.max_line_bytes,
            max_answer_bytes=self._upstream.max_answer_bytes,
        )
