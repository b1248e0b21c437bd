"""Tests for detecting stopped heartbeats by the observer's own clock."""

from conversations.chat.generation.heartbeats import HeartbeatWatch


def looks(watch: HeartbeatWatch[str], *beats: tuple[float, object]) -> list[set[str]]:
    """Observe one heartbeat at each of these times, and return what was stale each time."""
    return [watch.stale({"a": beat}, at=at) for at, beat in beats]


def test_a_heartbeat_unchanged_for_the_lease_is_stale():
    found = looks(HeartbeatWatch(30), (100, 1), (110, 1), (120, 1), (129, 1), (130, 1))
    assert found == [set(), set(), set(), set(), {"a"}]


def test_any_change_counts_whatever_time_the_heartbeat_holds():
    assert not any(looks(HeartbeatWatch(30), *((10 * look, -3_600 * look) for look in range(10))))


def test_time_without_observation_does_not_count():
    found = looks(HeartbeatWatch(30), (0, 1), (10, 1), (70, 1), (80, 1), (90, 1), (99, 1), (100, 1))
    assert found == [set()] * 6 + [{"a"}]


def test_missing_heartbeats_are_forgotten():
    watch = HeartbeatWatch[str](30)
    looks(watch, (0, 1), (15, 1))
    assert watch.stale({"b": 1}, at=30) == set()
    assert watch.stale({"a": 1, "b": 1}, at=45) == set()
    assert watch.stale({"a": 1, "b": 1}, at=60) == {"b"}
