"""PostgreSQL and Redis for tests of a scaled-out site, if they are available on this machine."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
import redis
from psycopg import sql

from tests.site import Site

POSTGRES_URL = os.environ.get("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres")
REDIS_URL = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/5")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[psycopg.Connection]:
    """A connection to the server."""
    try:
        server = psycopg.connect(POSTGRES_URL, autocommit=True, connect_timeout=2)
    except psycopg.OperationalError:
        pytest.skip("PostgreSQL is unavailable. Set TEST_POSTGRES_URL to its URL.")
    with server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(
    postgres_server: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The name of a database on which a site has started and stopped."""
    with _database(postgres_server) as name:
        site = Site(tmp_path_factory.mktemp("template"), DATABASE_URL=_url_of(name)).start()
        assert site.web.end() == 0
        yield name


@pytest.fixture(scope="module")
def postgres_url(postgres_server: psycopg.Connection, postgres_template: str) -> Iterator[str]:
    """The URL of a database without users, except for the admin. It is dropped at the end."""
    with _database(postgres_server, template=postgres_template) as name:
        yield _url_of(name)


@contextmanager
def _database(server: psycopg.Connection, *, template: str = "template1") -> Iterator[str]:
    name = f"chatsite_test_{secrets.token_hex(4)}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    server.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield name
    finally:
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _url_of(name: str) -> str:
    return f"{POSTGRES_URL.rpartition('/')[0]}/{name}"


@pytest.fixture(scope="module")
def redis_url() -> str:
    """The URL of Redis, with a client name that marks all connections as the tests'."""
    try:
        with redis.Redis.from_url(REDIS_URL, socket_connect_timeout=2) as server:
            server.ping()
            # Failed sign-ins are counted there, and those of one module must not shut out the next.
            if left := list(server.scan_iter("chatsite:*")):
                server.delete(*left)
    except redis.ConnectionError:
        pytest.skip("Redis is unavailable. Set TEST_REDIS_URL to its URL.")
    separator = "&" if "?" in REDIS_URL else "?"
    return f"{REDIS_URL}{separator}client_name=chatsite-test-{secrets.token_hex(4)}"
