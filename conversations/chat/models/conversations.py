"""Conversations and their messages."""

import uuid
from typing import Any, Self

from django.db import models
from django.utils.translation import gettext_lazy as _

TITLE_LENGTH = 80
SIDEBAR_LENGTH = 200


class ConversationQuerySet(models.QuerySet["Conversation"]):
    """Queries for conversations."""

    def visible_to(self, user: Any) -> Self:
        """Return the conversations that this user may read. Every look-up must start here."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        return self.in_view_of(user)

    def in_view_of(self, owner: Any) -> Self:
        """Return the conversations that their owner sees if the account is active."""
        return self.filter(owner=owner, archived_at__isnull=True, purpose=Conversation.Purpose.CHAT)

    def newest_first(self) -> Self:
        return self.order_by("-last_activity_at", "-pk")

    def in_sidebar(self) -> Self:
        """Return the newest conversations, as many as the sidebar lists."""
        return self.newest_first()[:SIDEBAR_LENGTH]


class Conversation(models.Model):
    """A tree of messages that belongs to one user. Its head is the tip of the branch in view."""

    MOVES_TO_ACCOUNT = ("owner",)
    """The fields that pass to the new account when a guest signs up."""

    class Purpose(models.TextChoices):
        CHAT = "chat", _("chat")
        REVIEW = "review", _("review")

    uuid = models.UUIDField(_("public ID"), default=uuid.uuid4, unique=True, editable=False)
    owner = models.ForeignKey(
        "accounts.User", models.CASCADE, related_name="conversations", verbose_name=_("owner")
    )
    title = models.CharField(_("title"), max_length=TITLE_LENGTH)
    head = models.ForeignKey(
        "Message", models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("head")
    )
    created_at = models.DateTimeField(_("created at"))
    last_activity_at = models.DateTimeField(_("last activity at"))
    archived_at = models.DateTimeField(_("archived at"), null=True, blank=True)
    deletion_requested_at = models.DateTimeField(
        _("deletion requested at"),
        null=True,
        blank=True,
        help_text=_(
            "The owner deleted it while a report about it was open. "
            "It will be permanently deleted once the report is decided."
        ),
    )
    is_held = models.BooleanField(
        _("held"),
        default=False,
        help_text=_("A report about it is open, so it can't be permanently deleted."),
    )
    purpose = models.CharField(
        _("purpose"),
        max_length=16,
        choices=Purpose,
        default=Purpose.CHAT,
        help_text=_("Review conversations are shown only in their case."),
    )
    revision = models.PositiveIntegerField(
        _("revision"), default=0, help_text=_("Increases when a message is hidden, replaced or restored.")
    )

    objects = ConversationQuerySet.as_manager()

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        indexes = [
            models.Index("owner", models.F("last_activity_at").desc(), name="conversation_newest_first"),
        ]
        constraints = [
            models.CheckConstraint(
                name="conversation_purpose", condition=models.Q(purpose__in=["chat", "review"])
            ),
            models.CheckConstraint(
                name="conversation_to_be_deleted_only_while_held",
                condition=models.Q(deletion_requested_at__isnull=True) | models.Q(is_held=True),
            ),
            models.CheckConstraint(
                name="conversation_out_of_view_when_to_be_deleted",
                condition=models.Q(deletion_requested_at__isnull=True) | models.Q(archived_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.uuid)


class MessageQuerySet(models.QuerySet["Message"]):
    """Queries for messages."""

    def visible_to(self, user: Any) -> Self:
        """Return the messages in conversations that this user may read."""
        return self.filter(conversation__in=Conversation.objects.visible_to(user))


class Message(models.Model):
    """A message of the user or the assistant. It is never edited: a new version is a sibling with the same parent."""

    MOVES_TO_ACCOUNT = ("author",)
    """The fields that pass to the new account when a guest signs up."""

    class Role(models.TextChoices):
        USER = "user", _("user")
        ASSISTANT = "assistant", _("assistant")

    uuid = models.UUIDField(_("public ID"), default=uuid.uuid4, unique=True, editable=False)
    conversation = models.ForeignKey(
        Conversation, models.CASCADE, related_name="messages", verbose_name=_("conversation")
    )
    parent = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, related_name="children", verbose_name=_("parent")
    )
    depth = models.PositiveIntegerField(
        _("depth"), help_text=_("The number of messages above this one in its branch.")
    )
    role = models.CharField(_("role"), max_length=16, choices=Role)
    author = models.ForeignKey(
        "accounts.User", models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("author")
    )
    client_id = models.UUIDField(
        _("client ID"),
        null=True,
        blank=True,
        help_text=_("Set by the page, so that a message sent twice is stored once."),
    )
    text = models.TextField(_("text"), blank=True)
    token_count = models.PositiveIntegerField(
        _("token count"),
        null=True,
        blank=True,
        help_text=_("The number of tokens in the text, if they have been counted."),
    )
    token_vocabulary = models.CharField(
        _("vocabulary"), max_length=32, blank=True, help_text=_("The vocabulary they were counted with.")
    )
    created_at = models.DateTimeField(_("created at"))
    hidden_at = models.DateTimeField(
        _("hidden at"), null=True, blank=True, help_text=_("When staff hid its text.")
    )
    vetted_text = models.TextField(
        _("vetted text"), blank=True, help_text=_("Shown in place of a hidden text.")
    )
    revision = models.PositiveIntegerField(
        _("revision"),
        default=0,
        help_text=_("The conversation's revision when this message was last hidden, replaced or restored."),
    )

    objects = MessageQuerySet.as_manager()

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        constraints = [
            models.CheckConstraint(name="message_role", condition=models.Q(role__in=["user", "assistant"])),
            models.CheckConstraint(
                name="message_root_has_depth_0",
                condition=models.Q(parent__isnull=True, depth=0)
                | models.Q(parent__isnull=False, depth__gt=0),
            ),
            models.CheckConstraint(
                name="message_of_a_user_has_an_author",
                condition=models.Q(role="user", author__isnull=False)
                | models.Q(role="assistant", author__isnull=True),
            ),
            models.UniqueConstraint(name="message_sent_once", fields=["author", "client_id"]),
            models.CheckConstraint(
                name="message_vetted_only_when_hidden",
                condition=models.Q(vetted_text="") | models.Q(hidden_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.uuid)

    @property
    def is_hidden(self) -> bool:
        return self.hidden_at is not None

    @property
    def shown_text(self) -> str:
        """The text that users and models get. If the message is hidden, it is the vetted text or empty."""
        return self.vetted_text if self.is_hidden else self.text

    @property
    def reasoning(self) -> str:
        """The reasoning in all parts of the message. Prefetch `parts` to avoid a query per message."""
        parts = (part for part in self.parts.all() if part.kind == PartKind.REASONING)
        return PART_SEPARATOR.join(part.text for part in parts)


class PartKind(models.TextChoices):
    """The kinds of parts in an answer. A message holds its own text; a MessagePart holds any other part."""

    TEXT = "text", _("text")
    REASONING = "reasoning", _("reasoning")


PART_SEPARATOR = "\n\n"
"""The separator between two parts of the same kind."""


class MessagePart(models.Model):
    """A part of an answer other than its text, with its position among the parts and in the text."""

    message = models.ForeignKey(Message, models.CASCADE, related_name="parts", verbose_name=_("message"))
    position = models.PositiveIntegerField(
        _("position"), help_text=_("Its position among the parts of the message.")
    )
    kind = models.CharField(_("kind"), max_length=16, choices=PartKind)
    offset = models.PositiveIntegerField(
        _("offset"), help_text=_("The number of characters of the message's text before it.")
    )
    text = models.TextField(_("text"))
    duration_ms = models.PositiveIntegerField(_("duration (ms)"), default=0)

    class Meta:
        verbose_name = _("message part")
        verbose_name_plural = _("message parts")
        ordering = ("message", "position")
        constraints = [
            models.CheckConstraint(name="messagepart_kind", condition=models.Q(kind__in=["reasoning"])),
            models.UniqueConstraint(name="messagepart_one_per_position", fields=["message", "position"]),
        ]

    def __str__(self) -> str:
        return f"{self.message_id}#{self.position}"
