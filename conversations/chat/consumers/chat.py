"""The websocket of a page: each incoming frame becomes one service call, and changes in the conversation go out."""

import asyncio
import contextlib
import contextvars
import datetime as dt
import logging
import time
import uuid
from collections.abc import Iterator
from typing import Any

from channels.consumer import get_handler_name
from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation.trans_real import parse_accept_lang_header

from conversations.access import selectors as access
from conversations.access.rules import Verdict
from conversations.accounts.models import User
from conversations.accounts.rules import time_zone_of
from conversations.chat.forms import FrameError, max_frame_bytes, read_frame
from conversations.chat.generation import feed
from conversations.chat.generation.live import Hub, current_hub
from conversations.chat.generation.service import ensure_started
from conversations.chat.generation.transcript import NewTurn
from conversations.chat.models import Conversation
from conversations.chat.rendering import fragments
from conversations.chat.rendering.frames import FrameWriter
from conversations.chat.services import sessions, sockets, turns
from conversations.common.outages import is_database_outage
from conversations.common.refusals import Refused

from . import codes
from .budget import FrameBudget, budget_of_user
from .outbox import Outbox, TooSlow
from .presence import Presence, current_presence

logger = logging.getLogger(__name__)


class ChatConsumer(AsyncWebsocketConsumer):
    """The connection of one open page, which follows the conversation that the page shows."""

    # The channel layer carries no messages for single sockets.
    channel_layer_alias = ""

    visitor: sessions.Visitor
    lease: int
    hub: Hub
    _following: "asyncio.Task[None] | None" = None
    _conversation_id: int | None = None
    _has_left = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._outbox = Outbox(self.send)
        self._budget = FrameBudget(at=time.monotonic())
        self._is_closing = False
        self._language_code = _language_of(scope)
        self._time_zone: dt.tzinfo | None = None
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Clean up however this task ends, because Daphne may also cancel it.
            self._is_closing = True
            self._leave()
            if self._following is not None:
                self._following.cancel()

    async def dispatch(self, message: Any) -> None:
        """Handle one socket event. If that fails, close the socket, and the page reconnects."""
        try:
            with self._locale():
                await getattr(self, get_handler_name(message))(message)
        except StopConsumer:
            raise
        except TooSlow:
            await self._close(codes.TOO_SLOW)
        except Exception as error:
            # Only the type is logged, because the message may quote the conversation.
            logger.error("Failed to handle a frame: %s", type(error).__qualname__)
            await self._close(codes.INTERNAL_ERROR)

    async def connect(self) -> None:
        # If this fails the socket is refused, and the page retries with increasing delays.
        refused = await database_sync_to_async(self._admit)()
        await self.accept()
        if refused is not None:
            await self._close(refused)
            return
        self._budget_of_user = budget_of_user(self.visitor.user.pk, at=time.monotonic())
        self.hub = current_hub()
        current_presence().enter(self)
        ensure_started()

    async def disconnect(self, code: int) -> None:
        self._is_closing = True
        self._leave()
        await self._stop_following()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._is_closing or not hasattr(self, "hub"):
            return
        size = len(bytes_data or b"") if text_data is None else len(text_data.encode("utf-8", "replace"))
        if size > max_frame_bytes():
            await self._refuse(_("Message too large. Shorten it and send it again."))
            await self._close(codes.TOO_LARGE)
        elif not self._may_send(size):
            await self._close(codes.TOO_MANY_FRAMES)
        elif text_data is None:
            await self._refuse(_("Only text is supported."))
        else:
            await self._take(text_data)

    async def _take(self, text: str) -> None:
        client_id: object = ""
        try:
            action, values = read_frame(text)
            client_id = values.get("client_id") or ""
            await getattr(self, f"_on_{action}")(**values)
        except FrameError as error:
            await self._refuse(error, client_id=error.client_id)
        except Refused as error:
            await self._refuse(error, client_id=client_id)
        except Exception as error:
            if not is_database_outage(error):
                raise
            logger.error(
                "The database was unavailable while a frame was handled: %s", type(error).__qualname__
            )
            reason = _("This site can't save anything right now. Your text is safe. Try again in a minute.")
            await self._refuse(reason, client_id=client_id)

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
        turn = await database_sync_to_async(turns.start_turn)(
            user=self.visitor.user,
            conversation=conversation,
            text=text,
            client_id=client_id,
            now=timezone.now(),
            model_slug=model,
            max_tokens=max_tokens,
        )
        if turn.verdict is not None and turn.verdict.membership is not None:
            await self._show_remaining(turn.verdict, turn.conversation)
        if self._conversation_id != turn.conversation.pk:
            if conversation is None:
                await self._show_started(turn.conversation)
            await self._follow(turn.conversation.pk, feed.Cursor(), turn=turn.step)

    async def _on_continue(self, *, message: uuid.UUID, client_id: uuid.UUID) -> None:
        await database_sync_to_async(turns.continue_answer)(
            user=self.visitor.user, message=message, client_id=client_id, now=timezone.now()
        )

    async def _on_stop(self, *, message: uuid.UUID) -> None:
        await database_sync_to_async(turns.request_stop)(
            user=self.visitor.user, message=message, now=timezone.now()
        )

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
            await self._refuse(_("Conversation not found."))
            return
        await self._follow(found, feed.Cursor(message, generation, offset or 0, open, revision or 0))

    async def _on_ack(self, *, received: int) -> None:
        self._outbox.acknowledge(received)

    # --- Following ---

    async def _follow(
        self, conversation_id: int, cursor: feed.Cursor, *, turn: NewTurn | None = None
    ) -> None:
        await self._stop_following()
        self._conversation_id = conversation_id
        self._following = asyncio.get_running_loop().create_task(
            self._keep_following(conversation_id, cursor, turn), context=contextvars.Context()
        )

    async def _stop_following(self) -> None:
        task, self._following = self._following, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _keep_following(self, conversation_id: int, cursor: feed.Cursor, turn: NewTurn | None) -> None:
        try:
            await self._bring_news(conversation_id, cursor, turn)
        except TooSlow:
            await self._close(codes.TOO_SLOW)
        except Exception as error:
            # Only the type is logged, because the message may quote the conversation. The page reconnects.
            logger.error("Failed to follow a conversation: %s", type(error).__qualname__)
            await self._close(codes.INTERNAL_ERROR)

    async def _bring_news(self, conversation_id: int, cursor: feed.Cursor, turn: NewTurn | None) -> None:
        """Send changes in the conversation as fast as the page reads them. Raises TooSlow."""
        # A page that attaches repeatedly without reading must wait as well.
        await self._outbox.wait_for_window()
        frames = FrameWriter()
        events = feed.follow(
            hub=self.hub,
            user=self.visitor.user,
            conversation_id=conversation_id,
            cursor=cursor,
            turn=turn,
        )
        async with contextlib.aclosing(events):
            async for event in events:
                with self._locale():
                    frame = await frames.frame(event)
                if not frame or self._is_closing:
                    continue
                self.hub.pace.note(frames.seconds)
                await self._outbox.send(frame)

    # --- Helpers ---

    def _admit(self) -> int | None:
        """Identify the visitor and count the page. Return a close code if it may not stay."""
        now = timezone.now()
        visitor = sessions.identify(self.scope["cookies"])
        if visitor is None:
            return codes.SIGNED_OUT
        if access.is_blocked(visitor.user, now=now):
            return codes.BLOCKED
        lease = sockets.open_socket(user=visitor.user, process=Presence.process, now=now)
        if lease is None:
            return codes.TOO_MANY_PAGES
        self.visitor, self.lease = visitor, lease
        self._time_zone = time_zone_of(visitor.user)
        if self._is_closing:
            # The page was cut off meanwhile, and whatever closed it didn't know of the lease yet.
            sockets.close_sockets([lease])
        return None

    def _leave(self) -> None:
        if hasattr(self, "visitor") and not self._has_left:
            self._has_left = True
            current_presence().leave(self)

    def _may_send(self, size: int) -> bool:
        now = time.monotonic()
        return self._budget.spend(size, at=now) and self._budget_of_user.spend(size, at=now)

    def _find(self, public_id: uuid.UUID) -> int | None:
        return (
            Conversation.objects.visible_to(self.visitor.user)
            .filter(uuid=public_id)
            .values_list("pk", flat=True)
            .first()
        )

    async def _show_started(self, conversation: Conversation) -> None:
        await self._send(fragments.conversation_started(conversation))

    async def _show_remaining(self, verdict: Verdict, conversation: Conversation) -> None:
        signup = await database_sync_to_async(access.signup_mode)()
        is_guest = self.visitor.user.account_type == User.AccountType.GUEST
        await self._send(
            fragments.access_banner(verdict, is_guest=is_guest, signup=signup, conversation=conversation)
        )

    @contextlib.contextmanager
    def _locale(self) -> Iterator[None]:
        """Use the language and the time zone of the page."""
        with translation.override(self._language_code), timezone.override(self._time_zone):
            yield

    async def _send(self, frame: str) -> None:
        if not self._is_closing:
            await self._outbox.send_now(frame)

    async def _refuse(self, reason: object, *, client_id: object = "") -> None:
        await self._send(fragments.refusal(str(reason), client_id=client_id))

    async def _close(self, code: int) -> None:
        if not self._is_closing:
            self._is_closing = True
            await self.close(code=code)

    async def close_with(self, code: int) -> None:
        """Stop sending to this page and close its socket."""
        await self._stop_following()
        await self._close(code)


def _language_of(scope: Any) -> str:
    """Return the language of the page, which is that of the cookie or else the browser's preference."""
    chosen = scope["cookies"].get(settings.LANGUAGE_COOKIE_NAME, "")
    with contextlib.suppress(LookupError):
        return translation.get_supported_language_variant(chosen)
    accepted = next((value for name, value in scope["headers"] if name == b"accept-language"), b"")
    for code, _priority in parse_accept_lang_header(accepted.decode("latin-1")):
        with contextlib.suppress(LookupError):
            return translation.get_supported_language_variant(code)
    return settings.LANGUAGE_CODE
