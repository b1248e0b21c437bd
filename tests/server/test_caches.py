"""The caches hold only JSON, stay within bounds, and keep failed attempts despite attempts under other names."""

import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.core.cache.backends.base import BaseCache

from chatsite import caches
from chatsite.caches import LocalCache
from chatsite.redis_cache import RedisOrLocalCache
from tests.processes.conftest import redis_url  # noqa: F401  (a fixture)

# The kinds of values that django-allauth caches, such as locks, times of attempts, used codes and tokens.
VALUES = [True, "y", 5, [1732202044.25, 1732202043.5], [], {"user": None, "scopes": ["a"]}, "字"]
CHANGED = [(1, 2), [(1, 2)], {1: "a"}, {"a"}, b"bytes", float("nan")]


@pytest.fixture
def local(request: pytest.FixtureRequest) -> LocalCache:
    return LocalCache(request.node.name, {"OPTIONS": {"MAX_ENTRIES": 3_000}})


@pytest.fixture
def shared(request: pytest.FixtureRequest, redis_url: str) -> Iterator[RedisOrLocalCache]:  # noqa: F811
    cache = RedisOrLocalCache(redis_url, {"KEY_PREFIX": "chatsite-test-of-caches"})
    cache.delete("key")
    yield cache
    cache.delete("key")


@pytest.fixture(params=["local", "shared"])
def cache(request: pytest.FixtureRequest) -> BaseCache:
    found: BaseCache = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("value", VALUES)
def test_values_come_back_unchanged(cache: BaseCache, value: Any) -> None:
    cache.set("key", value, 300.0)
    assert cache.get("key") == value
    assert type(cache.get("key")) is type(value)


@pytest.mark.parametrize("value", CHANGED)
def test_values_that_json_would_change_are_refused(cache: BaseCache, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        cache.set("key", value)
    assert cache.get("key", "nothing") == "nothing"


def test_operations_follow_the_django_cache_api(cache: BaseCache) -> None:
    assert (cache.add("key", 1), cache.add("key", 2), cache.get("key")) == (True, False, 1)
    assert (cache.incr("key", 4), cache.decr("key"), cache.has_key("key")) == (5, 4, True)
    assert cache.touch("key", 0) is True
    assert (cache.get("key"), cache.touch("key", 10)) == (None, False)
    with pytest.raises(ValueError, match="not found"):
        cache.incr("key")
    cache.set("key", [1], None)
    cache.get("key").append(2)
    assert cache.get_many(["key", "other"]) == {"key": [1]}
    assert (cache.delete("key"), cache.delete("key")) == (True, False)


def test_redis_holds_json(shared: RedisOrLocalCache, redis_url: str) -> None:  # noqa: F811
    with redis.Redis.from_url(redis_url) as server:
        for value in VALUES:
            shared.set("key", value)
            assert json.loads(server.get(shared.make_key("key"))) == value


def test_pickles_are_not_loaded(shared: RedisOrLocalCache, redis_url: str) -> None:  # noqa: F811
    class Opened:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("A pickle was loaded.",))

    with redis.Redis.from_url(redis_url) as server:
        server.set(shared.make_key("key"), pickle.dumps(Opened()))
    assert shared.get("key", []) == []
    shared.set("key", [1])
    assert shared.get("key", []) == [1]


def test_expired_entries_are_dropped_before_valid_ones(
    local: LocalCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr("time.time", lambda: now)
    local.set("account", [now], 300)
    for number in range(2_900):
        local.set(f"lock{number}", True, 10)
    assert local.get("account") == [now]
    now += 20
    for number in range(2_900):
        local.set(f"other{number}", True, 100)
    assert local.get("account") == [1_000.0]
    assert local.get("lock2899") is None
    assert len(local._store.entries) == 2_901
    now += 200
    local.set("one", 1)
    for number in range(3_500):
        local.set(f"again{number}", True, 200)
        assert len(local._store.entries) <= 3_000
    assert local.get("again3499") is True


def test_a_flood_of_entries_is_cleared_once_they_expire(
    local: LocalCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr("time.time", lambda: now)
    for number in range(20_000):
        now += 1
        local.set(f"name{number}", True, 10)
    assert len(local._store.entries) <= caches.FIRST_SWEEP
