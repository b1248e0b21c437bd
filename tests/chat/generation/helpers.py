"""Start generations and wait for what becomes of them."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from channels.db import database_sync_to_async
from django.utils import timezone

from conversations.accounts.models import User
from conversations.chat.models import Generation
from conversations.chat.services import turns


async def start(user: User, text: str = "Hello", **values: Any) -> Generation:
    turn = await database_sync_to_async(turns.start_turn)(
        user=user,
        text=text,
        **{"conversation": None, "client_id": uuid.uuid4(), "now": timezone.now(), **values},
    )
    return turn.generation


async def until(
    is_so: Callable[[Generation], Any], generation: Generation, *, seconds: float = 10
) -> Generation:
    """Poll the database row until a condition is true."""
    async with asyncio.timeout(seconds):
        while True:
            found = await Generation.objects.select_related("message", "conversation").aget(pk=generation.pk)
            result = is_so(found)
            if isinstance(result, Awaitable):
                result = await result
            if result:
                return found
            await asyncio.sleep(0.01)


def has_ended(generation: Generation) -> bool:
    return not generation.is_active
