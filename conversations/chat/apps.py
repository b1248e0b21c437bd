"""The Django app of the chat."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ChatConfig(AppConfig):
    """The configuration of the app."""

    name = "conversations.chat"
    verbose_name = _("Chat")
