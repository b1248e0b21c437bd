"""Tests that the limits on sign-in attempts hold during other attempts and while Redis is unavailable."""

import hashlib
import json
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis

from tests.proxy import Proxy
from tests.site import ADMIN, PASSWORD, Site, wait_until

# All attempts come from one IP address, whose limits aren't under test.
LIMITS = {"LOGIN_RATE_LIMIT": "100000/m/ip", "LOGIN_FAILED_RATE_LIMIT": "100000/m/ip,5/5m/key"}
PATIENCE = 60


def fail_to_sign_in(client: httpx.Client, username: str, *, password: str = "wrong") -> httpx.Response:
    if "csrftoken" not in client.cookies:
        client.get("/accounts/login/")
    fields = {
        "csrfmiddlewaretoken": client.cookies["csrftoken"],
        "login": username,
        "password": password,
    }
    return client.post("/accounts/login/", data=fields, headers={"Referer": str(client.base_url)})


@contextmanager
def running(data_dir: Path, **settings: str) -> Iterator[Site]:
    site = Site(data_dir, **LIMITS, **settings).start()
    try:
        yield site
    finally:
        site.web.end(signal.SIGKILL)


def test_other_usernames_do_not_reset_the_limit_of_an_account(tmp_path: Path) -> None:
    with running(tmp_path / "data") as site, httpx.Client(base_url=site.address, timeout=PATIENCE) as client:
        for _ in range(5):
            assert "Too many" not in fail_to_sign_in(client, ADMIN).text
        assert "Too many" in fail_to_sign_in(client, ADMIN).text
        for number in range(400):
            assert "Too many" not in fail_to_sign_in(client, f"nobody{number}").text
        assert "Too many" in fail_to_sign_in(client, ADMIN, password=PASSWORD).text


@pytest.fixture
def cache(redis_url: str) -> Iterator[Proxy]:
    with Proxy.before(redis_url, default_port=6379) as proxy:
        yield proxy


def counted(server: "redis.Redis", site: Site, username: str) -> list[bytes | str]:
    """Return what Redis itself stores about failed sign-in attempts with this username."""
    digest = hashlib.sha256(f"{site.address.removeprefix('http://')}:{username}".encode()).hexdigest()
    values = [server.get(key) for key in server.scan_iter(f"*login_failed*{digest}", count=1_000)]
    return [value for value in values if value is not None]


def test_sign_in_limits_survive_a_redis_outage(tmp_path: Path, cache: Proxy, redis_url: str) -> None:
    with (
        running(tmp_path / "data", REDIS_URL=cache.instead_of(redis_url)) as site,
        httpx.Client(base_url=site.address, timeout=PATIENCE) as client,
        redis.Redis.from_url(redis_url) as server,
    ):
        fail_to_sign_in(client, "before")
        [value] = counted(server, site, "before")
        assert [type(time) for time in json.loads(value)] == [float]
        for count, fail in enumerate((cache.pause, cache.cut), start=1):
            fail()
            name = f"during{count}"
            for _ in range(5):
                answer = fail_to_sign_in(client, name)
                assert (answer.status_code, "Too many" in answer.text) == (200, False)
            assert "Too many" in fail_to_sign_in(client, name).text
            site.sign_up(f"alice{count}")
            site.log_in(f"alice{count}")
            assert counted(server, site, name) == []

            cache.resume()

            def is_counted_there() -> list[bytes | str]:
                name = f"after{uuid.uuid4()}"
                assert fail_to_sign_in(client, name).status_code == 200
                return counted(server, site, name)

            wait_until(is_counted_there)
            assert site.web.output.count("Redis is unavailable") == count
            assert "Redis is back" in site.web.output
        assert "Traceback" not in site.web.output
