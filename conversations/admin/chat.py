"""Django admin: what staff see of users, conversations and answers. What was said and generated is read-only evidence."""

import uuid
from functools import partial
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from conversations.models import ChatModel, Conversation, Generation, GenerationChunk, Message, User
from conversations.operations import access

from .evidence import read_conversation
from .tracing import trace_page


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Evidence: it can be looked at by those with the permission, and changed by nobody."""

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [field.name for field in self.opts.fields if field.name not in {"id", *(self.exclude or ())}]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        # Named, so that those are shown too which no form could edit, such as the public id.
        return self.get_fields(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ConfidentialAdmin(ReadOnlyAdmin):
    """Evidence whose text is not shown here: who may read it says why first, which is logged."""

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fields = super().get_fields(request, obj)
        return [*fields, "read_it"] if self._may_read(request) else fields

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        columns = list(super().get_list_display(request))
        return [*columns, "read_it"] if self._may_read(request) else columns

    def _may_read(self, request: HttpRequest) -> bool:
        return request.user.has_perm("conversations.read_conversation")

    def conversation_of(self, shown: Any) -> uuid.UUID:
        """Return the public id of the conversation that a row is a part of."""
        raise NotImplementedError

    @admin.display(description=_("text"))
    def read_it(self, shown: Any) -> SafeString:
        address = reverse("admin:conversations_conversation_read", args=[self.conversation_of(shown)])
        return format_html('<a href="{}">{}</a>', address, gettext("Read it, for a stated reason"))


class EvidenceInline(admin.TabularInline):  # type: ignore[type-arg]
    """Rows of evidence on the page of what they belong to."""

    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(User)
class UserAdmin(DjangoUserAdmin):  # type: ignore[type-arg]
    """Accounts."""

    list_display = (
        "username",
        "email",
        "standing",
        "is_active",
        "is_staff",
        "date_joined",
        "last_login",
        "conversation_count",
    )
    list_filter = ("standing", "is_active", "is_staff", "is_superuser", "groups", "date_joined")
    actions = ("approve",)
    search_fields = ("username", "email", "first_name", "last_name", "uuid")
    date_hierarchy = "date_joined"
    readonly_fields = ("uuid", "last_login", "date_joined", "suspended_at", "suspended_until")
    fieldsets = (
        *(DjangoUserAdmin.fieldsets or ()),
        (
            _("Suspension"),
            {
                "fields": ("suspended_at", "suspended_until"),
                "description": _("Set and lifted by the decision of a review case."),
            },
        ),
        (_("Public id"), {"fields": ("uuid",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return cast(
            QuerySet[User], super().get_queryset(request).annotate(_conversations=Count("conversations"))
        )

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # An address such as ?reports=5 would otherwise tell who filed that one.
        is_about_them = lookup.split("__")[0] in {"reports", "feedback"}
        return not is_about_them and bool(super().lookup_allowed(lookup, value, request))

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[Any, Any], set[Any], list[Any]]:
        to_delete, counts, permissions, protected = super().get_deleted_objects(objs, request)
        # What stands in the way, an open case, is said before who may delete what.
        return to_delete, counts, set() if protected else permissions, protected

    def get_urls(self) -> list[URLPattern]:
        trace = path(
            "trace/",
            self.admin_site.admin_view(partial(trace_page, site=self.admin_site)),
            name="conversations_user_trace",
        )
        return [trace, *super().get_urls()]

    def has_approve_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("conversations.approve_user")

    @admin.action(description=_("Let in those who wait for approval"), permissions=["approve"])
    def approve(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        count = sum(access.approve(user=user) for user in chosen)
        said = ngettext("%(count)d person was let in.", "%(count)d people were let in.", count)
        messages.success(request, said % {"count": count})

    @admin.display(description=_("conversations"), ordering="_conversations")
    def conversation_count(self, user: Any) -> int:
        return int(user._conversations)


@admin.register(Conversation)
class ConversationAdmin(ConfidentialAdmin):
    """Conversations, without what was said in them."""

    list_display = ("uuid", "owner", "message_count", "last_activity_at", "created_at")
    list_filter = ("last_activity_at", "created_at", ("archived_at", admin.EmptyFieldListFilter))
    search_fields = ("uuid", "owner__username", "owner__email")
    date_hierarchy = "created_at"
    list_select_related = ("owner",)
    exclude = ("head", "title")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.read)
        return [
            path("<uuid:public_id>/read/", view, name="conversations_conversation_read"),
            *super().get_urls(),
        ]

    def read(self, request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
        """Show the whole conversation to those who said why they need to read it."""
        return read_conversation(request, public_id, site=self.admin_site)

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
    """Single messages without their texts, with the generations that wrote them."""

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
        address = reverse("admin:conversations_conversation_change", args=[message.conversation_id])
        return format_html('<a href="{}">{}</a>', address, message.conversation.uuid)


@admin.register(Generation)
class GenerationAdmin(ReadOnlyAdmin):
    """Upstream calls: how each went, how long it took, and what it used."""

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
    search_fields = ("uuid", "conversation__uuid", "message__uuid", "conversation__owner__username", "owner")
    date_hierarchy = "created_at"
    list_select_related = ("model",)

    @admin.display(description=_("error"), ordering="error_code")
    def error(self, generation: Generation) -> str:
        # The code: its label is the whole sentence that people read.
        return generation.error_code

    @admin.display(description=_("to first token (s)"))
    def seconds_to_first_token(self, generation: Generation) -> float | None:
        if generation.started_at is None or generation.first_token_at is None:
            return None
        return round((generation.first_token_at - generation.started_at).total_seconds(), 2)

    @admin.display(description=_("in all (s)"))
    def seconds(self, generation: Generation) -> float | None:
        if generation.started_at is None or generation.ended_at is None:
            return None
        return round((generation.ended_at - generation.started_at).total_seconds(), 2)


@admin.register(GenerationChunk)
class GenerationChunkAdmin(ConfidentialAdmin):
    """The journal of what is being written now, without the text; empty while nothing is."""

    list_display = ("generation", "offset", "length")
    list_select_related = ("generation__conversation",)
    exclude = ("text",)
    search_fields = ("generation__uuid",)
    list_filter = ("generation__status",)

    def conversation_of(self, shown: GenerationChunk) -> uuid.UUID:
        return shown.generation.conversation.uuid

    @admin.display(description=_("characters"))
    def length(self, chunk: GenerationChunk) -> int:
        return len(chunk.text)


@admin.register(ChatModel)
class ChatModelAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The catalogue."""

    list_display = (
        "label",
        "slug",
        "provider",
        "upstream_name",
        "context_window",
        "max_output_tokens",
        "enabled",
        "is_default",
    )
    list_filter = ("provider", "enabled", "is_default")
    search_fields = ("label", "slug", "upstream_name")
    prepopulated_fields = {"slug": ("label",)}
