"""Django admin of conversations, messages and generations, all of which are read-only."""

import uuid
from typing import Any, cast

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from conversations.accounts.admin import UserAdmin, extend_user_admin
from conversations.accounts.models import User
from conversations.chat.models import Conversation, Generation, GenerationChunk, Message, MessagePart
from conversations.common.admin import EvidenceInline, ReadOnlyAdmin


class ConfidentialAdmin(ReadOnlyAdmin):
    """A read-only admin that hides texts and links to a page which asks for a reason and logs it."""

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fields = super().get_fields(request, obj)
        return [*fields, "read_it"] if self._may_read(request) else fields

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        columns = list(super().get_list_display(request))
        return [*columns, "read_it"] if self._may_read(request) else columns

    def _may_read(self, request: HttpRequest) -> bool:
        return request.user.has_perm("review.read_conversation")

    def conversation_of(self, shown: Any) -> uuid.UUID:
        """Return the public ID of the conversation that a row belongs to."""
        raise NotImplementedError

    @admin.display(description=_("text"))
    def read_it(self, shown: Any) -> SafeString:
        address = reverse("admin:review_reviewcase_read", args=[self.conversation_of(shown)])
        return format_html('<a href="{}">{}</a>', address, gettext("Read (reason required)"))


class _Conversations(UserAdmin):
    """The part of the user admin that counts a user's conversations."""

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [*super().get_list_display(request), "conversation_count"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return cast(
            QuerySet[User], super().get_queryset(request).annotate(_conversations=Count("conversations"))
        )

    @admin.display(description=_("conversations"), ordering="_conversations")
    def conversation_count(self, user: Any) -> int:
        return int(user._conversations)


extend_user_admin(_Conversations)


@admin.register(Conversation)
class ConversationAdmin(ConfidentialAdmin):
    """Conversations, without their texts."""

    list_display = ("uuid", "owner", "message_count", "last_activity_at", "created_at")
    list_filter = ("last_activity_at", "created_at", ("archived_at", admin.EmptyFieldListFilter))
    search_fields = ("uuid", "owner__username", "owner__email")
    date_hierarchy = "created_at"
    list_select_related = ("owner",)
    exclude = ("head", "title")

    def conversation_of(self, shown: Conversation) -> uuid.UUID:
        return shown.uuid

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        return cast(
            QuerySet[Conversation], super().get_queryset(request).annotate(_messages=Count("messages"))
        )

    @admin.display(description=_("messages"), ordering="_messages")
    def message_count(self, conversation: Any) -> int:
        return int(conversation._messages)


class GenerationInline(EvidenceInline):
    """The generations of a message."""

    model = Generation
    fields = readonly_fields = (
        "uuid",
        "model",
        "status",
        "finish_reason",
        "error_code",
        "prompt_tokens",
        "completion_tokens",
        "created_at",
    )


@admin.register(Message)
class MessageAdmin(ConfidentialAdmin):
    """Messages, without their texts, and the generations that wrote them."""

    list_display = ("uuid", "role", "conversation_link", "created_at", "hidden_at")
    list_filter = ("role", "created_at", ("hidden_at", admin.EmptyFieldListFilter))
    exclude = ("text", "vetted_text")
    search_fields = ("uuid", "conversation__uuid", "conversation__owner__username")
    date_hierarchy = "created_at"
    list_select_related = ("conversation",)
    inlines = (GenerationInline,)

    def conversation_of(self, shown: Message) -> uuid.UUID:
        return shown.conversation.uuid

    @admin.display(description=_("conversation"))
    def conversation_link(self, message: Message) -> SafeString:
        address = reverse("admin:chat_conversation_change", args=[message.conversation_id])
        return format_html('<a href="{}">{}</a>', address, message.conversation.uuid)


@admin.register(Generation)
class GenerationAdmin(ReadOnlyAdmin):
    """Upstream calls, with their outcome, duration and token usage."""

    list_display = (
        "uuid",
        "status",
        "model",
        "finish_reason",
        "error",
        "prompt_tokens",
        "completion_tokens",
        "seconds_to_first_token",
        "seconds",
        "created_at",
    )
    list_filter = (
        "status",
        "finish_reason",
        ("error_code", admin.AllValuesFieldListFilter),
        "model",
        "usage_is_estimated",
        "created_at",
    )
    search_fields = ("uuid", "conversation__uuid", "message__uuid", "conversation__owner__username", "runner")
    date_hierarchy = "created_at"
    list_select_related = ("model",)

    @admin.display(description=_("error"), ordering="error_code")
    def error(self, generation: Generation) -> str:
        # The code, because its label is a whole sentence meant for users.
        return generation.error_code

    @admin.display(description=_("time to first token (s)"))
    def seconds_to_first_token(self, generation: Generation) -> float | None:
        if generation.started_at is None or generation.first_token_at is None:
            return None
        return round((generation.first_token_at - generation.started_at).total_seconds(), 2)

    @admin.display(description=_("total time (s)"))
    def seconds(self, generation: Generation) -> float | None:
        if generation.started_at is None or generation.ended_at is None:
            return None
        return round((generation.ended_at - generation.started_at).total_seconds(), 2)


@admin.register(GenerationChunk)
class GenerationChunkAdmin(ConfidentialAdmin):
    """The journal of running generations, without the text. It is empty when none are running."""

    list_display = ("generation", "part", "kind", "offset", "length")
    list_select_related = ("generation__conversation",)
    exclude = ("text",)
    search_fields = ("generation__uuid",)
    list_filter = ("generation__status",)

    def conversation_of(self, shown: GenerationChunk) -> uuid.UUID:
        return shown.generation.conversation.uuid

    @admin.display(description=_("characters"))
    def length(self, chunk: GenerationChunk) -> int:
        return len(chunk.text)


@admin.register(MessagePart)
class MessagePartAdmin(ConfidentialAdmin):
    """The other parts of answers, such as reasoning, without their texts."""

    list_display = ("message", "position", "kind", "offset", "length", "duration_ms")
    list_select_related = ("message__conversation",)
    exclude = ("text",)
    search_fields = ("message__uuid",)
    list_filter = ("kind",)

    def conversation_of(self, shown: MessagePart) -> uuid.UUID:
        return shown.message.conversation.uuid

    @admin.display(description=_("characters"))
    def length(self, part: MessagePart) -> int:
        return len(part.text)
