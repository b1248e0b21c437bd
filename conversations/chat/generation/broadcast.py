"""Send this process's updates to the other processes over the channel layer, if they share one.

Each message costs about a millisecond whatever its size, so one message per tick carries the new text of all
generations. Messages may be lost. The copy in the other process then has a gap, which it fills from the journal.
"""

import asyncio
import contextlib
import logging
import secrets
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.utils.crypto import salted_hmac

from . import changes
from .live import Hub, LiveText
from .transcript import Step

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.05
RETRY_SECONDS = 1.0


def is_shared() -> bool:
    """Return whether the channel layer reaches other processes."""
    return not isinstance(get_channel_layer(), InMemoryChannelLayer | None)


def group_name() -> str:
    """Return the name of the group that this site's processes join. It is derived from SECRET_KEY.

    Redis publishes to the subscribers of all its databases. Without a name of its own, a site would receive the updates
    of other sites on the same server, whose generations have the same numbers.
    """
    return f"generations-{salted_hmac(__name__, 'group').hexdigest()}"


class Broadcast:
    """Sends this process's updates to the other processes, and applies theirs to its hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._name = secrets.token_hex(8)
        self._changed: set[int] = set()
        self._sent: dict[int, tuple[int, int]] = {}
        self._is_away = False
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Run until cancelled."""
        changes.listen(self._heard)
        receiving = asyncio.ensure_future(self._keep_receiving())
        try:
            while True:
                await asyncio.sleep(RETRY_SECONDS if self._is_away else TICK_SECONDS)
                await self._send_news()
        finally:
            changes.stop_listening(self._heard)
            receiving.cancel()
            await asyncio.wait({receiving})

    def _heard(self, conversation_id: int, _change: changes.Change, _step: Step | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.add, conversation_id)

    async def _send_news(self) -> None:
        texts, thoughts, lengths = [], [], {}
        for live in self._hub.written_here():
            pk, reasoning = live.generation_id, live.reasoning
            sent, sent_reasoning = self._sent.get(pk, (0, 0))
            if live.length > sent:
                texts.append([pk, sent, live.since(sent)])
            if reasoning.length > sent_reasoning:
                thoughts.append([pk, sent_reasoning, reasoning.since(sent_reasoning), live.reasoning_ms])
            lengths[pk] = live.length, reasoning.length
        if not texts and not thoughts and not self._changed:
            self._sent = lengths
            return
        changed, self._changed = self._changed, set()
        layer = get_channel_layer()
        try:
            await layer.group_send(
                group_name(),
                {
                    "type": "news",
                    "from": self._name,
                    "texts": texts,
                    "reasoning": thoughts,
                    "conversations": list(changed),
                },
            )
        except Exception as error:
            # All of it is sent again with the next tick. The failure is logged once, not on each attempt.
            self._changed |= changed
            if not self._is_away:
                logger.warning("Updates could not be sent to other processes: %s", type(error).__qualname__)
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
                    "Updates from other processes could not be received: %s", type(error).__qualname__
                )
                # Leave the group, or its queue would keep growing with no one reading it.
                with contextlib.suppress(Exception):
                    await layer.flush()
                await asyncio.sleep(RETRY_SECONDS)

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("from") == self._name:
            return
        for pk, offset, text, so_far_ms in message["reasoning"]:
            if (live := self._copy(pk)) is not None:
                live.put_reasoning(offset, text, so_far_ms=so_far_ms)
        for pk, offset, text in message["texts"]:
            if (live := self._copy(pk)) is not None:
                live.put(offset, text)
        for conversation_id in message["conversations"]:
            self._hub.announce(conversation_id)

    def _copy(self, generation_id: int) -> LiveText | None:
        live = self._hub.find(generation_id)
        return live if live is not None and not live.is_written_here else None
