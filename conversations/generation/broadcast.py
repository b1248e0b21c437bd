"""Telling the other processes what happens in this one, over the channel layer, when there is one they share.

One message a tick carries the new text of all generations of this process, since a message costs about a millisecond
whatever it holds. A message may be lost: then the copy in the other process has a hole, and fills it from the journal.
"""

import asyncio
import logging
import secrets
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer

from . import doorbell
from .live import Hub

logger = logging.getLogger(__name__)

GROUP = "generations"
TICK_SECONDS = 0.05
RETRY_SECONDS = 1.0


def is_shared() -> bool:
    """Whether the channel layer reaches other processes."""
    return not isinstance(get_channel_layer(), InMemoryChannelLayer | None)


class Broadcast:
    """Sends the news of this process's hub to the others, and takes in theirs."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._name = secrets.token_hex(8)
        self._rung: set[int] = set()
        self._sent: dict[int, int] = {}
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Work until cancelled."""
        doorbell.listen(self._heard)
        receiving = asyncio.ensure_future(self._keep_receiving())
        try:
            while True:
                await asyncio.sleep(TICK_SECONDS)
                await self._send_news()
        finally:
            doorbell.stop_listening(self._heard)
            receiving.cancel()
            await asyncio.wait({receiving})

    def _heard(self, conversation_id: int) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._rung.add, conversation_id)

    async def _send_news(self) -> None:
        texts = []
        written = {live.generation_id: live for live in self._hub.written_here()}
        for pk, live in written.items():
            sent = self._sent.get(pk, 0)
            if live.length > sent:
                texts.append([pk, sent, live.since(sent)])
                self._sent[pk] = live.length
        for pk in self._sent.keys() - written.keys():
            del self._sent[pk]
        if not texts and not self._rung:
            return
        rung, self._rung = self._rung, set()
        layer = get_channel_layer()
        try:
            await layer.group_send(
                GROUP, {"type": "news", "from": self._name, "texts": texts, "conversations": list(rung)}
            )
        except Exception as error:
            logger.warning("News could not be sent to the other processes: %s", type(error).__qualname__)

    async def _keep_receiving(self) -> None:
        while True:
            try:
                layer = get_channel_layer()
                channel = await layer.new_channel()
                await layer.group_add(GROUP, channel)
                while True:
                    self._take(await layer.receive(channel))
            except Exception as error:
                logger.warning(
                    "News of the other processes could not be received: %s", type(error).__qualname__
                )
                await asyncio.sleep(RETRY_SECONDS)

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("from") == self._name:
            return
        for pk, offset, text in message["texts"]:
            live = self._hub.find(pk)
            if live is not None and not live.is_written_here:
                live.put(offset, text)
        for conversation_id in message["conversations"]:
            self._hub.ring(conversation_id)
