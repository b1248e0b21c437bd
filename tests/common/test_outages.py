"""Tests for recognising database outages and limiting how often they are logged."""

import io
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.utils import Error, IntegrityError

from chatsite import logs
from conversations.common.outages import is_database_outage


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "x.sqlite3", timeout=0, isolation_level=None)) as opened:
        opened.execute("PRAGMA journal_mode=WAL")
        opened.execute("CREATE TABLE thing (name TEXT UNIQUE)")
        opened.execute("INSERT INTO thing VALUES ('there')")
        yield opened


def error_of(database: sqlite3.Connection, *statements: str) -> Error:
    """Return the exception that Django raises for an SQLite error."""
    with pytest.raises(Error) as raised, connection.wrap_database_errors:
        for statement in statements:
            database.execute(statement)
    return raised.value


def test_a_locked_database_is_an_outage(database: sqlite3.Connection, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert is_database_outage(error_of(database, "INSERT INTO thing VALUES ('new')"))


@pytest.mark.parametrize("obstacle", ["max_page_count = 1", "query_only = 1"])
def test_a_database_that_cannot_write_is_an_outage(database: sqlite3.Connection, obstacle: str) -> None:
    fill = "INSERT INTO thing SELECT hex(randomblob(2000)) FROM (SELECT 1 UNION SELECT 2 UNION SELECT 3)"
    assert is_database_outage(error_of(database, f"PRAGMA {obstacle}", fill, fill))


def test_a_server_that_cannot_be_reached_is_an_outage() -> None:
    server = DatabaseWrapper({**connection.settings_dict, "HOST": "127.0.0.1", "PORT": 9})
    with pytest.raises(Error) as raised, server.wrap_database_errors:
        psycopg.connect("host=127.0.0.1 port=9 connect_timeout=2")
    assert is_database_outage(raised.value)


@pytest.mark.parametrize("mistake", ["SELECT * FROM nothing", "SELEC", "INSERT INTO thing VALUES ('there')"])
def test_a_programming_error_is_not_an_outage(database: sqlite3.Connection, mistake: str) -> None:
    assert not is_database_outage(error_of(database, mistake))


def test_errors_caused_by_an_outage_count_as_one(database: sqlite3.Connection) -> None:
    outage = error_of(database, "PRAGMA query_only = 1", "DELETE FROM thing")
    with pytest.raises(KeyError) as raised:
        try:
            raise outage
        except Error:
            raise KeyError from None
    assert is_database_outage(raised.value)
    assert not is_database_outage(IntegrityError())


# --- The log ---


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(logs.CollapseRepeats())
    logger = logging.getLogger("test-of-the-log")
    logger.addHandler(handler)
    monkeypatch.setattr(logger, "propagate", False)
    yield lambda: written.getvalue().splitlines()
    logger.removeHandler(handler)


def test_an_outage_is_logged_once_for_each_source(
    lines: Callable[[], list[str]], database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("test-of-the-log")
    outage = error_of(database, "PRAGMA query_only = 1", "DELETE FROM thing")
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    for number in range(67):
        logger.error("Not answered: %s", f"/{number}/", exc_info=outage)
        logger.error("Not written.", exc_info=outage)
    said = "(OperationalError: attempt to write a readonly database)"
    assert lines() == [f"Not answered: /0/ {said}", f"Not written. {said}"]
    now += logs.WINDOW_SECONDS
    logger.error("Not answered: %s", "/67/", exc_info=outage)
    assert lines()[2:] == [f"Not answered: /67/ {said} (66 more since the last such line)"]


def test_other_log_lines_are_unchanged(lines: Callable[[], list[str]]) -> None:
    logger = logging.getLogger("test-of-the-log")
    logger.setLevel("INFO")
    for number in (1, 2):
        logger.warning("A mail (%s) could not be sent.", number)
        logger.info("Equal.")
        logger.error("Equal.")
    assert lines() == [
        "A mail (1) could not be sent.",
        "Equal.",
        "Equal.",
        "A mail (2) could not be sent.",
        "Equal.",
    ]
    try:
        raise KeyError("a fault")
    except KeyError:
        logger.exception("Failed.")
    assert "Traceback (most recent call last):" in lines()
