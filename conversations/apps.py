"""The application's configuration."""

import sqlite3

from django.apps import AppConfig
from django.conf import settings
from django.utils.translation import gettext_lazy as _


class ConversationsConfig(AppConfig):
    """The one application of the project."""

    name = "conversations"
    verbose_name = _("Conversations")

    # Django closes the connection after each piece of work, and SQLite checkpoints its log whenever the last one closes,
    # which makes short writes about ten times slower. One idle connection that stays open prevents that.
    _keep_open: sqlite3.Connection | None = None

    def ready(self) -> None:
        from . import checks  # noqa: F401  (registers the checks)
        from .llm import tokens

        tokens.prepare(settings.DATA_DIR / "tiktoken")
        database = settings.DATABASES["default"]
        if database["ENGINE"] == "django.db.backends.sqlite3" and "memory" not in str(database["NAME"]):
            self._keep_open = sqlite3.connect(database["NAME"], check_same_thread=False)
