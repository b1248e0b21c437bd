"""The services that a scaled-out site shares, as databases of the tests' own, where this machine can reach them."""

import os
import secrets
from collections.abc import Iterator

import psycopg
import pytest
import redis
from psycopg import sql

POSTGRES_URL = os.environ.get("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres")
REDIS_URL = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/5")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of an empty database, which is dropped at the end."""
    try:
        server = psycopg.connect(POSTGRES_URL, autocommit=True, connect_timeout=2)
    except psycopg.OperationalError:
        pytest.skip("PostgreSQL can't be reached; TEST_POSTGRES_URL says where it is.")
    name = f"chatsite_test_{secrets.token_hex(4)}"
    with server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield POSTGRES_URL.rpartition("/")[0] + f"/{name}"
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def redis_url() -> str:
    """The address of Redis, with a name of the tests' own for every connection that is made by it."""
    try:
        with redis.Redis.from_url(REDIS_URL, socket_connect_timeout=2) as server:
            server.ping()
    except redis.ConnectionError:
        pytest.skip("Redis can't be reached; TEST_REDIS_URL says where it is.")
    separator = "&" if "?" in REDIS_URL else "?"
    return f"{REDIS_URL}{separator}client_name=chatsite-test-{secrets.token_hex(4)}"
