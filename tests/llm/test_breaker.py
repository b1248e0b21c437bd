"""The circuit breaker, with a clock that the test sets."""

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


def test_opens_when_half_of_five_fail_and_says_for_how_long(breaker: CircuitBreaker, clock: Clock):
    run(breaker, False, True, False, True)
    assert not breaker.is_open
    run(breaker, False)
    clock.now += 4
    assert breaker.is_open
    with pytest.raises(CircuitOpen) as caught:
        breaker.acquire()
    assert caught.value.retry_after == 6


def test_stays_closed_below_five_requests(breaker: CircuitBreaker):
    run(breaker, False, False, False, False)
    assert not breaker.is_open


def test_stays_closed_while_most_go_well(breaker: CircuitBreaker):
    run(breaker, True, True, True, False, False, True, False, True)
    assert not breaker.is_open


def test_forgets_what_is_older_than_the_window(breaker: CircuitBreaker, clock: Clock):
    run(breaker, False, False, False, False)
    clock.now += 31
    run(breaker, False)
    assert not breaker.is_open


def test_does_not_count_what_was_given_up(breaker: CircuitBreaker):
    run(breaker, False, False, False, False, None, None)
    assert not breaker.is_open


def test_lets_one_probe_through_which_closes_it(breaker: CircuitBreaker, clock: Clock):
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


def test_a_probe_that_was_given_up_lets_the_next_one_through(breaker: CircuitBreaker, clock: Clock):
    run(breaker, *[False] * 5)
    clock.now += 10
    run(breaker, None)
    assert breaker.acquire()


def test_requests_from_before_do_not_settle_the_probe(breaker: CircuitBreaker, clock: Clock):
    early = breaker.acquire()
    run(breaker, *[False] * 5)
    clock.now += 10
    assert breaker.acquire()
    breaker.settle(probe=early, healthy=True)
    assert breaker.is_open


def test_requests_from_before_do_not_prolong_the_wait(breaker: CircuitBreaker, clock: Clock):
    early = breaker.acquire()
    run(breaker, *[False] * 5)
    clock.now += 8
    breaker.settle(probe=early, healthy=False)
    clock.now += 2
    assert not breaker.is_open
