"""Configuration of the app."""

import sqlite3

from django.apps import AppConfig
from django.conf import settings


class ServerConfig(AppConfig):
    """Prepare what each process of the site needs."""

    name = "conversations.server"

    # Django closes connections after each request, and SQLite checkpoints its log when the last one closes, which makes
    # short writes about ten times slower. One idle connection that stays open prevents this.
    _keep_open: sqlite3.Connection | None = None

    def ready(self) -> None:
        from conversations.llm import tokens

        from . import checks  # noqa: F401  (registers the checks)

        tokens.prepare(settings.DATA_DIR / "tiktoken")
        database = settings.DATABASES["default"]
        if database["ENGINE"] == "django.db.backends.sqlite3" and "memory" not in str(database["NAME"]):
            self._keep_open = sqlite3.connect(database["NAME"], check_same_thread=False)
