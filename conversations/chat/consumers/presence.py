"""The open pages of this process, which are counted across processes and checked for continued access."""

import asyncio
import contextlib
import contextvars
import logging
import time
from collections.abc import Awaitable
from typing import ClassVar, Protocol

from channels.db import database_sync_to_async
from django.utils import timezone

from conversations.chat.generation.journal import make_process_id
from conversations.chat.services import sessions, sockets

from . import codes

logger = logging.getLogger(__name__)

CHECK_SECONDS = 3.0
"""How often the visitors of open pages are checked for continued access."""
ENDING_SECONDS = 1.5
"""How long a socket that has lost access stays open for its running generation to end."""

_CODES = {
    sessions.Ended.SIGNED_OUT: codes.SIGNED_OUT,
    sessions.Ended.BLOCKED: codes.BLOCKED,
}


class Page(Protocol):
    """The interface of an open page that this module needs."""

    visitor: sessions.Visitor
    lease: int

    def close_with(self, code: int) -> Awaitable[None]:
        """Stop sending to the page and close its socket."""


class Presence:
    """All open pages of this process.

    While there is anything to do, one task renews and releases their leases and checks their visitors. So a lease is
    released however the page's own task ends, even if the database is unavailable when the page closes.
    """

    process: ClassVar[str] = make_process_id()

    def __init__(self) -> None:
        self._pages: set[Page] = set()
        self._closed: set[int] = set()
        self._has_closed = asyncio.Event()
        self._is_away = False
        self._task: asyncio.Task[None] | None = None

    def enter(self, page: Page) -> None:
        """Renew the lease of this page and check its visitor from now on."""
        self._pages.add(page)
        self._work()

    def leave(self, page: Page) -> None:
        """Release the lease of a page that has closed, even if `enter` was never called for it."""
        self._pages.discard(page)
        self._release_lease(page.lease)

    def _release_lease(self, lease: int) -> None:
        self._closed.add(lease)
        self._has_closed.set()
        self._work()

    def _work(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())

    async def _run(self) -> None:
        checked_at = time.monotonic()
        while self._pages or self._closed:
            try:
                await self._release_leases()
                if time.monotonic() - checked_at >= CHECK_SECONDS:
                    checked_at = time.monotonic()
                    await self._check()
                self._is_away = False
            except Exception as error:
                # Log the outage once, not on each attempt.
                if not self._is_away:
                    logger.warning("Failed to count and check open pages: %s", type(error).__qualname__)
                self._is_away = True
                await asyncio.sleep(CHECK_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, checked_at + CHECK_SECONDS - time.monotonic())):
                    await self._has_closed.wait()

    async def _release_leases(self) -> None:
        self._has_closed.clear()
        if closed := set(self._closed):
            await database_sync_to_async(sockets.close_sockets)(closed)
            self._closed -= closed

    async def _check(self) -> None:
        pages = list(self._pages)
        if not pages:
            return
        await database_sync_to_async(sockets.keep_sockets)(
            {page.lease: page.visitor.user.pk for page in pages}, process=self.process, now=timezone.now()
        )
        # Pages that closed in the meantime may just have had their leases recreated.
        for page in pages:
            if page not in self._pages:
                self._release_lease(page.lease)
        ended = await database_sync_to_async(sessions.no_longer_valid)(
            [page.visitor for page in pages], now=timezone.now()
        )
        # A user who is signed in elsewhere keeps their generations.
        others = {page.visitor.user.pk for page in pages if page.visitor not in ended}
        await self._end_generations([visitor for visitor in ended if visitor.user.pk not in others])
        for page in pages:
            if page.visitor in ended:
                await page.close_with(_CODES[ended[page.visitor]])

    async def _end_generations(self, visitors: list[sessions.Visitor]) -> None:
        """Stop the generations of these visitors and wait until they end, so that a reload shows them ended."""
        if not visitors:
            return
        await database_sync_to_async(sessions.stop_generations)(visitors, now=timezone.now())
        give_up_at = time.monotonic() + ENDING_SECONDS
        while time.monotonic() < give_up_at:
            if not await database_sync_to_async(sessions.is_written_for)(visitors):
                return
            await asyncio.sleep(0.1)


_presence: tuple[asyncio.AbstractEventLoop, Presence] | None = None


def current_presence() -> Presence:
    """Return the Presence of the running event loop."""
    global _presence
    loop = asyncio.get_running_loop()
    if _presence is None or _presence[0] is not loop:
        _presence = loop, Presence()
    return _presence[1]
