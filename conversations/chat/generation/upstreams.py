"""HTTP clients for the configured providers. All generations of a runner share them."""

import asyncio

from django.conf import settings

from conversations.catalogue.models import ChatModel
from conversations.llm.chat import ChatClient
from conversations.llm.embedded import EmbeddedServer
from conversations.llm.upstream import Upstream

OPENAI_API = "https://api.openai.com/v1"


class Upstreams:
    """Opens each provider's client when it is first needed. Starts the demo model's server for its client."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, str], ChatClient] = {}
        self._embedded: EmbeddedServer | None = None
        self._opening = asyncio.Lock()

    async def client(self, provider: str) -> ChatClient:
        """Return the client of this provider. Raises EmbeddedUnavailable if the demo model can't start."""
        if provider == ChatModel.Provider.EMBEDDED:
            if self._embedded is None:
                self._embedded = EmbeddedServer(log_path=settings.DATA_DIR / "embedded-model.log")
            endpoint = await self._embedded.ensure()
            return await self._open(endpoint.base_url, api_key=endpoint.api_key)
        return await self._open(
            settings.OPENAI_BASE_URL or OPENAI_API,
            api_key=settings.OPENAI_API_KEY,
            organization=settings.OPENAI_ORGANIZATION,
            project=settings.OPENAI_PROJECT,
        )

    async def _open(
        self, base_url: str, *, api_key: str, organization: str = "", project: str = ""
    ) -> ChatClient:
        async with self._opening:
            client = self._clients.get((base_url, api_key))
            if client is None:
                upstream = Upstream(
                    base_url=base_url,
                    api_key=api_key,
                    organization=organization,
                    project=project,
                    connect_seconds=settings.UPSTREAM_CONNECT_SECONDS,
                    first_byte_seconds=settings.UPSTREAM_FIRST_BYTE_SECONDS,
                    idle_seconds=settings.UPSTREAM_IDLE_SECONDS,
                    answer_seconds=settings.UPSTREAM_ANSWER_SECONDS,
                )
                client = self._clients[base_url, api_key] = ChatClient(upstream)
            return client

    async def aclose(self) -> None:
        """Close all connections and stop the demo model's server."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()
        if self._embedded is not None:
            await self._embedded.aclose()
            self._embedded = None
