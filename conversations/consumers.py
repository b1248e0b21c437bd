"""The socket of a page: frames in, one domain call each; what is new in the conversation, out."""

import asyncio
import contextlib
import contextvars
import logging
import time
import uuid
from typing import Any, ClassVar

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation.trans_real import parse_accept_lang_header

from conversations.forms import FrameError, max_frame_bytes, read_frame
from conversations.generation import feed
from conversations.generation.journal import make_owner
from conversations.generation.live import Hub, current_hub
from conversations.generation.service import ensure_started
from conversations.models import Conversation, User
from conversations.operations import access, sessions, sockets, turns
from conversations.rendering import fragments

logger = logging.getLogger(__name__)

CLOSE_TOO_LARGE = 1009
CLOSE_INTERNAL_ERROR = 1011
CLOSE_SIGNED_OUT = 4401
CLOSE_TOO_SLOW = 4408
CLOSE_KEPT_OUT = 4423
CLOSE_TOO_MANY = 4429
_CLOSE_CODES = {
    sessions.Ended.SIGNED_OUT: CLOSE_SIGNED_OUT,
    sessions.Ended.KEPT_OUT: CLOSE_KEPT_OUT,
}

# The server underneath keeps what a reader does not take, without limit. A page therefore says how much it has taken in,
# and gets no more while this many bytes are under way.
WINDOW_BYTES = 256 * 1024
SLOW_READER_SECONDS = 30.0
CHECK_SECONDS = 3.0
"""How often it is checked that those behind the open sockets are still signed in."""
ENDING_SECONDS = 1.5
"""How long the sockets of those who are not stay open for the end of what is being written for them."""
SIDEBAR_LENGTH = 50


