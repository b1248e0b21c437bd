"""Conversations and their messages."""

import uuid
from typing import Any, Self

from django.db import connections, models
from django.utils.translation import gettext_lazy as _

from .users import User

TITLE_LENGTH = 80


class ConversationQuerySet(models.QuerySet["Conversation"]):
    """The look-ups of conversations."""

    def visible_to(self, user: Any) -> Self:
        """Return the conversations that this user may read, and no others: every look-up starts here."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        return self.filter(owner=user, archived_at__isnull=True, purpose=Conversation.Purpose.CHAT)

    def newest_first(self) -> Self:
        return self.order_by("-last_activity_at", "-pk")


class Conversation(models.Model):
    """A tree of messages that belongs to one person; its head is the tip of the branch in view."""

    class Purpose(models.TextChoices):
        CHAT = "chat", _("chat")
        REVIEW = "review", _("review")

    uuid = models.UUIDField(_("public id"), default=uuid.uuid4, unique=True, editable=False)
    owner = models.ForeignKey(User, models.CASCADE, related_name="conversations", verbose_name=_("owner"))
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
        help_text=_("Its owner deleted it while a report about it was open; it goes when that is decided."),
    )
    purpose = models.CharField(
        _("purpose"),
        max_length=16,
        choices=Purpose,
        default=Purpose.CHAT,
        help_text=_("A conversation of the review is shown in its case only."),
    )
    revision = models.PositiveIntegerField(
        _("revision"), default=0, help_text=_("Raised when a message is hidden, replaced or shown again.")
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
                name="conversation_out_of_view_when_to_be_deleted",
                condition=models.Q(deletion_requested_at__isnull=True) | models.Q(archived_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.uuid)


# Both SQLite and PostgreSQL walk up from a message by a recursive common table expression: one query whatever the length.
_PATH_SQL = """
WITH RECURSIVE path(id, parent_id, steps) AS (
    SELECT id, parent_id, 1 FROM conversations_message WHERE id = %s
    UNION ALL
    SELECT m.id, m.parent_id, path.steps + 1
    FROM conversations_message m JOIN path ON m.id = path.parent_id
    WHERE path.steps < %s
)
SELECT id FROM path
"""


class MessageQuerySet(models.QuerySet["Message"]):
    """The look-ups of messages."""

    def visible_to(self, user: Any) -> Self:
        """Return the messages of the conversations that this user may read."""
        return self.filter(conversation__in=Conversation.objects.visible_to(user))

    def path_ids(self, message_id: int | None, *, limit: int) -> list[int]:
        """Return the ids of the last `limit` messages of the branch that ends with this one, newest first. One query."""
        if message_id is None:
            return []
        with connections[self.db].cursor() as cursor:
            cursor.execute(_PATH_SQL, [message_id, limit])
            return [row[0] for row in cursor.fetchall()]


class Message(models.Model):
    """One turn of the user or of the assistant. Never edited: another wording is a sibling with the same parent."""

    class Role(models.TextChoices):
        USER = "user", _("user")
        ASSISTANT = "assistant", _("assistant")

    uuid = models.UUIDField(_("public id"), default=uuid.uuid4, unique=True, editable=False)
    conversation = models.ForeignKey(
        Conversation, models.CASCADE, related_name="messages", verbose_name=_("conversation")
    )
    parent = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, related_name="children", verbose_name=_("parent")
    )
    depth = models.PositiveIntegerField(
        _("depth"), help_text=_("Number of messages above this one in its branch.")
    )
    role = models.CharField(_("role"), max_length=16, choices=Role)
    author = models.ForeignKey(
        User, models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("author")
    )
    client_id = models.UUIDField(
        _("client id"),
        null=True,
        blank=True,
        help_text=_("Made by the page, so that sending twice is one message."),
    )
    text = models.TextField(_("text"), blank=True)
    created_at = models.DateTimeField(_("created at"))
    hidden_at = models.DateTimeField(
        _("hidden at"), null=True, blank=True, help_text=_("Staff took its text out of view.")
    )
    vetted_text = models.TextField(
        _("vetted text"), blank=True, help_text=_("What is shown in place of a hidden text.")
    )
    revision = models.PositiveIntegerField(
        _("revision"), default=0, help_text=_("The conversation's, when this message last changed in view.")
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
        """What people and models get to read of it: nothing, or the vetted text, where it is hidden."""
        return self.vetted_text if self.is_hidden else self.text
