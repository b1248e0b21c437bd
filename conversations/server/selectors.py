"""Read what the server must know before it starts."""

from django.conf import settings
from django.db import connection

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