class ChatConsumer(AsyncWebsocketConsumer):
    """One open page: who it belongs to, the conversation it shows, and the task that follows that conversation."""

    # No messages for single sockets go through the layer.
    channel_layer_alias = ""

    _open: ClassVar[set["ChatConsumer"]] = set()
    _process: ClassVar[str] = make_owner()
    _checking: ClassVar["asyncio.Task[None] | None"] = None

    visitor: sessions.Visitor
    hub: Hub

    async def connect(self) -> None:
        self._following: asyncio.Task[None] | None = None
        self._conversation_id: int | None = None
        self._sent = self._received = 0
        self._acknowledged = asyncio.Event()
        self._is_closing = False
        self._lease: int | None = None
        await self.accept()
        visitor = await database_sync_to_async(sessions.identify)(self.scope["cookies"])
        if visitor is None:
            await self._close(CLOSE_SIGNED_OUT)
            return
        if await database_sync_to_async(access.may_not_enter)(visitor.user, now=timezone.now()):
            await self._close(CLOSE_KEPT_OUT)
            return
        self.visitor = visitor
        self._language_code = _language_of(self.scope)
        self._lease = await database_sync_to_async(sockets.open_socket)(
            user=visitor.user, process=self._process, now=timezone.now()
        )
        if self._lease is None:
            with self._language():
                await self._send(
                    fragments.refusal(_("Too many pages are open at once. Close one, then reload this one."))
                )
            await self._close(CLOSE_TOO_MANY)
            return
        self._open.add(self)
        self.hub = current_hub()
        ensure_started()
        self._start_checking()

    async def disconnect(self, code: int) -> None:
        self._is_closing = True
        self._open.discard(self)
        await self._stop_following()
        if self._lease is not None:
            try:
                await database_sync_to_async(sockets.close_socket)(self._lease)
            except Exception as error:
                # It counts until the process goes, or nobody hears of it any more.
                logger.warning("A page could not be counted off: %s", type(error).__qualname__)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._is_closing or not hasattr(self, "hub"):
            return
        with self._language():
            if text_data is None:
                await self._send(fragments.refusal(_("This site takes text only.")))
                return
            if (
                len(text_data) > max_frame_bytes()
                or len(text_data.encode("utf-8", "replace")) > max_frame_bytes()
            ):
                await self._send(fragments.refusal(_("This is too long to be sent. Shorten it.")))
                await self._close(CLOSE_TOO_LARGE)
                return
            try:
                action, values = read_frame(text_data)
                await getattr(self, f"_on_{action}")(**values)
            except FrameError as error:
                await self._send(fragments.refusal(str(error), client_id=error.client_id))

    # --- Frames ---

    async def _on_send(
        self,
        *,
        conversation: uuid.UUID | None,
        client_id: uuid.UUID,
        text: str,
        model: str,
        max_tokens: int | None,
    ) -> None:
        try:
            turn = await database_sync_to_async(turns.start_turn)(
                user=self.visitor.user,
                conversation=conversation,
                text=text,
                client_id=client_id,
                now=timezone.now(),
                model_slug=model,
                max_tokens=max_tokens,
            )
        except turns.TurnRefused as error:
            await self._send(fragments.refusal(str(error), client_id=client_id))
            return
        if self.visitor.user.standing in {User.Standing.PREVIEW, User.Standing.GUEST}:
            await self._show_what_is_left()
        if self._conversation_id != turn.conversation.pk:
            if conversation is None:
                await self._show_as_begun(turn.conversation)
            await self._follow(turn.conversation.pk, feed.Cursor())

    async def _on_continue(self, *, message: uuid.UUID, client_id: uuid.UUID) -> None:
        try:
            await database_sync_to_async(turns.continue_answer)(
                user=self.visitor.user, message=message, client_id=client_id, now=timezone.now()
            )
        except turns.TurnRefused as error:
            await self._send(fragments.refusal(str(error), client_id=client_id))

    async def _on_stop(self, *, message: uuid.UUID) -> None:
        try:
            await database_sync_to_async(turns.request_stop)(
                user=self.visitor.user, message=message, now=timezone.now()
            )
        except turns.TurnRefused as error:
            await self._send(fragments.refusal(str(error)))

    async def _on_attach(
        self,
        *,
        conversation: uuid.UUID | None,
        message: uuid.UUID | None,
        generation: uuid.UUID | None,
        offset: int | None,
        open: bool,  # noqa: A002  (the name of the field)
        revision: int | None,
    ) -> None:
        if conversation is None:
            return
        found = await database_sync_to_async(self._find)(conversation)
        if found is None:
            await self._send(fragments.refusal(_("This conversation is not there, or not yours.")))
            return
        await self._follow(found, feed.Cursor(message, generation, offset or 0, open, revision or 0))

    async def _on_ack(self, *, received: int) -> None:
        self._received = max(self._received, min(received, self._sent))
        self._acknowledged.set()

    # --- Following ---

    async def _follow(self, conversation_id: int, cursor: feed.Cursor) -> None:
        await self._stop_following()
        self._conversation_id = conversation_id
        self._following = asyncio.get_running_loop().create_task(
            self._keep_following(conversation_id, cursor), context=contextvars.Context()
        )

    async def _stop_following(self) -> None:
        task, self._following = self._following, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _keep_following(self, conversation_id: int, cursor: feed.Cursor) -> None:
        try:
            await self._bring_news(conversation_id, cursor)
        except Exception as error:
            # The type alone, since the rest may hold what was said. The page connects again, and is brought up to date.
            logger.error("A conversation could not be followed: %s", type(error).__qualname__)
            await self._close(CLOSE_INTERNAL_ERROR)

    async def _bring_news(self, conversation_id: int, cursor: feed.Cursor) -> None:
        """Send what is new in the conversation, as fast as the page takes it in."""
        # A page that asks again and again, and takes nothing in, has to wait too.
        if not await self._has_room():
            await self._close(CLOSE_TOO_SLOW)
            return
        writer: fragments.AnswerWriter | None = None
        events = feed.follow(
            hub=self.hub, user=self.visitor.user, conversation_id=conversation_id, cursor=cursor
        )
        async with contextlib.aclosing(events):
            async for event in events:
                begun = time.perf_counter()
                frame = ""
                with self._language():
                    match event:
                        case feed.Added(entries):
                            frame, writer = fragments.added(entries)
                        case feed.Replaced(entry):
                            frame, writer = fragments.replaced(entry)
                        case feed.Moderated(entries, revision):
                            frame = fragments.moderated(entries, revision=revision)
                        case feed.Resumed(entry, offset):
                            writer = fragments.AnswerWriter(entry, offset=offset)
                        case feed.Grown(text) if writer is not None:
                            frame = writer.grow(text)
                        case feed.Ended(entry) if writer is not None:
                            frame, writer = writer.end(entry), None
                        case feed.Gone():
                            frame = fragments.gone()
                if frame:
                    await self._send(frame)
                    self.hub.pace.note(time.perf_counter() - begun)
                    if not await self._has_room():
                        await self._close(CLOSE_TOO_SLOW)
                        return

    async def _has_room(self) -> bool:
        """Wait until the page has taken in enough. False where it does not for too long."""
        while self._sent - self._received > WINDOW_BYTES:
            self._acknowledged.clear()
            try:
                await asyncio.wait_for(self._acknowledged.wait(), SLOW_READER_SECONDS)
            except TimeoutError:
                return False
        return True

    # --- Parts ---

    def _find(self, public_id: uuid.UUID) -> int | None:
        return (
            Conversation.objects.visible_to(self.visitor.user)
            .filter(uuid=public_id)
            .values_list("pk", flat=True)
            .first()
        )

    async def _show_as_begun(self, conversation: Conversation) -> None:
        newest = await database_sync_to_async(_sidebar)(self.visitor.user)
        await self._send(fragments.conversation_begun(conversation, conversations=newest))

    async def _show_what_is_left(self) -> None:
        user = self.visitor.user
        use = await database_sync_to_async(access.use_of)(user, now=timezone.now())
        signup = await database_sync_to_async(access.signup_mode)()
        is_guest = user.standing == User.Standing.GUEST
        await self._send(fragments.use_banner(use, is_guest=is_guest, signup=signup))

    def _language(self) -> translation.override:
        return translation.override(self._language_code)

    async def _send(self, frame: str) -> None:
        if not self._is_closing:
            self._sent += len(frame.encode("utf-8", "replace"))
            await self.send(text_data=frame)

    async def _close(self, code: int) -> None:
        if not self._is_closing:
            self._is_closing = True
            await self.close(code=code)

    @classmethod
    def _start_checking(cls) -> None:
        """Check all open sockets of this process together, by one task, as long as there are any."""
        if cls._checking is None or cls._checking.done():
            cls._checking = asyncio.get_running_loop().create_task(
                cls._check_visitors(), context=contextvars.Context()
            )

    @classmethod
    async def _check_visitors(cls) -> None:
        while cls._open:
            await asyncio.sleep(CHECK_SECONDS)
            consumers = list(cls._open)
            try:
                await database_sync_to_async(sockets.keep_sockets)(process=cls._process, now=timezone.now())
                ended = await database_sync_to_async(sessions.no_longer_valid)(
                    [c.visitor for c in consumers], now=timezone.now()
                )
                # Whoever is signed in elsewhere goes on there.
                others = {c.visitor.user.pk for c in consumers if c.visitor not in ended}
                await cls._end_generations([v for v in ended if v.user.pk not in others])
            except Exception:
                logger.exception(
                    "Whether people are still signed in could not be checked; it is tried again."
                )
                continue
            for consumer in consumers:
                if consumer.visitor in ended:
                    await consumer._stop_following()
                    await consumer._close(_CLOSE_CODES[ended[consumer.visitor]])

    @classmethod
    async def _end_generations(cls, visitors: list[sessions.Visitor]) -> None:
        """End what is being written for these people, and wait until it has: a page that loads again must find it ended."""
        if not visitors:
            return
        await database_sync_to_async(sessions.stop_generations)(visitors, now=timezone.now())
        give_up_at = time.monotonic() + ENDING_SECONDS
        while time.monotonic() < give_up_at:
            if not await database_sync_to_async(sessions.is_written_for)(visitors):
                return
            await asyncio.sleep(0.1)


def _language_of(scope: Any) -> str:
    """Return the language that the page was in: the one chosen by cookie, else what the browser asks for."""
    chosen = scope["cookies"].get(settings.LANGUAGE_COOKIE_NAME, "")
    with contextlib.suppress(LookupError):
        return translation.get_supported_language_variant(chosen)
    accepted = next((value for name, value in scope["headers"] if name == b"accept-language"), b"")
    for code, _priority in parse_accept_lang_header(accepted.decode("latin-1")):
        with contextlib.suppress(LookupError):
            return translation.get_supported_language_variant(code)
    return settings.LANGUAGE_CODE


def _sidebar(user: User) -> list[Conversation]:
    return list(Conversation.objects.visible_to(user).newest_first()[:SIDEBAR_LENGTH])
