"""Telling the other processes what happens in this one, over the channel layer, when there is one they share.

One message a tick carries the new text of all generations of this process, since a message costs about a millisecond
whatever it holds. A message may be lost: then the copy in the other process has a hole, and fills it from the journal.
"""

import asyncio
import contextlib
import logging
import secrets
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.utils.crypto import salted_hmac

from . import doorbell
from .live import Hub

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.05
RETRY_SECONDS = 1.0


def is_shared() -> bool:
    """Whether the channel layer reaches other processes."""
    return not isinstance(get_channel_layer(), InMemoryChannelLayer | None)


def group_name() -> str:
    """Return the group of this site's processes, which share a SECRET_KEY.

    Sites that share a Redis server would otherwise hear one another, whose generations have the same numbers: what is
    published there reaches the subscribers of all its databases.
    """
    return f"generations-{salted_hmac(__name__, 'group').hexdigest()}"


class Broadcast:
    """Sends the news of this process's hub to the others, and takes in theirs."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._name = secrets.token_hex(8)
        self._rung: set[int] = set()
        self._sent: dict[int, int] = {}
        self._is_away = False
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Work until cancelled."""
        doorbell.listen(self._heard)
        receiving = asyncio.ensure_future(self._keep_receiving())
        try:
            while True:
                await asyncio.sleep(RETRY_SECONDS if self._is_away else TICK_SECONDS)
                await self._send_news()
        finally:
            doorbell.stop_listening(self._heard)
            receiving.cancel()
            await asyncio.wait({receiving})

    def _heard(self, conversation_id: int, _news: doorbell.News) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._rung.add, conversation_id)

    async def _send_news(self) -> None:
        texts, lengths = [], {}
        for live in self._hub.written_here():
            sent = self._sent.get(live.generation_id, 0)
            if live.length > sent:
                texts.append([live.generation_id, sent, live.since(sent)])
            lengths[live.generation_id] = live.length
        if not texts and not self._rung:
            self._sent = lengths
            return
        rung, self._rung = self._rung, set()
        layer = get_channel_layer()
        try:
            await layer.group_send(
                group_name(),
                {"type": "news", "from": self._name, "texts": texts, "conversations": list(rung)},
            )
        except Exception as error:
            # All of it is sent again, with what comes meanwhile. Said once, not at each attempt.
            self._rung |= rung
            if not self._is_away:
                logger.warning("News could not be sent to the other processes: %s", type(error).__qualname__)
            self._is_away = True
        else:
            self._sent = lengths
            self._is_away = False

    async def _keep_receiving(self) -> None:
        layer = get_channel_layer()
        while True:
            try:
                channel = await layer.new_channel()
                await layer.group_add(group_name(), channel)
                while True:
                    self._take(await layer.receive(channel))
            except Exception as error:
                logger.warning(
                    "News of the other processes could not be received: %s", type(error).__qualname__
                )
                # What was subscribed to would be filled for ever, with nobody to empty it.
                with contextlib.suppress(Exception):
                    await layer.flush()
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
