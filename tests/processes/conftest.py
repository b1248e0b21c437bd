"""PostgreSQL and Redis for tests of a scaled-out site, if they are available on this machine."""

import os
import secrets
from collections.abc import Iterator

import psycopg
import pytest
import redis
from psycopg import sql

POSTGRES_URL = os.environ.get("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres")
REDIS_URL = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/5")


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """The URL of an empty database, which is dropped at the end."""
    try:
        server = psycopg.connect(POSTGRES_URL, autocommit=True, connect_timeout=2)
    except psycopg.OperationalError:
        pytest.skip("PostgreSQL is unavailable. Set TEST_POSTGRES_URL to its URL.")
    name = f"chatsite_test_{secrets.token_hex(4)}"
    with server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield POSTGRES_URL.rpartition("/")[0] + f"/{name}"
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


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
