"""Simulate a page's socket, for tests within one process."""

import json
import re
import uuid
from typing import Any

from channels.testing import WebsocketCommunicator
from django.test import Client

from chatsite.asgi import application
from conversations.accounts.models import User
from conversations.chat.models import Conversation

# ALLOWED_HOSTS always includes this host.
HOST = "localhost"


class Page:
    """A page's side of the socket."""

    def __init__(self, client: Client | None, *, origin: str = f"http://{HOST}", host: str = HOST) -> None:
        headers = [(b"host", host.encode())]
        if origin:
            headers.append((b"origin", origin.encode()))
        if client is not None:
            cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
            headers.append((b"cookie", cookies.encode()))
        self.socket = WebsocketCommunicator(application, "/ws/chat/", headers=headers)

    async def open(self) -> bool:
        connected, _ = await self.socket.connect()
        return bool(connected)

    async def send(self, **frame: Any) -> None:
        await self.socket.send_to(text_data=json.dumps(frame))

    async def say(self, text: str, within: Conversation | None = None, **values: Any) -> uuid.UUID:
        client_id = uuid.uuid4()
        frame = {"action": "send", "conversation": str(within.uuid) if within else "", "text": text}
        await self.send(**{**frame, "client_id": str(client_id), **values})
        return client_id

    async def attach(self, conversation: Conversation | str, **cursor: Any) -> None:
        public_id = conversation if isinstance(conversation, str) else str(conversation.uuid)
        await self.send(action="attach", conversation=public_id, **cursor)

    async def frame(self, seconds: float = 5) -> str:
        return str(await self.socket.receive_from(timeout=seconds))

    async def until(self, pattern: str) -> str:
        """Return all frames up to and including the one that matches the pattern."""
        frames = ""
        while not re.search(pattern, frames):
            frames += await self.frame()
        return frames

    async def closed(self) -> int:
        """Wait until the socket is closed and return the close code, ignoring frames that come first."""
        while True:
            message = await self.socket.receive_output(timeout=10)
            if message["type"] == "websocket.close":
                return int(message.get("code", 1000))

    async def close(self) -> None:
        await self.socket.disconnect()


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client
