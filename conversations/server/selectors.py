"""Read what the server must know before it starts."""

import os
import sys

from django.conf import settings
from django.db import connection

from conversations.catalogue import selectors as catalogue
from conversations.catalogue.models import ChatModel
from conversations.server import rules

OLD_TABLE = "conversations_user"


def problem_of_layout() -> str:
    """Return what to do about a database from before the first release, or an empty text for any other."""
    if OLD_TABLE not in connection.introspection.table_names():
        return ""
    database = settings.DATABASES["default"]
    is_file = database["ENGINE"] == "django.db.backends.sqlite3"
    remedy = (
        f"Move {database['NAME']} away"
        if is_file
        else f"Drop the database {database['NAME']} and create it again"
    )
    return (
        f"This database is from before the first release. Its tables have different names, so it can't be migrated. "
        f"{remedy}, then start again. The site sets up an empty database by itself."
    )


def problem_of_sharing() -> str:
    """Return what several processes need that this site doesn't have, or an empty text."""
    if not sys.platform.startswith("linux"):
        return "Only Linux distributes the connections of one port among several processes."
    if connection.vendor != "postgresql" or not settings.REDIS_URL:
        return "Several processes need PostgreSQL (DATABASE_URL) and Redis (REDIS_URL)."
    return ""


def uses_demo_model() -> bool:
    """Return whether answers come from the demo model, which runs on this machine."""
    return ChatModel.Provider.EMBEDDED.value in catalogue.providers()


def process_count() -> int:
    """Return how many web processes to run."""
    return rules.process_count(
        settings.PROCESSES,
        # Fewer than the machine has if this process may only use some.
        cores=len(os.sched_getaffinity(0)) if sys.platform.startswith("linux") else 1,
        can_share=not problem_of_sharing(),
        uses_demo_model=uses_demo_model(),
        has_local_database=_has_local_database(),
    )


def _has_local_database() -> bool:
    # PostgreSQL's socket is a path, or the default if there is no name.
    host = str(settings.DATABASES["default"].get("HOST") or "")
    return host in {"", "localhost", "127.0.0.1", "::1"} or host.startswith("/")
