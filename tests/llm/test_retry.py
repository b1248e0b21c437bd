"""Tests for when a request is retried, and after what wait."""

import time
from email.utils import formatdate

import pytest

from conversations.llm.breaker import CircuitBreaker
from conversations.llm.errors import ConnectionDropped, UpstreamError, UpstreamErrorCode
from conversations.llm.retry import RetryPolicy, retry_after_of
from conversations.llm.upstream import Upstream


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after": "Wed, 21 Oct 99999 07:28:00 GMT"}, None),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None):
    assert retry_after_of(headers) == seconds


def test_retry_after_as_a_date():
    seconds = retry_after_of({"retry-after": formatdate(time.time() + 60, usegmt=True)})
    assert seconds is not None
    assert 0 < seconds <= 60


def policy(breaker: CircuitBreaker | None = None, **limits: float) -> RetryPolicy:
    upstream = Upstream(base_url="http://127.0.0.1/v1", **limits)  # type: ignore[arg-type]
    return RetryPolicy(limits=upstream, breaker=breaker or CircuitBreaker())


CODES = UpstreamErrorCode


@pytest.mark.parametrize(
    "code", [CODES.UNREACHABLE, CODES.RATE_LIMITED, CODES.SERVER_ERROR, CODES.INTERRUPTED]
)
def test_temporary_errors_are_retried_twice(code: UpstreamErrorCode):
    decide = policy()
    assert [decide(UpstreamError(code)) for _ in range(3)] == [True, True, False]


def test_408_is_retried_but_our_own_timeout_is_not():
    assert policy()(UpstreamError(CODES.TIMEOUT, status=408)) is True
    assert policy()(UpstreamError(CODES.TIMEOUT)) is False


@pytest.mark.parametrize(
    "code",
    sorted(set(CODES) - {CODES.UNREACHABLE, CODES.RATE_LIMITED, CODES.SERVER_ERROR, CODES.INTERRUPTED}),
)
def test_permanent_errors_are_not_retried(code: UpstreamErrorCode):
    assert policy()(UpstreamError(code)) is False


def test_programming_errors_are_not_retried():
    assert policy()(ValueError()) is False


def test_the_requested_wait_is_respected_with_jitter():
    waits = [policy()(UpstreamError(CODES.RATE_LIMITED, status=429, retry_after=3)) for _ in range(20)]
    assert all(3 <= wait <= 3.5 for wait in waits)
    assert len(set(waits)) > 1


def test_there_is_no_retry_if_the_requested_wait_is_too_long():
    assert policy()(UpstreamError(CODES.RATE_LIMITED, retry_after=20)) is not False
    assert policy()(UpstreamError(CODES.RATE_LIMITED, retry_after=20.5)) is False


def test_a_dropped_connection_is_retried_once_and_at_once_even_without_retries():
    decide = policy(max_retries=0)
    assert [decide(ConnectionDropped()), decide(ConnectionDropped())] == [0.0, False]
    decide = policy(max_retries=2)
    assert [decide(ConnectionDropped()) for _ in range(3)] == [0.0, True, False]


def test_there_is_no_retry_while_the_circuit_is_open():
    breaker = CircuitBreaker(minimum=1)
    breaker.settle(probe=breaker.acquire(), healthy=False)
    assert policy(breaker)(UpstreamError(CODES.SERVER_ERROR)) is False
