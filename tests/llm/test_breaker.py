"""Tests for the circuit breaker, with a simulated clock."""

import pytest

from conversations.llm.breaker import CircuitBreaker, CircuitOpen


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(clock=clock)


def run(breaker: CircuitBreaker, *outcomes: bool | None) -> None:
    for healthy in outcomes:
        breaker.settle(probe=breaker.acquire(), healthy=healthy)


def test_it_opens_when_half_of_five_fail_and_reports_for_how_long(breaker: CircuitBreaker, clock: Clock):
    run(breaker, False, True, False, True)
    assert not breaker.is_open
    run(breaker, False)
    clock.now += 4
    assert breaker.is_open
    with pytest.raises(CircuitOpen) as caught:
        breaker.acquire()
    assert caught.value.retry_after == 6


def test_it_stays_closed_below_five_requests(breaker: CircuitBreaker):
    run(breaker, False, False, False, False)
    assert not breaker.is_open


def test_it_stays_closed_while_most_succeed(breaker: CircuitBreaker):
    run(breaker, True, True, True, False, False, True, False, True)
    assert not breaker.is_open


def test_it_forgets_requests_older_than_the_window(breaker: CircuitBreaker, clock: Clock):
    run(breaker, False, False, False, False)
    clock.now += 31
    run(breaker, False)
    assert not breaker.is_open


def test_it_ignores_abandoned_requests(breaker: CircuitBreaker):
    run(breaker, False, False, False, False, None, None)
    assert not breaker.is_open


def test_it_allows_one_probe_whose_success_closes_it(breaker: CircuitBreaker, clock: Clock):
    run(breaker, *[False] * 5)
    clock.now += 10
    assert not breaker.is_open
    probe = breaker.acquire()
    assert probe
    with pytest.raises(CircuitOpen):
        breaker.acquire()
    breaker.settle(probe=probe, healthy=True)
    run(breaker, False, False, False, False)
    assert not breaker.is_open


def test_a_failed_probe_opens_it_again(breaker: CircuitBreaker, clock: Clock):
    run(breaker, *[False] * 5)
    clock.now += 10
    run(breaker, False)
    clock.now += 9
    assert breaker.is_open
    clock.now += 1
    assert not breaker.is_open


def test_an_abandoned_probe_allows_another_one(breaker: CircuitBreaker, clock: Clock):
    run(breaker, *[False] * 5)
    clock.now += 10
    run(breaker, None)
    assert breaker.acquire()


def test_earlier_requests_do_not_settle_the_probe(breaker: CircuitBreaker, clock: Clock):
    early = breaker.acquire()
    run(breaker, *[False] * 5)
    clock.now += 10
    assert breaker.acquire()
    breaker.settle(probe=early, healthy=True)
    assert breaker.is_open


def test_earlier_requests_do_not_prolong_the_wait(breaker: CircuitBreaker, clock: Clock):
    early = breaker.acquire()
    run(breaker, *[False] * 5)
    clock.now += 8
    breaker.settle(probe=early, healthy=False)
    clock.now += 2
    assert not breaker.is_open
