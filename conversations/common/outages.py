"""Tell database outages from programming errors, and check whether the database is available."""

import sqlite3
from collections.abc import Iterator

from django.db import connection
from django.db.utils import Error, InterfaceError, OperationalError

_SQLITE_OUTAGES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)
# libpq doesn't accept connection timeouts below two seconds.
_HEALTH_OPTIONS: dict[str, dict[str, object]] = {
    "sqlite": {"timeout": 1},
    "postgresql": {"connect_timeout": 2, "options": "-c statement_timeout=1000"},
}


def is_database_outage(error: BaseException) -> bool:
    """Return whether an error was caused by a database that is unreachable, locked or read-only.

    The causes of the error count too, because Django reports a session that couldn't be saved as a bad request.
    """
    return any(_is_outage(cause) for cause in _causes_of(error))


def database_answers() -> bool:
    """Return whether the database can be written to, within two or three seconds.

    Uses a connection of its own, because requests waiting for the same outage may have used up the pool.
    """
    own = connection.copy()
    options = own.settings_dict["OPTIONS"]
    options.pop("pool", None)
    options.update(_HEALTH_OPTIONS.get(own.vendor, {}))
    try:
        with own.cursor() as cursor:
            # On SQLite, reading works even if another process holds the write lock.
            cursor.execute("BEGIN IMMEDIATE" if own.vendor == "sqlite" else "BEGIN")
            cursor.execute("SELECT 1")
            cursor.execute("ROLLBACK")
    except Error:
        return False
    finally:
        own.close()
    return True


def _causes_of(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _SQLITE_OUTAGES
    if isinstance(error.__cause__, sqlite3.Error):
        return False  # The cause itself is checked next.
    if isinstance(error, OperationalError | InterfaceError):
        return True
    return (
        getattr(error, "sqlstate", None) == "25006"
    )  # A read-only transaction, because the server is a standby.
